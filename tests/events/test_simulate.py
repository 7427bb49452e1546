"""Laws of the simulated log: reproducible, canonical, complete, and arriving as logs do."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ebbtide.core.errors import InputError
from ebbtide.events.schema import (
    CONSENT_COLUMNS,
    EVENT_COLUMNS,
    EVENT_TYPES,
    EXPOSURE_COLUMNS,
    USER_COLUMNS,
)
from ebbtide.events.simulate import CAUSES, SimulatedChunk, SimulationConfig, simulate

SHOP = SimulationConfig(users=300, days=400, seed=5)


@pytest.fixture(scope="module")
def chunk() -> SimulatedChunk:
    """The whole of SHOP in one chunk."""
    return next(simulate(SHOP))


@pytest.fixture(scope="module")
def events(chunk: SimulatedChunk) -> pl.DataFrame:
    return chunk.events


def only(events: pl.DataFrame, kind: str) -> pl.DataFrame:
    return events.filter(pl.col("type") == kind)


def test_the_same_config_gives_the_same_log(chunk: SimulatedChunk) -> None:
    again = next(simulate(SHOP))
    for table in ("events", "users", "consents", "exposures", "lives"):
        assert_frame_equal(getattr(chunk, table), getattr(again, table))


def test_the_size_of_the_chunks_changes_nothing(chunk: SimulatedChunk) -> None:
    parts = list(simulate(SHOP, chunk_users=77))
    assert [part.users.height for part in parts] == [77, 77, 77, 69]
    for table in ("events", "users", "consents", "exposures", "lives"):
        assert_frame_equal(getattr(chunk, table), pl.concat([getattr(part, table) for part in parts]))


def test_more_users_leave_the_first_ones_as_they_were(events: pl.DataFrame) -> None:
    more = next(simulate(SimulationConfig(users=310, days=400, seed=5))).events
    assert_frame_equal(events, more.filter(pl.col("user_id") < "u000000300"))


def test_another_seed_gives_other_lives(chunk: SimulatedChunk) -> None:
    other = next(simulate(SimulationConfig(users=300, days=400, seed=6)))
    assert not chunk.lives.select("joined_at", "cause").equals(other.lives.select("joined_at", "cause"))


def test_ten_million_users_begin_at_once() -> None:
    """Chunks are made when asked for, so memory and time are those of one chunk."""
    parts = islice(simulate(SimulationConfig(users=10_000_000, days=60), chunk_users=50), 2)
    assert [part.users.height for part in parts] == [50, 50]


def test_all_tables_are_canonical(chunk: SimulatedChunk) -> None:
    assert dict(chunk.events.schema) == EVENT_COLUMNS
    assert dict(chunk.users.schema) == USER_COLUMNS
    assert dict(chunk.consents.schema) == CONSENT_COLUMNS
    assert dict(chunk.exposures.schema) == EXPOSURE_COLUMNS
    assert set(events_types(chunk.events)) <= set(EVENT_TYPES)
    needed = chunk.events.select("event_id", "user_id", "occurred_at", "ingested_at", "type", "country")
    assert needed.null_count().row(0) == (0,) * 6


def events_types(events: pl.DataFrame) -> list[str]:
    return events["type"].unique().to_list()


def test_every_kind_of_behaviour_occurs(events: pl.DataFrame) -> None:
    unused = {"page_view", "wishlist_remove"}
    assert set(events_types(events)) == set(EVENT_TYPES) - unused


def test_event_ids_are_unique_and_rows_sorted(events: pl.DataFrame) -> None:
    assert events["event_id"].is_unique().all()
    assert_frame_equal(events, events.sort("user_id", "occurred_at", "event_id"))


def test_nothing_happens_or_arrives_outside_the_log(events: pl.DataFrame) -> None:
    assert events["occurred_at"].min() >= SHOP.start_at  # type: ignore[operator]
    assert events["ingested_at"].max() < SHOP.end  # type: ignore[operator]


def test_nothing_arrives_before_it_happens_and_little_arrives_late(events: pl.DataFrame) -> None:
    lag = (events["ingested_at"] - events["occurred_at"]).dt.total_seconds()
    assert lag.min() >= 0  # type: ignore[operator]
    assert lag.median() < 120  # type: ignore[operator]
    assert 0.005 < (lag > 3600).mean() < 0.1  # type: ignore[operator]
    assert (lag > 86_400).any()


def test_the_lines_of_an_order_share_moment_user_and_visit(events: pl.DataFrame) -> None:
    orders = only(events, "order").group_by("order_id").agg(
        pl.len(), pl.col("occurred_at", "user_id", "session_id").n_unique()
    )  # fmt: skip
    assert orders.select("occurred_at", "user_id", "session_id").max().row(0) == (1, 1, 1)
    assert orders["len"].min() == 1
    assert orders["len"].max() == 5


def test_money_adds_up(events: pl.DataFrame) -> None:
    """value = quantity x price asked, less 10 % where a campaign coupon was used; discount is what the list price
    had been above it."""
    lines = only(events, "order").with_columns(full=(pl.col("quantity") * pl.col("unit_price")).round(2))
    campaign = pl.col("coupon").fill_null("").str.starts_with("BACK")
    expected = pl.when(campaign).then((pl.col("full") * 0.9).round(2)).otherwise(pl.col("full"))
    assert (lines.select((pl.col("value") - expected).abs().max()).item()) < 0.011
    assert lines["discount"].min() >= 0  # type: ignore[operator]
    assert (only(events, "refund")["value"] < 0).all()
    assert events.filter(pl.col("value").is_not_null())["currency"].unique().to_list() == ["EUR"]


def test_an_order_is_delivered_or_cancelled_never_both(events: pl.DataFrame) -> None:
    delivered, cancelled = only(events, "delivery")["order_id"], only(events, "order_cancel")["order_id"]
    assert delivered.is_unique().all()
    assert not delivered.is_in(cancelled.implode()).any()
    ordered_long_ago = only(events, "order").filter(pl.col("occurred_at") < SHOP.end - timedelta(days=30))
    known = pl.concat([delivered, cancelled])
    assert ordered_long_ago["order_id"].is_in(known.implode()).all()


def test_a_delivery_follows_its_order_and_tells_its_delay(events: pl.DataFrame) -> None:
    days_late = pl.col("properties").str.json_path_match("$.days_late").cast(pl.Int64)
    deliveries = only(events, "delivery").with_columns(days_late=days_late)
    orders = only(events, "order").group_by("order_id").agg(pl.col("occurred_at").first().alias("ordered"))
    both = deliveries.join(orders, on="order_id", how="inner", validate="1:1")
    days = (both["occurred_at"] - both["ordered"]).dt.total_days()
    assert days.min() >= 2  # type: ignore[operator]
    assert (days >= both["days_late"]).all()
    assert both["days_late"].null_count() == 0
    assert 0.03 < (both["days_late"] > 0).mean() < 0.11  # type: ignore[operator]


def test_a_visit_is_one_device_one_channel_and_one_day(events: pl.DataFrame) -> None:
    visits = events.drop_nulls("session_id").group_by("session_id").agg(
        pl.col("device", "channel", "user_id").n_unique(), pl.col("occurred_at").dt.date().n_unique(),
        (pl.col("type") == "session_start").sum().alias("starts"), pl.col("type").first(),
    )  # fmt: skip
    assert visits.select("device", "channel", "user_id", "occurred_at", "starts").max().row(0) == (1, 1, 1, 1, 1)
    assert (visits["type"] == "session_start").all()


def test_ratings_lie_between_one_and_five(events: pl.DataFrame) -> None:
    rated = events.filter(pl.col("rating").is_not_null())
    assert set(events_types(rated)) == {"review", "support"}
    assert rated.select((pl.col("rating").is_between(1, 5)).all()).item()
    unsolved = only(events, "support")["properties"].str.contains('"resolved": false', literal=True)
    assert ((only(events, "support")["rating"] <= 2) == unsolved).all()


def test_who_refused_consent_gets_no_advertising(chunk: SimulatedChunk) -> None:
    refused = chunk.consents.filter(~pl.col("granted"))["user_id"]
    assert 0.05 < refused.len() / SHOP.users < 0.3
    sent = chunk.events.filter(pl.col("type").is_in(["message", "coupon", "promo_view", "promo_click", "custom"]))
    assert not sent["user_id"].is_in(refused.implode()).any()
    assert not chunk.exposures["user_id"].is_in(refused.implode()).any()


def test_december_is_busier_than_july() -> None:
    """Among customers who never leave, so that only the season moves orders."""
    calm = dict.fromkeys(CAUSES, 0.0)
    shop = SimulationConfig(users=300, days=366, campaign_effect=0.0, **calm)  # type: ignore[arg-type]
    orders = only(next(simulate(shop)).events.filter(pl.col("user_id").is_in(_old(shop).implode())), "order")
    month = orders.unique("order_id")["occurred_at"].dt.month()
    assert (month == 12).sum() > 1.2 * (month == 7).sum()


def _old(shop: SimulationConfig) -> pl.Series:
    users = next(simulate(shop)).users
    return users.filter(pl.col("signed_up_at").is_null())["user_id"]


def test_a_long_horizon_has_weekends_and_hours_of_its_own(events: pl.DataFrame) -> None:
    starts = only(events, "session_start")["occurred_at"]
    assert starts.dt.hour().min() >= 6  # type: ignore[operator]
    assert starts.dt.hour().n_unique() > 12
    assert starts.dt.weekday().n_unique() == 7


@pytest.mark.parametrize(
    ("name", "value"), [("users", 0), ("days", 0), ("seed", -1), ("price", -0.5), ("dirt", 0.9), ("duplicates", -0.1)]
)
def test_a_setting_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} must lie between"):
        SimulationConfig(**{name: value})  # type: ignore[arg-type]
