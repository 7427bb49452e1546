"""The truth beside the simulated log: what is planted there is found again in the events."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ebbtide.core.errors import InputError
from ebbtide.events.simulate import ACTIONS, CAUSES, SimulationConfig, Truth, simulate

SHOP = SimulationConfig(users=400, days=400, seed=5)
NO_CAUSE = dict.fromkeys(CAUSES, 0.0)


def day(number: int, shop: SimulationConfig = SHOP) -> datetime:
    return shop.start_at + timedelta(days=number)


def orders_of(shop: SimulationConfig) -> pl.DataFrame:
    events = pl.concat([chunk.events for chunk in simulate(shop)])
    return events.filter(pl.col("type") == "order").unique("order_id")


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    return next(simulate(SHOP)).events


@pytest.fixture(scope="module")
def lives() -> pl.DataFrame:
    return Truth(SHOP).lives()


def test_the_lives_are_those_behind_the_log(lives: pl.DataFrame) -> None:
    assert_frame_equal(lives, next(simulate(SHOP)).lives)


def test_the_truth_does_not_depend_on_the_chunks() -> None:
    assert_frame_equal(Truth(SHOP).at(day(300)), Truth(SHOP, chunk_users=150).at(day(300)))


def test_several_moments_at_once_are_the_same_as_each_alone() -> None:
    truth = Truth(SHOP)
    for moment, frame in zip((day(200), day(100)), truth.at_many([day(200), day(100)]), strict=True):
        assert_frame_equal(frame, truth.at(moment))


def test_no_order_after_leaving(events: pl.DataFrame, lives: pl.DataFrame) -> None:
    gone = events.join(lives.select("user_id", "left_at"), on="user_id").filter(
        pl.col("occurred_at") >= pl.col("left_at")
    )
    own = {"order", "checkout_step", "order_cancel"}
    cancelled_later = gone.filter(pl.col("type").is_in(sorted(own - {"order_cancel"})))
    assert gone.height > 0
    assert cancelled_later.height == 0


def test_visits_fade_after_leaving(events: pl.DataFrame, lives: pl.DataFrame) -> None:
    visits = events.filter(pl.col("type") == "session_start").join(lives.select("user_id", "left_at"), on="user_id")
    since = (pl.col("occurred_at") - pl.col("left_at")).dt.total_days()
    counts = [visits.filter(since.is_between(start, start + 29)).height for start in (-60, 0, 60, 170)]
    assert counts[0] > counts[1] > counts[2]
    assert counts[3] == 0


def test_still_customer_says_the_same_as_left_at(lives: pl.DataFrame) -> None:
    state = Truth(SHOP).at(day(250)).join(lives, on="user_id")
    left = (state["left_at"] < day(250)).fill_null(value=False)
    assert (state["still_customer"] == ~left).all()
    assert (state.filter(left)["main_cause"] == state.filter(left)["cause"]).all()


def test_only_who_has_joined_has_a_state(lives: pl.DataFrame) -> None:
    state = Truth(SHOP).at(day(100))
    assert sorted(state["user_id"]) == sorted(lives.filter(pl.col("joined_at") < day(100))["user_id"])


def test_the_hazards_add_up() -> None:
    state = Truth(SHOP).at(day(300))
    parts = state.select(pl.sum_horizontal(f"hazard_{cause}" for cause in CAUSES)).to_series()
    np.testing.assert_allclose(parts, state["churn_hazard_per_day"])
    assert state.select((pl.col("engagement").is_between(0, 1)).all()).item()


@pytest.mark.parametrize("cause", CAUSES)
def test_a_single_cause_is_the_only_reason_to_leave(cause: str) -> None:
    shop = SimulationConfig(users=250, days=300, seed=2, **{**NO_CAUSE, cause: 1.0})  # type: ignore[arg-type]
    assert Truth(shop).lives()["cause"].unique().drop_nulls().to_list() == [cause]


def test_without_causes_nobody_leaves() -> None:
    shop = SimulationConfig(users=100, days=300, **NO_CAUSE)  # type: ignore[arg-type]
    assert Truth(shop).lives()["left_at"].null_count() == 100


def test_the_leaving_rate_is_the_planted_hazard() -> None:
    """Sum over days of the hazard of those still there, against the number who left: a Poisson count.

    Weekly readings of the hazard stand for the days of the week after; nobody leaves before the first order.
    """
    shop = SimulationConfig(users=700, days=280, seed=8, campaign_effect=0.0)
    readings = [day(n, shop) for n in range(70, 273, 7)]
    truth = Truth(shop)
    first = orders_of(shop).group_by("user_id").agg(pl.col("occurred_at").min().alias("first"))
    old = next(simulate(shop, chunk_users=700)).users.filter(pl.col("signed_up_at").is_null())["user_id"]
    expected = 0.0
    for moment, state in zip(readings, truth.at_many(readings), strict=True):
        active = state.join(first, on="user_id", how="left").filter(
            pl.col("still_customer") & ((pl.col("first") < moment) | pl.col("user_id").is_in(old.implode()))
        )
        expected += 7 * active["churn_hazard_per_day"].sum()
    lives = truth.lives()
    left = lives.filter(pl.col("left_at").is_between(readings[0], readings[-1] + timedelta(days=7), closed="left"))
    assert abs(left.height - expected) < 4 * np.sqrt(expected)


def test_late_deliveries_raise_churn() -> None:
    """Users whose first order of the log came badly late leave within 60 days of it more often than others."""
    shop = SimulationConfig(users=1500, days=200, seed=4, **{**NO_CAUSE, "late_delivery": 1.0})  # type: ignore[arg-type]
    parts = list(simulate(shop))
    deliveries = pl.concat([part.events.filter(pl.col("type") == "delivery") for part in parts])
    lives = pl.concat([part.lives for part in parts])
    first = deliveries.sort("occurred_at").unique("user_id", keep="first", maintain_order=True)
    first = first.filter(pl.col("occurred_at") < day(130, shop)).join(lives, on="user_id")
    late = pl.col("properties").str.json_path_match("$.days_late").cast(pl.Int64) >= 3
    left = ((pl.col("left_at") - pl.col("occurred_at")).dt.total_days() <= 60).fill_null(value=False)
    shares = dict(first.group_by(late.alias("late")).agg(left.mean().alias("left")).iter_rows())
    assert shares[True] > 0.4
    assert shares[False] < 0.1


def test_engagement_drifts_down_before_a_customer_leaves(events: pl.DataFrame, lives: pl.DataFrame) -> None:
    """Visits of the last 30 days before leaving out of boredom, against those 90 to 120 days before."""
    long_there = (pl.col("left_at") - pl.col("joined_at")).dt.total_days() >= 120
    bored = lives.filter((pl.col("cause") == "boredom") & long_there).select("user_id", "left_at")
    visits = events.filter(pl.col("type") == "session_start").join(bored, on="user_id")
    days = (pl.col("left_at") - pl.col("occurred_at")).dt.total_seconds() / 86_400
    assert visits.filter(days.is_between(0, 30)).height < 0.6 * visits.filter(days.is_between(90, 120)).height


def test_campaigns_are_randomised() -> None:
    shop = SimulationConfig(users=1500, days=200, seed=1)
    exposures = pl.concat([chunk.exposures for chunk in simulate(shop)])
    shares = dict(exposures["action"].value_counts(normalize=True).iter_rows())
    for action, share in zip(ACTIONS, (0.4, 0.2, 0.2, 0.2), strict=True):
        sigma = np.sqrt(share * (1 - share) / exposures.height)
        assert abs(shares[action] - share) < 4 * sigma
        assert (exposures.filter(pl.col("action") == action)["propensity"] == share).all()


def test_the_planted_effect_is_the_measured_one() -> None:
    """Difference in P(order within 30 days) between each arm and control, against the mean of the planted uplift."""
    shop = SimulationConfig(users=3000, days=132, seed=3, campaign_every_days=100, campaign_effect=3.0)
    exposures = pl.concat([chunk.exposures for chunk in simulate(shop)])
    at = day(100, shop)
    window = pl.col("occurred_at").is_between(at, at + timedelta(days=30), closed="left")
    buyers = orders_of(shop).filter(window)["user_id"]
    outcome = exposures.join(Truth(shop).effects(at, futures=2), on="user_id")
    arms = {
        name: frame.select(pl.col("user_id").is_in(buyers.implode())).to_series()
        for (name,), frame in outcome.group_by("action")
    }
    for action in ACTIONS[1:]:
        measured = arms[action].mean() - arms["nothing"].mean()  # type: ignore[operator]
        sigma = np.sqrt(sum(arms[name].var() / len(arms[name]) for name in (action, "nothing")))  # type: ignore[operator,arg-type]
        assert abs(measured - outcome[f"uplift_{action}"].mean()) < 4 * sigma  # type: ignore[operator]
    assert outcome["uplift_coupon"].mean() > 0.05  # type: ignore[operator]


def test_the_chance_of_an_order_is_right_on_average_and_in_degree() -> None:
    """Replayed futures against what happened: the mean, and the order by chance (5 futures tell 6 degrees)."""
    at = day(300)
    effects = Truth(SHOP).effects(at, futures=5)
    window = pl.col("occurred_at").is_between(at, at + timedelta(days=30), closed="left")
    buyers = orders_of(SHOP).filter(window)["user_id"]
    ordered = effects["user_id"].is_in(buyers.implode())
    sigma = np.sqrt(0.25 / effects.height)
    assert abs(effects["order_chance"].mean() - ordered.mean()) < 4 * sigma  # type: ignore[operator]
    assert ordered.filter(effects["order_chance"] > 0.7).mean() > 0.7  # type: ignore[operator]
    assert ordered.filter(effects["order_chance"] < 0.3).mean() < 0.3  # type: ignore[operator]


def test_who_has_left_cannot_be_moved() -> None:
    truth = Truth(SHOP)
    gone = truth.at(day(300)).filter(~pl.col("still_customer"))
    effects = truth.effects(day(300), futures=2).join(gone.select("user_id"), on="user_id", how="semi")
    assert effects.height > 50
    assert effects.select(pl.max_horizontal(pl.exclude("user_id").abs().max())).item() == 0
    assert gone.select(pl.max_horizontal(pl.col("^.*_change_.*$").abs().max())).item() == 0


def test_useless_campaigns_change_no_order() -> None:
    """With campaign_effect 0, campaigns every 30 days or never leave the same orders."""
    often = SimulationConfig(users=200, days=200, campaign_every_days=30, campaign_effect=0.0)
    never = SimulationConfig(users=200, days=200, campaign_every_days=3660)
    columns = ["user_id", "occurred_at", "order_id", "item_id", "quantity"]
    left, right = (next(simulate(shop)).events.filter(pl.col("type") == "order") for shop in (often, never))
    assert_frame_equal(left.select(columns), right.select(columns))


@pytest.mark.parametrize("moment", [day(0) - timedelta(days=1), day(400), day(10) + timedelta(hours=1)])
def test_the_truth_is_known_at_midnights_of_the_log_only(moment: datetime) -> None:
    with pytest.raises(InputError, match="midnights UTC"):
        Truth(SHOP).at(moment)
