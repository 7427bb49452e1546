"""Spells of silence and custom: golden counts, and shards that add up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ebbtide.churn.spells import Spells, count_gaps, count_lifetimes, no_spells

Log = Callable[..., pl.DataFrame]
Day = Callable[[float], datetime]
START = datetime(2024, 1, 1, tzinfo=UTC)


def lengths(spells: Spells) -> tuple[dict[int, int], dict[int, int]]:
    return tuple({i: int(n) for i, n in enumerate(counts) if n} for counts in (spells.ended, spells.open))  # type: ignore[return-value]


def test_golden_gaps(log: Log, day: Day) -> None:
    # a: days 0, 3, 10 -> gaps 3 and 7, open 20 - 10 = 10; the second order of day 3 is the same day; day 25 lies ahead
    # b: day 20 -> open 0
    events = log(("a", 10), ("a", 0.5), ("a", 3), ("a", 3.9), ("b", 20), ("a", 25))
    assert lengths(count_gaps(events, day(20))) == ({3: 1, 7: 1}, {0: 1, 10: 1})


def test_golden_lifetimes(log: Log, day: Day) -> None:
    # silence of 10 days ends a customer. until day 30
    # a: 0, 5 -> silent from 5, gone on 15 although back on 20: lifetime 15
    # b: 15, 25 -> 10 days of silence after 15 are reached on the day of return: gone after 10
    # c: 22 -> silent for 8 days only: open for 8
    events = log(("a", 0), ("a", 5), ("a", 20), ("b", 15), ("b", 25), ("c", 22))
    assert lengths(count_lifetimes(events, day(30), 10)) == ({10: 1, 15: 1}, {8: 1})


def test_nobody_has_no_spells(log: Log, day: Day) -> None:
    for spells in (count_gaps(log(), day(3)), count_lifetimes(log(), day(3), 10), no_spells()):
        assert lengths(spells) == ({}, {})
        assert spells.quantile(0.5) is None


def test_quantiles_are_lengths_that_occur() -> None:
    spells = Spells(np.array([0, 5, 0, 4, 1]), np.zeros(5, np.int64))
    assert [spells.quantile(q) for q in (0.1, 0.5, 0.51, 0.9, 1.0)] == [1, 1, 3, 3, 4]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 40)), max_size=25), st.integers(0, 40))
def test_shards_of_users_add_up(found: list[tuple[str, int]], until: int) -> None:
    schema = {"user_id": pl.String, "occurred_at": pl.Datetime("us", "UTC")}
    events = pl.DataFrame([(u, START + timedelta(days=d)) for u, d in found], schema=schema, orient="row")
    end = START + timedelta(days=until)
    shards = [events.filter(pl.col("user_id").is_in(users)) for users in (["a"], ["b", "c"], ["d"])]
    for count in (count_gaps, lambda e, u: count_lifetimes(e, u, 7)):
        assert lengths(sum((count(s, end) for s in shards), no_spells())) == lengths(count(events, end))


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 40)), max_size=25), st.integers(0, 40))
def test_every_user_has_one_open_gap_and_days_less_one_closed(found: list[tuple[str, int]], until: int) -> None:
    schema = {"user_id": pl.String, "occurred_at": pl.Datetime("us", "UTC")}
    events = pl.DataFrame([(u, START + timedelta(days=d)) for u, d in found], schema=schema, orient="row")
    known = {(u, d) for u, d in found if d <= until}
    users = {u for u, _ in known}
    spells = count_gaps(events, START + timedelta(days=until))
    assert int(spells.open.sum()) == len(users)
    assert int(spells.ended.sum()) == len(known) - len(users)
    assert not spells.ended[:1].any()
