"""The click shop: moods show in the order and the pauses of events and in nothing that can be counted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ebbtide.core.config import load_config
from ebbtide.core.errors import InputError
from ebbtide.events.click_shop import CLICKS, click_shop, different
from ebbtide.events.simulate import SimulationConfig, Truth, simulate, write_log
from ebbtide.events.simulator.arrangement import lingering, tastes
from ebbtide.events.simulator.buyers import make_buyers
from ebbtide.events.simulator.chance import keys_of
from ebbtide.events.simulator.character import Character
from ebbtide.events.simulator.frames import event_frame
from ebbtide.events.simulator.life import live
from ebbtide.events.simulator.mood import MOOD_HAZARD, MOODS, first_moods, next_moods, usual_shares
from ebbtide.events.simulator.sessions import session_rows
from ebbtide.events.simulator.world import make_world

SHOP = replace(click_shop(250, seed=3), days=110)
AROUND = ("page_view", "search", "list_view", "product_view", "wishlist_add", "cart_add", "cart_remove")


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    return next(simulate(SHOP)).events


@pytest.fixture(scope="module")
def in_mood() -> dict[str, pl.DataFrame]:
    """The log of the same visits, once with everybody in each mood."""
    shop = replace(SHOP, users=100)
    world, buyers = make_world(shop), make_buyers(shop, 0, shop.users)
    story = live(buyers, world)
    logs = {}
    for number, mood in enumerate(MOODS):
        story.visits["mood"] = number
        logs[mood] = event_frame([session_rows(story, buyers, world)], buyers, shop, world)
    return logs


@pytest.fixture(scope="module")
def visits(events: pl.DataFrame) -> pl.DataFrame:
    """What visitors do in their visits, by the mood of the visit's day."""
    days = [SHOP.start_at + timedelta(days=n) for n in range(SHOP.days)]
    states = pl.concat(
        state.select("user_id", "mood", pl.lit(day).dt.date().alias("day"))
        for day, state in zip(days, Truth(SHOP).at_many(days), strict=True)
    )
    rows = events.filter(pl.col("type").is_in(AROUND)).with_columns(day=pl.col("occurred_at").dt.date())
    return rows.join(
        states, on=["user_id", "day"], maintain_order="left"
    )  # less the days of joining, which have no state


def with_next(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(
        pl.col("type").shift(-1).over("session_id").alias("next"),
        pl.col("item_id").shift(-1).over("session_id").alias("next_item"),
        (pl.col("occurred_at").diff().over("session_id")).dt.total_seconds().alias("pause"),
    )


def test_the_chunks_change_nothing(events: pl.DataFrame) -> None:
    parts = list(simulate(SHOP, chunk_users=90))
    assert_frame_equal(events, pl.concat([part.events for part in parts]))
    moment = SHOP.start_at + timedelta(days=90)
    assert_frame_equal(Truth(SHOP).at(moment), Truth(SHOP, chunk_users=90).at(moment))


def test_a_mood_changes_no_count_and_no_sum_of_any_visit(in_mood: dict[str, pl.DataFrame]) -> None:
    """The same visits in any mood: the same rows of the same products, the same beginning and end, exactly."""
    what = ["session_id", "type", "item_id", "category", "query", "unit_price", "properties"]

    def bag(log: pl.DataFrame) -> pl.DataFrame:
        return log.group_by(what).len().sort(what)

    def span(log: pl.DataFrame) -> pl.DataFrame:
        at = pl.col("occurred_at")
        return log.group_by("session_id").agg(at.min().alias("from"), at.max().alias("to")).sort("session_id")

    for other in MOODS[1:]:
        # the last minutes of the log are left out: what arrives after its end depends on the order of the rows
        same = [
            log.filter(pl.col("occurred_at") < SHOP.end - timedelta(days=3))
            for log in (in_mood["content"], in_mood[other])
        ]
        assert_frame_equal(bag(same[0]), bag(same[1]))
        assert_frame_equal(span(same[0]), span(same[1]))


def test_every_mood_has_an_order_of_its_own(in_mood: dict[str, pl.DataFrame]) -> None:
    """Content: view, cart. Comparing: view after view of other products. Leaving: cart, out, search."""

    def share(mood: str, before: str, after: str) -> float:
        rows = with_next(in_mood[mood].filter(pl.col("type").is_in(AROUND))).filter(pl.col("type") == before)
        return float((rows["next"] == after).mean())  # type: ignore[arg-type]

    for before, after, more, less in (
        ("product_view", "cart_add", "content", "comparing"),
        ("search", "list_view", "content", "leaving"),
        ("product_view", "product_view", "comparing", "leaving"),
        ("cart_add", "cart_remove", "leaving", "content"),
        ("cart_remove", "search", "leaving", "content"),
    ):
        assert share(more, before, after) > 1.25 * share(less, before, after)


def test_who_is_content_stays_with_a_product_and_who_compares_does_not(in_mood: dict[str, pl.DataFrame]) -> None:
    same = {}
    for mood, log in in_mood.items():
        views = with_next(log.filter(pl.col("type") == "product_view")).drop_nulls("next_item")
        same[mood] = (views["item_id"] == views["next_item"]).mean()
    assert same["content"] > 1.5 * same["comparing"]  # type: ignore[operator]


def test_who_is_leaving_hesitates_before_searching_and_who_is_content_does_not(
    in_mood: dict[str, pl.DataFrame],
) -> None:
    pauses = {mood: with_next(log).filter(pl.col("type") == "search")["pause"].mean() for mood, log in in_mood.items()}
    assert pauses["leaving"] > 1.3 * pauses["content"]  # type: ignore[operator]


def test_a_product_is_viewed_before_it_is_carted_and_carted_before_it_is_taken_out(events: pl.DataFrame) -> None:
    first = (
        events.filter(pl.col("type").is_in(["product_view", "cart_add", "cart_remove", "wishlist_add"]))
        .group_by("session_id", "item_id")
        .agg(pl.col("occurred_at").filter(pl.col("type") == t).min().alias(t) for t in AROUND[3:])
    )
    assert first["cart_remove"].drop_nulls().len() > 100
    for earlier, later in (("product_view", "cart_add"), ("product_view", "wishlist_add"), ("cart_add", "cart_remove")):
        both = first.drop_nulls(later)
        assert both[earlier].null_count() == 0
        assert (both[earlier] < both[later]).all()


def test_in_the_log_the_rows_of_a_visit_have_the_same_means_in_every_mood(visits: pl.DataFrame) -> None:
    """Rows of each type a visit: the difference to content within 4.5 standard errors, whose users are independent."""
    counts = visits.group_by("user_id", "session_id", "mood").agg(
        *((pl.col("type") == t).sum().alias(t) for t in AROUND)
    )
    assert len(counts) > 2000
    for name in AROUND:
        of = {mood: counts.filter(pl.col("mood") == mood)[name].to_numpy() for mood in MOODS}
        for mood in MOODS[1:]:
            error = np.sqrt(sum(x.var() / len(x) for x in (of["content"], of[mood])))
            # visits of one user share the user's depth, so the error of a mean is up to half as large again
            assert abs(of[mood].mean() - of["content"].mean()) < 4.5 * 1.5 * error


def test_a_mood_moves_the_hazard_as_planted() -> None:
    """Of those still there at a moment in a mood, the share that leaves within 7 days for doubt."""
    shop = replace(click_shop(2000, seed=4), days=100)
    moments = [shop.start_at + timedelta(days=n) for n in (50, 80)]
    lives = Truth(shop).lives()
    shares = {mood: [0, 0] for mood in MOODS}
    for moment, state in zip(moments, Truth(shop).at_many(moments), strict=True):
        here = state.filter("still_customer").join(lives, on="user_id")
        soon = (pl.col("left_at") < moment + timedelta(days=7)) & (pl.col("cause") == "doubt")
        for mood, left in here.select("mood", soon.fill_null(value=False)).iter_rows():
            shares[mood][0] += left
            shares[mood][1] += 1
    content, comparing, leaving = (left / users for left, users in shares.values())
    assert content < comparing < leaving
    assert leaving == pytest.approx(1 - np.exp(-7 * MOOD_HAZARD[2]), abs=0.06)


def test_doubt_is_the_main_cause_of_leaving() -> None:
    causes = Truth(replace(click_shop(500, seed=5), days=200)).lives()["cause"].drop_nulls()
    assert (causes == "doubt").mean() > 0.5  # type: ignore[operator]


def test_moods_move_as_the_chain_says() -> None:
    keys, users = keys_of(np.arange(20_000), 1), np.arange(20_000)
    moods = first_moods(keys)
    assert np.bincount(moods) / len(moods) == pytest.approx(usual_shares(), abs=0.015)
    later = moods
    for day in range(70):
        later = next_moods(later, users, keys, day)
    assert np.bincount(later) / len(later) == pytest.approx(usual_shares(), abs=0.015)
    assert 0.3 < (later == moods).mean() < 0.9
    assert (next_moods(moods, users, keys, 0) != moods).mean() < 1 / 7


def test_the_usual_shop_has_no_moods() -> None:
    shop = SimulationConfig(users=50, days=60)
    state = Truth(shop).at(shop.start_at + timedelta(days=30))
    assert state["mood"].unique().to_list() == ["content"]
    assert state["hazard_doubt"].max() == 0


def test_the_pauses_of_a_visit_are_dealt_out_by_what_calls_for_them() -> None:
    """Visit 0 has pauses 5, 9, 7 and its second row calls least, its first most; rows without a call keep theirs."""
    pause, place = np.array([5, 9, 7, 3, 4, 1]), np.array([0, 0, 0, 0, 1, 1])
    linger = np.array([3.0, 1.0, 2.0, np.nan, 1.0, 2.0])
    assert lingering(pause, place, linger).tolist() == [9, 5, 7, 3, 1, 4]


def test_a_different_shop_has_other_goods_prices_pace_and_mix_and_the_same_moods() -> None:
    shop = replace(click_shop(60), days=80)
    shops = [shop, *(different(shop, seed) for seed in (1, 2))]
    logs = [next(simulate(shop)).events for shop in shops]
    items = [set(log["item_id"].drop_nulls()) for log in logs]
    assert len(items[0] | items[1] | items[2]) == sum(map(len, items))
    mixes = [log["type"].eq("search").mean() / log["type"].eq("product_view").mean() for log in logs]  # type: ignore[operator]
    assert min(abs(a - b) for a, b in zip(mixes, [*mixes[1:], mixes[0]], strict=True)) > 0.01
    assert len({shop.start for shop in shops}) == len({shop.seed for shop in shops}) == 3
    assert {shop.doubt for shop in shops} == {1.0}
    assert different(shop, 1) == shops[1]


def test_another_grammar_is_a_perturbation_of_the_plain_one() -> None:
    plain, again, other = (np.log(tastes(number)[0]).ravel() for number in (0, 0, 7))
    assert (plain == again).all()
    assert 0.3 < np.abs(other - plain).max() < 3
    assert np.corrcoef(plain, other)[0, 1] > 0.8


def test_the_written_workspace_asks_the_question_of_the_shop(tmp_path: Path) -> None:
    files = write_log(replace(SHOP, users=30), tmp_path)
    config = load_config(files.workspace_file, environ={})
    assert (config.churn.outcome, config.churn.eligible) == ("order", "order in 45d")
    assert files.rows > 1000


@pytest.mark.parametrize(("name", "value"), [("pace", 0.0), ("looks", -1.0), ("carts", 1.2), ("grammar", -1)])
def test_a_character_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} must lie between"):
        replace(CLICKS, **{name: value})  # type: ignore[arg-type]


def test_shares_of_the_looks_that_exceed_all_looks_are_refused() -> None:
    with pytest.raises(InputError, match="at most 1"):
        Character(searches=0.7, lists=0.5)
