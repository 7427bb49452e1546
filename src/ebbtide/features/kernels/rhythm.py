"""Spans and rhythms: first and last times, active days, the gaps between them, and the present silence against them.

All of it is carried forward from moment to moment.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.core.windows import DAY_US
from ebbtide.features.columns import Batch, Columns
from ebbtide.features.plan import RhythmPlan
from ebbtide.features.primitives import RHYTHM_STATS

NEVER = np.iinfo(np.int64).min
_STATS = len(RHYTHM_STATS)


class Rhythms(NamedTuple):
    """first_at, last_at (spans,) times or NEVER. Then one entry a rhythm: days, the number of active days; first_day,
    last_day; seen_at, the time of the last event; gap_sum, gap_squares, irregular, sums over gaps; newest (rhythms, 3)
    the latest gaps; ordered (rhythms, ...) all gaps, ascending."""

    first_at: NDArray[np.int64]
    last_at: NDArray[np.int64]
    days: NDArray[np.int64]
    first_day: NDArray[np.int64]
    last_day: NDArray[np.int64]
    seen_at: NDArray[np.int64]
    gap_sum: NDArray[np.int64]
    gap_squares: NDArray[np.int64]
    irregular: NDArray[np.float64]
    newest: NDArray[np.int64]
    ordered: NDArray[np.int32]


@njit(cache=True, nogil=True)
def make_rhythms(spans: int, count: int, days: int) -> Rhythms:
    """Scratch for one thread, for users of at most so many active days."""
    return Rhythms(
        np.empty(spans, np.int64),
        np.empty(spans, np.int64),
        np.zeros(count, np.int64),
        np.empty(count, np.int64),
        np.empty(count, np.int64),
        np.empty(count, np.int64),
        np.empty(count, np.int64),
        np.empty(count, np.int64),
        np.empty(count, np.float64),
        np.empty((count, 3), np.int64),
        np.empty((count, days), np.int32),
    )


@njit(cache=True, nogil=True)
def fill_rhythms(
    batch: Batch,
    columns: Columns,
    class_of_key: NDArray[np.int32],
    plan: RhythmPlan,
    rhythms: Rhythms,
    place: NDArray[np.float64],
) -> None:
    """Fill each row of `place` (rows, 2 x spans + statistics x rhythms + quantiles)."""
    time, known, key = columns.time, columns.known, columns.key
    span_start, span_slot = plan.spans.start, plan.spans.slot
    rhythm_start, rhythm_slot = plan.rhythms.start, plan.rhythms.slot
    quantile_slot, quantiles, ordered = plan.quantile_slot, plan.quantile, rhythms.ordered
    first_at, last_at, days, last_day, seen_at = (
        rhythms.first_at, rhythms.last_at, rhythms.days, rhythms.last_day, rhythms.seen_at,
    )  # fmt: skip
    for i in range(len(batch.end)):
        as_of, delayed, out = batch.as_of[i], batch.delayed[i], place[i]
        if batch.fresh[i]:
            first_at[:] = NEVER
            last_at[:] = NEVER
            days[:] = 0
        for e in range(batch.resume[i], batch.end[i]):
            if delayed and known[e] > as_of:
                continue
            c, t = class_of_key[key[e]], time[e]
            for p in range(span_start[c], span_start[c + 1]):
                slot = span_slot[p]
                if first_at[slot] == NEVER:
                    first_at[slot] = t
                last_at[slot] = t
            for p in range(rhythm_start[c], rhythm_start[c + 1]):
                slot, day = rhythm_slot[p], t // DAY_US
                seen_at[slot] = t
                if days[slot] == 0 or day != last_day[slot]:
                    _begin_day(slot, day, rhythms)
        for s in range(len(first_at)):
            never = last_at[s] == NEVER
            out[2 * s] = np.nan if never else (as_of - last_at[s]) / DAY_US
            out[2 * s + 1] = np.nan if never else (as_of - first_at[s]) / DAY_US
        for s in range(len(days)):
            at = 2 * len(first_at) + s * _STATS
            _read(s, as_of, rhythms, out[at : at + _STATS])
        for q in range(len(quantiles)):
            s = quantile_slot[q]
            out[2 * len(first_at) + len(days) * _STATS + q] = _quantile(ordered[s], days[s] - 1, quantiles[q])


@njit(cache=True, nogil=True)
def _begin_day(slot: int, day: int, rhythms: Rhythms) -> None:
    """Note a new active day: the first one starts the rhythm, each later one makes a gap."""
    count = rhythms.days[slot]
    if count == 0:
        rhythms.first_day[slot] = day
        rhythms.gap_sum[slot], rhythms.gap_squares[slot], rhythms.irregular[slot] = 0, 0, 0.0
    else:
        gap = day - rhythms.last_day[slot]
        rhythms.gap_sum[slot] += gap
        rhythms.gap_squares[slot] += gap * gap
        newest, ordered = rhythms.newest[slot], rhythms.ordered[slot]
        if count > 1:
            share = gap / (gap + newest[0]) - 0.5
            rhythms.irregular[slot] += share * share
        newest[2], newest[1], newest[0] = newest[1], newest[0], gap
        i = count - 1
        while i > 0 and ordered[i - 1] > gap:
            ordered[i] = ordered[i - 1]
            i -= 1
        ordered[i] = gap
    rhythms.last_day[slot] = day
    rhythms.days[slot] = count + 1


@njit(cache=True, nogil=True)
def _read(slot: int, as_of: int, rhythms: Rhythms, out: NDArray[np.float64]) -> None:
    """Fill `out` in the order of RHYTHM_STATS; NaN where undefined. A gap is at least one day.

    `regularity` is 1 - 12 V, V the mean of (g1 / (g1 + g2) - 1/2)^2 over successive gaps: V is 0 for a clock and 1/12
    for chance. After Wheat and Morrison (1990), Estimating purchase regularity with two interpurchase times.
    """
    out[:] = np.nan
    n = rhythms.days[slot] - 1
    if n < 0:
        return
    silence = (as_of - rhythms.seen_at[slot]) / DAY_US
    out[0] = n
    out[1] = rhythms.gap_sum[slot]
    out[2] = as_of / DAY_US - rhythms.first_day[slot]
    if n == 0:
        return
    ordered, newest = rhythms.ordered[slot], rhythms.newest[slot]
    mean = rhythms.gap_sum[slot] / n
    recent = 0
    for i in range(min(n, 3)):
        recent += newest[i]
    out[3] = mean
    out[6] = newest[0]
    out[7] = ordered[n - 1]
    out[8] = newest[0] / mean
    out[9] = recent / min(n, 3) / mean
    out[10] = silence / _quantile(ordered, n, 0.5)
    out[11] = silence / ordered[n - 1]
    out[13] = (n - _shorter(ordered, n, silence)) / n
    if n >= 2:
        spread = np.sqrt(max(rhythms.gap_squares[slot] / n - mean * mean, 0.0))
        out[4] = spread
        out[5] = spread / mean
        out[12] = (silence - mean) / max(spread, 1.0)
        out[14] = 1.0 - 12.0 * rhythms.irregular[slot] / (n - 1)


@njit(cache=True, nogil=True)
def _shorter(ordered: NDArray[np.int32], n: int, silence: float) -> int:
    """How many of the first n gaps are shorter than the silence."""
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < silence:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def _quantile(ordered: NDArray[np.int32], n: int, q: float) -> float:
    """Linear interpolation between the neighbours, as NumPy's default; NaN for n = 0."""
    if n <= 0:
        return np.nan
    place = q * (n - 1)
    low = int(place)
    high = min(low + 1, n - 1)
    lower, upper = float(ordered[low]), float(ordered[high])
    return lower + (place - low) * (upper - lower)
