"""Retention by cohort: golden matrix, periods that are not over, shards that add up."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbtide.churn.retention import RetentionTable, Unit, count_retention, retention_table

Log = Callable[..., pl.DataFrame]
Day = Callable[[float], datetime]
UTC_ZONE = ZoneInfo("UTC")


def table(events: pl.DataFrame, until: datetime, unit: Unit, zone: ZoneInfo = UTC_ZONE) -> RetentionTable:
    return retention_table([count_retention(events, until, unit, zone)], until, unit, zone)


def test_golden_months(log: Log, day: Day) -> None:
    # 2024-01-01 is day 0; February begins on day 31, March on 60, April on 91. until 2024-03-20 = day 79.
    events = log(("a", 0), ("a", 5), ("a", 35), ("b", 3), ("b", 70), ("c", 40), ("c", 60), ("d", 95))
    months = table(events, day(79), "month")
    assert [(r.start, r.users, r.active) for r in months.rows] == [
        (date(2024, 1, 1), 2, (2, 1, None)),  # a came again in February; March is not over
        (date(2024, 2, 1), 1, (1, None)),
    ]
    assert months.rows[0].shares == (1.0, 0.5, None)
    closed = table(events, day(91), "month")
    assert [r.active for r in closed.rows] == [(2, 1, 1, None), (1, 1, None)]


def test_golden_weeks_begin_on_monday(log: Log, day: Day) -> None:
    events = log(("a", 0), ("a", 6.9), ("a", 7), ("b", 13.9), ("b", 21))  # 2024-01-01 is a Monday
    weeks = table(events, day(28), "week")
    assert [(r.start, r.active) for r in weeks.rows] == [
        (date(2024, 1, 1), (1, 1, 0, 0, None)),
        (date(2024, 1, 8), (1, 0, 1, None)),
    ]


def test_a_row_without_orders_in_between_shows_zero(log: Log, day: Day) -> None:
    assert table(log(("a", 0), ("a", 65)), day(100), "month").rows[0].active == (1, 0, 1, None)


def test_months_are_those_of_the_shop(log: Log, day: Day) -> None:
    events = log(("a", 30.9))  # 2024-01-31 21:36 UTC is February in Shanghai
    assert table(events, day(60), "month", ZoneInfo("Asia/Shanghai")).rows[0].start == date(2024, 2, 1)
    assert table(events, day(60), "month").rows[0].start == date(2024, 1, 1)


def test_no_orders_no_rows(log: Log, day: Day) -> None:
    empty = table(log(), day(1), "month")
    assert empty.rows == ()
    assert json.loads(json.dumps(empty.to_json())) == {"unit": "month", "rows": []}


@pytest.mark.parametrize("unit", ["week", "month"])
@given(found=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 120)), max_size=25), until=st.integers(0, 120))
def test_shards_add_up_and_nobody_is_counted_twice(unit: Unit, found: list[tuple[str, int]], until: int) -> None:
    schema = {"user_id": pl.String, "occurred_at": pl.Datetime("us", "UTC")}
    start = datetime(2024, 1, 1, tzinfo=UTC)
    events = pl.DataFrame([(u, start + timedelta(days=d)) for u, d in found], schema=schema, orient="row")
    end = start + timedelta(days=until)
    shards = [events.filter(pl.col("user_id").is_in(users)) for users in (["a", "b"], ["c"], ["d"])]
    parts = retention_table([count_retention(s, end, unit, UTC_ZONE) for s in shards], end, unit, UTC_ZONE)
    assert parts == table(events, end, unit)
    assert sum(r.users for r in parts.rows) == len({u for u, d in found if d <= until})
    assert all(n is None or n <= r.users for r in parts.rows for n in r.active)
