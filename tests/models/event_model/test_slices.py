"""Slices for pretraining: whose, how long, and nothing after the limit."""

from __future__ import annotations

import numpy as np
import pytest

from ebbtide.models.event_model.slices import Slices
from ebbtide.sequences.tokens import FITTED, TokenLog

DAY = 86_400_000_000


def log_of(*users: list[float], types: list[int] | None = None, late: dict[int, float] | None = None) -> TokenLog:
    """Users' event days; `late` gives the arrival day of single events."""
    time = (np.concatenate([np.array(u, np.float64) for u in users]) * DAY).astype(np.int64)
    known = time.copy()
    for place, day in (late or {}).items():
        known[place] = int(day * DAY)
    codes = np.zeros((len(time), FITTED), np.uint16)
    codes[:, 0] = types if types is not None else 2
    start = np.concatenate([[0], np.cumsum([len(u) for u in users])]).astype(np.int64)
    return TokenLog(start, time, known, codes, np.zeros(len(time), np.uint64))


def test_users_need_enough_events_before_the_limit():
    log = log_of([1, 2, 3, 4], [1, 2, 3], [1, 2, 3, 40])
    assert Slices(log, 10 * DAY, DAY, 8, 5).users().tolist() == [0]


def test_an_event_that_arrives_after_the_limit_does_not_count():
    log = log_of([1, 2, 3, 4], late={3: 20})
    assert Slices(log, 10 * DAY, DAY, 8, 5).users().tolist() == []


@pytest.mark.parametrize("seed", range(5))
def test_slices_lie_before_the_limit_and_within_the_longest(seed):
    rng = np.random.default_rng(seed)
    log = log_of(*(np.sort(rng.uniform(0, 50, 30)).tolist() for _ in range(20)))
    slices = Slices(log, 30 * DAY, DAY, 8, 5)
    rows = slices.draw(slices.users(), rng)
    assert (rows.user[0::2] == rows.user[1::2]).all(), "twins are of one user"
    assert (rows.at_us <= 30 * DAY).all()
    batch = rows.batch(np.arange(len(rows)))
    assert batch.length.min() >= 4
    assert batch.length.max() <= 8
    assert (rows.since_us <= rows.at_us).all()


def test_a_slice_may_end_in_silence():
    """Between the last event and the limit there are 90 days; some slices must see part of them."""
    slices = Slices(log_of([1, 2, 3, 4, 5, 6]), 96 * DAY, DAY, 8, 5)
    rows = slices.draw(np.zeros(200, np.int64), np.random.default_rng(0))
    assert (rows.at_us > 30 * DAY).any()
    assert (rows.at_us < 7 * DAY).any()


def test_windows_count_what_came_after_by_type():
    """At day 3.5, window 4 days: a type 3 on day 5 and a type 2 on day 7; day 3 is past, day 9 is later."""
    log = log_of([1, 2, 3, 5, 7, 9], types=[2, 2, 2, 3, 2, 4])
    slices = Slices(log, 20 * DAY, 4 * DAY, 8, 6)
    rows = slices.draw(np.array([0]), np.random.default_rng(0))
    rows = type(rows)(log, np.array([0]), np.array([int(3.5 * DAY)]), np.array([0]), 8)
    counts, known = slices.windows(rows)
    assert counts.tolist() == [[0, 0, 1, 1, 0, 0]]
    assert known.tolist() == [1]


def test_a_window_past_the_limit_is_not_known():
    log = log_of([1, 2, 3, 5])
    slices = Slices(log, 6 * DAY, 4 * DAY, 8, 6)
    rows = slices.draw(np.array([0]), np.random.default_rng(0))
    rows = type(rows)(log, np.array([0, 0]), np.array([2 * DAY, 3 * DAY]), np.array([0, 0]), 8)
    assert slices.windows(rows)[1].tolist() == [1, 0]


def test_what_arrived_after_the_limit_is_not_counted():
    log = log_of([1, 2, 3, 5], late={3: 30})
    slices = Slices(log, 10 * DAY, 4 * DAY, 8, 6)
    rows = slices.draw(np.array([0]), np.random.default_rng(0))
    rows = type(rows)(log, np.array([0]), np.array([3 * DAY]), np.array([0]), 8)
    assert slices.windows(rows)[0].sum() == 0
