"""The loop over (user, moment) rows: walk, statistics, then each feature's operation over the scratch row."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.core.windows import DAY_US
from ebbtide.features.encode import Columns
from ebbtide.features.kernels.clock import clock_facts
from ebbtide.features.kernels.decay import advance, fade
from ebbtide.features.kernels.rhythm import quantile_of_sorted, rhythm
from ebbtide.features.kernels.walk import NEVER, walk
from ebbtide.features.plan import RHYTHM_STATS, Plan

_STATS = len(RHYTHM_STATS)


@njit(cache=True, nogil=True)
def fill_rows(
    rows: NDArray[np.int64],
    at_user: NDArray[np.int32],
    at_us: NDArray[np.int64],
    columns: Columns,
    plan: Plan,
    out: NDArray[np.float32],
) -> None:
    """Fill `out` (N, F) at `rows`, which are ordered by (user, moment)."""
    longest = 1
    for r in rows:
        longest = max(longest, columns.start[at_user[r] + 1] - columns.start[at_user[r]])
    place = np.empty(plan.size, np.float64)
    cells = place[: plan.slots * plan.bins].reshape(plan.slots, plan.bins)
    seen = np.full((plan.seen_slots, columns.codes_max), -1, np.int64)
    seen_day = np.empty(plan.slots, np.int64)
    spans = np.empty((plan.spans, 2), np.int64)
    last_day = np.empty(plan.rhythms, np.int64)
    last_time = np.empty(plan.rhythms, np.int64)
    gaps = np.empty((plan.rhythms, longest), np.int32)
    ordered = np.empty((plan.rhythms, longest), np.int32)
    gap_count = np.zeros(plan.rhythms, np.int64)
    state = np.zeros(len(plan.decay_life), np.float64)
    faded = np.zeros(len(plan.decay_life), np.float64)
    factor = np.empty(len(plan.half_life_us), np.float64)
    decay_seen = np.full(columns.codes_max, -1, np.int64)
    user, reached, clock, decay_stamp = -1, 0, NEVER, 0
    for stamp, r in enumerate(rows):
        begin, as_of = columns.start[at_user[r]], at_us[r]
        end = begin + np.searchsorted(columns.time[begin : columns.start[at_user[r] + 1]], as_of, side="right")
        delayed = columns.delayed[at_user[r]]
        walk(
            begin,
            end,
            as_of,
            delayed,
            columns,
            plan,
            cells,
            seen,
            seen_day,
            stamp,
            spans,
            last_day,
            last_time,
            gaps,
            gap_count,
        )
        for s in range(plan.slots):
            for b in range(1, plan.bins):
                cells[s, b] += cells[s, b - 1]
        for s in range(plan.spans):
            for k in range(2):
                t = spans[s, k]
                place[plan.span_at + 2 * s + k] = np.nan if t == NEVER else (as_of - t) / DAY_US
        for s in range(plan.rhythms):
            at = plan.rhythm_at + s * _STATS
            rhythm(gaps[s], gap_count[s], last_day[s], last_time[s], as_of, place[at : at + _STATS])
            n = max(gap_count[s] - 1, 0)
            ordered[s, :n] = gaps[s, :n]
            ordered[s, :n].sort()
            silence = (as_of - last_time[s]) / DAY_US
            place[at + 10] = silence / quantile_of_sorted(ordered[s], n, 0.5) if n > 0 else np.nan
        for i in range(len(plan.quantile)):
            s = plan.quantile_slot[i]
            place[plan.quantile_at + i] = quantile_of_sorted(ordered[s], max(gap_count[s] - 1, 0), plan.quantile[i])
        if at_user[r] != user or delayed:
            user, reached, clock = at_user[r], begin, NEVER
            decay_stamp += 1
            state[:] = 0.0
        clock = advance(
            reached,
            end,
            as_of,
            delayed,
            clock,
            columns,
            plan,
            state,
            factor,
            decay_seen,
            decay_stamp,
            columns.code_row[0],
        )
        reached = end
        faded[:] = state
        if clock != NEVER and as_of > clock:
            fade(as_of - clock, plan, faded, factor)
        place[plan.decay_at : plan.decay_at + len(faded)] = faded
        clock_facts(as_of, place[plan.clock_at :])
        express(plan, place, out[r])


@njit(cache=True, nogil=True)
def express(plan: Plan, place: NDArray[np.float64], out: NDArray[np.float32]) -> None:
    """Apply each feature's operation, see `primitives.Op`."""
    for f in range(len(plan.op)):
        op = plan.op[f]
        a = place[plan.part[f, 0]]
        if op == 0:
            out[f] = a
            continue
        b = place[plan.part[f, 1]]
        if op == 1:
            out[f] = a / b if b > 0 else np.nan
        elif op == 2:
            out[f] = a - b
        elif op == 3:
            size = abs(a) + abs(b - a)
            out[f] = (a - (b - a)) / size if size > 0 else np.nan
        else:
            c, d = place[plan.part[f, 2]], place[plan.part[f, 3]]
            if not (b > 0 and d > 0):
                out[f] = np.nan
            elif op == 4:
                out[f] = a / b - c / d
            else:
                out[f] = (a / b) / (c / d) if c > 0 else np.nan
