"""The parts of the simulated shop: its calendar and prices, its buyers, the fates of orders, the causes of leaving."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from ebbtide.events.simulate import CAUSES, SimulatedChunk, SimulationConfig, simulate
from ebbtide.events.simulator.buyers import TRAITS, make_buyers
from ebbtide.events.simulator.fates import BADLY_LATE_DAYS, DELIVERY_SHOCK, SERVICE_SHOCK, order_fates
from ebbtide.events.simulator.goods import asked_price, choose_goods
from ebbtide.events.simulator.rows import COLUMNS, stack
from ebbtide.events.simulator.settings import CATEGORIES, NOTES
from ebbtide.events.simulator.world import World, make_world

SHOP = SimulationConfig(users=20_000, days=400, seed=5)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(SHOP)


@pytest.fixture(scope="module")
def buyers() -> np.ndarray:
    return make_buyers(SHOP, 0, SHOP.users)


def a_member(**traits: float) -> np.ndarray:
    """One buyer, named traits set, all others as drawn."""
    buyer = make_buyers(SHOP, 0, 1)
    for name, value in traits.items():
        buyer[name] = value
    return buyer


# --- the world


def test_the_first_of_january_2024_is_a_monday() -> None:
    assert make_world(SimulationConfig(days=8, start=date(2024, 1, 1))).weekday.tolist() == [0, 1, 2, 3, 4, 5, 6, 0]


def test_sales_are_in_january_and_at_the_end_of_november(world: World) -> None:
    on_sale = {(SHOP.start + timedelta(days=int(day))).strftime("%m") for day in np.flatnonzero(world.sale)}
    assert on_sale == {"01", "11"}


def test_prices_step_up_and_wear_off(world: World) -> None:
    """A day changes a category's price by +20 to +40 %, or lowers it by at most 1 / 400 of what is above the start."""
    change = world.price_index[:, 1:] / world.price_index[:, :-1]
    steps = change > 1.01
    assert 0 < steps.sum() < 3 * len(CATEGORIES)
    assert change[steps].max() < 1.41
    assert change[~steps].max() <= 1.0
    assert change[~steps].min() > 0.997
    assert (world.price_index >= 1).all()


def test_goods_stand_by_price_in_their_category(world: World) -> None:
    assert (np.diff(world.item_price, axis=1) >= 0).all()
    assert world.item_quality.min() >= 2
    assert world.item_quality.max() <= 4.9
    assert (world.popularity > 0).all()


def test_fashions_come_and_go_while_evergreens_stay(world: World) -> None:
    spread = world.popularity.max(axis=0) / world.popularity.min(axis=0)
    assert 0.35 < (spread == 1).mean() < 0.65
    assert (spread > 3).mean() > 0.25


# --- buyers


def test_traits_do_not_depend_on_the_split(buyers: np.ndarray) -> None:
    parts = np.concatenate([make_buyers(SHOP, 0, 123), make_buyers(SHOP, 123, 500)])
    assert (parts == buyers[:623]).all()


def test_buyers_are_heterogeneous_within_bounds(buyers: np.ndarray) -> None:
    assert 10 < 1 / np.median(buyers["rate"]) < 30
    assert np.quantile(buyers["rate"], 0.9) > 2.5 * np.quantile(buyers["rate"], 0.1)
    assert set(np.unique(buyers["regularity"])) == {2, 3, 4, 5}
    for name in ("price_level", "mobile", "app"):
        assert buyers[name].min() > 0
        assert buyers[name].max() < 1
    assert (buyers["bored_day"] > buyers["join_day"]).all()


def test_favourites_are_different_categories(buyers: np.ndarray) -> None:
    favourites = buyers["favourites"]
    assert favourites.min() == 0
    assert favourites.max() == len(CATEGORIES) - 1
    assert (favourites[:, 0] != favourites[:, 1]).all()
    assert (favourites[:, 0] != favourites[:, 2]).all()


def test_sensitivities_are_independent_of_each_other(buyers: np.ndarray) -> None:
    names = [name for name in TRAITS.names or () if name.endswith("_sensitivity")]
    correlation = np.corrcoef([buyers[name] for name in names])
    assert np.abs(correlation - np.eye(len(names))).max() < 0.03
    assert buyers["price_sensitivity"].mean() == pytest.approx(1, abs=0.01)


# --- goods and prices


def test_the_price_asked(world: World) -> None:
    """Day 150, no sale: list price = first price x index, a member pays 1 - 0.25 of it; after loyalty_end all of it."""
    day, category, item = np.array([150]), np.array([2]), np.array([7])
    listed = round(world.item_price[2, 7] * world.price_index[2, 150], 2)
    price, off = asked_price(a_member(loyalty_discount=0.25, loyalty_end=151), world, day, category, item)
    assert price[0] == pytest.approx(listed * 0.75, abs=0.006)
    assert price[0] + off[0] == pytest.approx(listed, abs=0.001)
    price, off = asked_price(a_member(loyalty_discount=0.25, loyalty_end=150), world, day, category, item)
    assert (price[0], off[0]) == (listed, 0)


def test_buyers_pick_near_their_price_level(world: World, buyers: np.ndarray) -> None:
    _, item = choose_goods(buyers, world, np.full(len(buyers), 100), np.arange(len(buyers)), np.zeros(len(buyers)))
    place = (item + 0.5) / world.goods_per_category
    assert np.corrcoef(place, buyers["price_level"])[0, 1] > 0.85


def test_the_bored_stay_with_their_favourite(world: World, buyers: np.ndarray) -> None:
    count = np.arange(len(buyers))
    shares = []
    for bored in (0.0, 1.0):
        category, _ = choose_goods(buyers, world, np.full(len(buyers), 100), count, np.full(len(buyers), bored))
        shares.append((category == buyers["favourites"][:, 0]).mean())
    assert 0.3 < shares[0] < 0.7
    assert shares[1] == 1


# --- fates of orders


def test_fates_have_their_shares_and_shocks(world: World, buyers: np.ndarray) -> None:
    """Badly late 2 %, a little late 3 %, cancelled 1.5 %; a shock only where something went wrong.

    The shock of ten days late or more = DELIVERY_SHOCK x 10 / 5 x sensitivity; of an unsolved contact =
    SERVICE_SHOCK x 0.8 x sensitivity, x 1.3 if it was repeated.
    """
    fates = order_fates(buyers, world, 100, np.ones(len(buyers), np.int32))
    assert (fates["late"] >= BADLY_LATE_DAYS).mean() == pytest.approx(0.02, abs=0.004)
    assert ((fates["late"] > 0) & (fates["late"] < BADLY_LATE_DAYS)).mean() == pytest.approx(0.03, abs=0.005)
    assert fates["cancelled"].mean() == pytest.approx(0.015, abs=0.004)
    worst = fates["late"] >= 10
    expected = DELIVERY_SHOCK * 2 * buyers["delivery_sensitivity"][worst]
    np.testing.assert_allclose(fates["delivery_shock"][worst], expected)
    assert (fates["delivery_shock"][fates["late"] <= 0] == 0).all()
    severity = np.where(fates["repeated"], 1.3, 0.8) * fates["unsolved"]
    np.testing.assert_allclose(fates["service_shock"], SERVICE_SHOCK * severity * buyers["service_sensitivity"])


def test_a_cancelled_order_has_no_further_fate(world: World, buyers: np.ndarray) -> None:
    fates = order_fates(buyers, world, 100, np.ones(len(buyers), np.int32))
    cancelled = fates[fates["cancelled"]]
    for name in ("late", "returned", "trouble", "unsolved", "delivery_shock", "service_shock"):
        assert not cancelled[name].any()


def test_another_order_has_another_fate(world: World, buyers: np.ndarray) -> None:
    first, second = (order_fates(buyers, world, 100, np.full(len(buyers), n, np.int32)) for n in (1, 2))
    assert abs(np.corrcoef(first["late"], second["late"])[0, 1]) < 0.03


# --- rows


def test_blocks_are_put_under_each_other_and_gaps_filled() -> None:
    rows = stack(
        [{"who": np.array([3, 4]), "kind": 1, "value": np.array([1.5, 2.5])}, {"who": np.array([5]), "kind": 2}]
    )
    assert rows["who"].tolist() == [3, 4, 5]
    assert rows["kind"].tolist() == [1, 1, 2]
    assert rows["value"][:2].tolist() == [1.5, 2.5]
    assert np.isnan(rows["value"][2])
    assert rows["coupon"].tolist() == [-1, -1, -1]
    assert set(rows) == set(COLUMNS)


def test_every_note_is_json() -> None:
    assert pl.Series(NOTES).str.json_path_match("$").null_count() == 0


# --- causes, as the log shows them


def _with_only(cause: str, **changes: int) -> SimulatedChunk:
    strengths = {**dict.fromkeys(CAUSES, 0.0), cause: 1.0}
    return next(simulate(SimulationConfig(**{"users": 1200, "days": 240, "seed": 4, **changes}, **strengths)))  # type: ignore[arg-type]


def _left_within(table: pl.DataFrame, moment: str, days: int) -> pl.Expr:
    since = (pl.col("left_at") - pl.col(moment)).dt.total_days()
    return since.is_between(0, days).fill_null(value=False)


def test_an_unsolved_complaint_drives_customers_away() -> None:
    chunk = _with_only("bad_service")
    support = chunk.events.filter(pl.col("type") == "support").unique("user_id", keep="first", maintain_order=True)
    table = support.join(chunk.lives, on="user_id").with_columns(bad=pl.col("rating") <= 2)
    shares = dict(table.group_by("bad").agg(_left_within(table, "occurred_at", 60).mean()).iter_rows())
    assert shares[True] > 0.4
    assert shares[False] < 0.15


def test_a_discount_withdrawn_drives_customers_away() -> None:
    """Members who were asked the full price on their last visit, against members who still had their discount."""
    chunk = _with_only("price", users=800, days=300)
    views = chunk.events.filter(pl.col("type") == "product_view").sort("user_id", "occurred_at")
    off = pl.col("discount") > 0
    members = views.group_by("user_id").agg(member=off.mean() > 0.3, ended=~off.last()).filter("member")
    table = members.join(chunk.lives, on="user_id")
    left = dict(table.group_by("ended").agg(pl.col("left_at").is_not_null().mean()).iter_rows())
    assert left[True] > 2 * left[False]


def test_boredom_shows_in_shallower_and_narrower_visits() -> None:
    """Products for each visit without order, and the share outside the favourite category, in the last 20 days before
    leaving and 100 to 200 days before."""
    chunk = _with_only("boredom", users=800, days=300)
    ordering = chunk.events.filter(pl.col("type") == "order")["session_id"].unique()
    views = chunk.events.filter((pl.col("type") == "product_view") & ~pl.col("session_id").is_in(ordering.implode()))
    views = views.join(chunk.lives, on="user_id")
    days = (pl.col("left_at") - pl.col("occurred_at")).dt.total_seconds() / 86_400
    last, before = views.filter(days.is_between(0, 20)), views.filter(days.is_between(100, 200))
    depth = [part.height / part["session_id"].n_unique() for part in (last, before)]
    breadth = [(part["category"] != part["favourite"]).mean() for part in (last, before)]
    assert depth[0] < 0.85 * depth[1]
    assert breadth[0] < 0.6 * breadth[1]  # type: ignore[operator]
