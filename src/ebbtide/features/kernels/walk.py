"""The walk: one pass over a user's known events, newest first, that fills cells, spans and gaps.

Cells: each event's age falls into one bin of the sorted window edges, `edges[b-1] <= age < edges[b]`, so that the sum
of bins 0..b is the half-open window `(as_of - edges[b], as_of]`. Distinct values count where they are met first, which
is their latest occurrence; with `first` the count moves on to the earliest.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.core.windows import DAY_US
from ebbtide.features.encode import Columns
from ebbtide.features.plan import NO_WEIGHT, UNIQUE_DAY, UNIQUE_NONE, Plan

NEVER = np.iinfo(np.int64).min


@njit(cache=True, nogil=True)
def walk(
    begin: int,
    end: int,
    as_of: int,
    delayed: bool,
    columns: Columns,
    plan: Plan,
    cells: NDArray[np.float64],
    seen: NDArray[np.int64],
    seen_day: NDArray[np.int64],
    stamp: int,
    spans: NDArray[np.int64],
    last_day: NDArray[np.int64],
    last_time: NDArray[np.int64],
    gaps: NDArray[np.int32],
    gap_count: NDArray[np.int64],
) -> None:
    """Fill, for one (user, moment): cells (slots, bins), not yet cumulative; spans (spans, 2) last and first time or
    NEVER; last_day (rhythms,) the earliest
    active day, last_time (rhythms,) the newest event; gaps (rhythms, ...) latest first, gap_count (rhythms,) active
    days. `seen` (seen slots, codes) holds `stamp * 64 + bin` where a value was met."""
    time, known, edges = columns.time, columns.known, plan.edges_us
    cells[:, :] = 0.0
    spans[:, :] = NEVER
    seen_day[:] = NEVER
    gap_count[:] = 0
    bin_ = 0
    for e in range(end - 1, begin - 1, -1):
        if delayed and known[e] > as_of:
            continue
        t = time[e]
        age = as_of - t
        while bin_ < len(edges) and age >= edges[bin_]:
            bin_ += 1
        c = plan.class_of_key[columns.key[e]]
        day = t // DAY_US
        for p in range(plan.cell_start[c], plan.cell_start[c + 1]):
            slot, column, unique = plan.cell_slot[p], plan.cell_column[p], plan.cell_unique[p]
            weight = 1.0
            if column != NO_WEIGHT:
                row = columns.value_row[column]
                if row < 0 or np.isnan(columns.values[row, e]):
                    continue
                if not plan.cell_known[p]:
                    weight = columns.values[row, e]
            if unique != UNIQUE_NONE:
                if unique == UNIQUE_DAY:
                    if seen_day[slot] == day:
                        continue
                    seen_day[slot] = day
                else:
                    row = columns.code_row[unique]
                    if row < 0 or columns.codes[row, e] < 0:
                        continue
                    code = columns.codes[row, e]
                    met = seen[plan.cell_seen[p], code]
                    if met >> 6 == stamp:
                        if not plan.cell_first[p]:
                            continue
                        cells[slot, met & 63] -= weight
                    seen[plan.cell_seen[p], code] = (stamp << 6) | bin_
            cells[slot, bin_] += weight
        for p in range(plan.span_start[c], plan.span_start[c + 1]):
            slot = plan.span_slot[p]
            if spans[slot, 0] == NEVER:
                spans[slot, 0] = t
            spans[slot, 1] = t
        for p in range(plan.rhythm_start[c], plan.rhythm_start[c + 1]):
            slot = plan.rhythm_slot[p]
            count = gap_count[slot]
            if count == 0:
                last_day[slot] = day
                last_time[slot] = t
                gap_count[slot] = 1
            elif last_day[slot] != day:
                gaps[slot, count - 1] = last_day[slot] - day
                last_day[slot] = day
                gap_count[slot] = count + 1
