"""A dozen events by hand, with the arithmetic beside them."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from ebbtide.core.windows import DAY_US, to_us
from ebbtide.events.schema import EVENT_COLUMNS
from ebbtide.features.declarations import (
    ActiveBlocks,
    ActiveDays,
    Count,
    Decayed,
    Distinct,
    Feature,
    Followed,
    Gap,
    GapQuantile,
    LagBlock,
    Mean,
    Novelty,
    Recency,
    Share,
    Sum,
    Trend,
)

AS_OF = datetime(2024, 3, 1, 12, tzinfo=UTC)
Column = Callable[..., NDArray[np.float32]]


def log(*events: tuple[float, str] | tuple[float, str, dict[str, object]]) -> pl.DataFrame:
    """Events of one user as (days before AS_OF, type, other columns)."""
    rows = []
    for number, (days_ago, kind, *more) in enumerate(events):
        moment = AS_OF - timedelta(days=days_ago)
        row = dict.fromkeys(EVENT_COLUMNS) | {
            "event_id": f"e{number}", "user_id": "u", "occurred_at": moment, "ingested_at": moment, "type": kind,
        }  # fmt: skip
        rows.append(row | (more[0] if more else {}))
    return pl.DataFrame(rows, schema=EVENT_COLUMNS)


@pytest.fixture
def value(column: Column) -> Callable[[Feature, pl.DataFrame], float]:
    """The feature of the one user at AS_OF."""
    return lambda feature, events: float(column(feature, events, to_us(AS_OF))[0])


Value = Callable[[Feature, pl.DataFrame], float]


def test_a_window_excludes_its_start_and_includes_its_end(value: Value) -> None:
    """(as_of - 7d, as_of]: exactly 7 days old is out, a microsecond younger is in, at as_of is in."""
    microsecond = 1 / DAY_US
    assert value(Count("search", 7), log((7, "search"))) == 0
    assert value(Count("search", 7), log((7 - microsecond, "search"))) == 1
    assert value(Count("search", 7), log((0, "search"))) == 1
    assert value(Count("search", 7), log((-microsecond, "search"))) == 0  # after as_of


def test_an_order_of_three_lines_is_one_order(value: Value) -> None:
    """Three lines of order A, one of B, and two lines without an order id at one moment: three orders, value 60."""
    lines = log(
        (9, "order", {"order_id": "A", "value": 10.0}),
        (9, "order", {"order_id": "A", "value": 10.0}),
        (9, "order", {"order_id": "A", "value": 10.0}),
        (5, "order", {"order_id": "B", "value": 10.0}),
        (2, "order", {"value": 10.0}),
        (2, "order", {"value": 10.0}),
    )
    assert value(Count("order", 30), lines) == 3
    assert value(Count("any", 30), lines) == 6  # `any` counts events
    assert value(Sum("value", "order", 30), lines) == 60
    assert value(Decayed("order", 1), lines) == pytest.approx(2**-9 + 2**-5 + 2**-2)


def test_a_distinct_value_counts_while_its_latest_occurrence_is_inside(value: Value) -> None:
    """Item x 20 and 3 days ago, item y 20 days ago: one in the last week, two in the last month, x is not new."""
    views = log(
        (20, "product_view", {"item_id": "x"}),
        (20, "product_view", {"item_id": "y"}),
        (3, "product_view", {"item_id": "x"}),
        (1, "product_view"),  # no item: no value
    )
    assert value(Distinct("product_view", "item_id", 7), views) == 1
    assert value(Distinct("product_view", "item_id", 30), views) == 2
    assert value(Novelty("product_view", "item_id", 7), views) == 0
    assert value(Novelty("product_view", "item_id", 30), views) == 1


def test_gaps_are_between_days_with_an_event(value: Value) -> None:
    """AS_OF is noon of 1 March. Orders 20, 10 (twice a day), 6 days ago: gaps 10 and 4 days, silence 6 days."""
    orders = log((20, "order"), (10, "order"), (9.8, "order"), (6, "order"))
    assert value(Count("order"), orders) == 4
    assert value(ActiveDays("order"), orders) == 3  # 10 and 9.8 days ago are noon and 16:48 of one day
    assert value(GapQuantile("order", 0.5), orders) == 7  # half-way between 4 and 10
    assert value(Gap("order", "last"), orders) == 4
    assert value(Gap("order", "silence_over_median"), orders) == pytest.approx(6 / 7)
    assert value(Gap("order", "silence_rank"), orders) == 0.5  # one gap of two is at least 6 days
    assert value(Gap("order", "sd"), orders) == 3  # around the mean 7
    assert value(Gap("order", "regularity"), orders) == pytest.approx(1 - 12 * (4 / 14 - 0.5) ** 2)
    assert value(Recency("order"), orders) == 6
    assert value(ActiveBlocks("order", 5), orders) == pytest.approx(
        3 / 5
    )  # ages 6, 10, 20 in blocks 1, 1, 2, 4 of 0..4


def test_lag_blocks_and_trend_split_the_past(value: Value) -> None:
    """Searches 1, 2, 8, 15 days ago: 2 in the last week, 1 in the week before, 1 before that; trend (2 - 1) / 3."""
    searches = log((1, "search"), (2, "search"), (8, "search"), (15, "search"))
    assert [value(LagBlock("search", k, 7), searches) for k in range(3)] == [2, 1, 1]
    assert value(Trend(Count("search"), 7), searches) == pytest.approx(1 / 3)
    assert value(Trend(Count("search"), 30), searches) == 1  # nothing before: all new


def test_counting_nothing_is_zero_and_the_mean_of_nothing_unknown(value: Value) -> None:
    """No orders at all, one search."""
    nothing = log((1, "search"))
    assert value(Count("order", 30), nothing) == 0
    assert value(Sum("value", "order", 30), nothing) == 0
    assert value(Decayed("order", 7), nothing) == 0
    unknown = (Mean("value", "order", 30), Share("order", "product_view"), Recency("order"), Gap("search", "mean"))
    assert all(math.isnan(value(feature, nothing)) for feature in unknown)


def test_followed_means_later_and_soon_enough(value: Value) -> None:
    """Of three searches one is followed by an order within a day, one after two days, one only by a tie."""
    events = log((9, "search"), (8.5, "order"), (6, "search"), (4, "order"), (1, "search"), (1, "order"))
    assert value(Followed("search", "order", 1), events) == pytest.approx(1 / 3)
    assert value(Followed("search", "order", 2), events) == pytest.approx(2 / 3)  # exactly 2 days is soon enough


def test_long_histories_decay_to_nothing_without_overflow(value: Value) -> None:
    """Ten thousand half-lives apart: the old event is worth nothing, the new one still counts in full."""
    events = log((9000, "search"), (4000, "search"), (0, "search"))
    assert value(Decayed("search", 0.5), events) == 1
    assert value(Decayed("search", 1000), events) == pytest.approx(2**-9 + 2**-4 + 1)
