"""Closed moments: closed, spaced, with enough history, the newest first to stay."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ebbtide.churn.cutoffs import closed_moments, shortest_lookback_us
from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.windows import DAY_US

spans = st.integers(1, 90).map(float)
definitions = st.builds(
    ChurnDefinition, horizon_days=spans, eligible_days=spans, gap_days=st.integers(0, 10).map(float)
)


def test_golden_moments() -> None:
    # until 275, horizon 90: newest 275 - 90 = 185, next 95, next 5 < 90 days of lookback
    definition = ChurnDefinition(horizon_days=90, eligible_days=180)
    assert [m // DAY_US for m in closed_moments(0, 275 * DAY_US, definition, 24)] == [95, 185]
    assert [m // DAY_US for m in closed_moments(0, 269 * DAY_US, definition, 24)] == [179]


def test_a_denser_step_and_a_longer_lookback_are_arguments() -> None:
    definition = ChurnDefinition(horizon_days=30, eligible_days=180)
    dense = closed_moments(0, 120 * DAY_US, definition, 24, step_us=15 * DAY_US)
    assert [m // DAY_US for m in dense] == [30, 45, 60, 75, 90]
    strict = closed_moments(0, 240 * DAY_US, definition, 24, lookback_us=definition.eligible_us)
    assert [m // DAY_US for m in strict] == [180, 210]


def test_the_lookback_is_a_horizon_or_the_shorter_eligibility_window() -> None:
    assert shortest_lookback_us(ChurnDefinition(horizon_days=30, eligible_days=180)) == 30 * DAY_US
    assert shortest_lookback_us(ChurnDefinition(horizon_days=30, eligible_days=14)) == 14 * DAY_US


@given(definitions, st.integers(0, 400), st.integers(0, 400), st.integers(1, 30))
def test_moments_are_closed_spaced_and_have_a_past(d: ChurnDefinition, first: int, length: int, count: int) -> None:
    until = (first + length) * DAY_US
    found = closed_moments(first * DAY_US, until, d, count)
    assert len(found) <= count
    assert all(m + d.closing_us <= until for m in found)
    assert all(m - first * DAY_US >= shortest_lookback_us(d) for m in found)
    assert all(later - earlier == d.horizon_us for earlier, later in pairwise(found))
    assert not found or found[-1] + d.closing_us == until


@given(definitions, st.integers(0, 400), st.integers(1, 30))
def test_a_smaller_count_keeps_the_newest(d: ChurnDefinition, length: int, count: int) -> None:
    whole = closed_moments(0, length * DAY_US, d, 1000)
    assert closed_moments(0, length * DAY_US, d, count) == whole[-count:]
