"""The loop over (user, moment) rows, in batches: fill the scratch rows section by section, then apply each feature.

A batch is small enough for its scratch rows to stay in the processor's cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.features.columns import Batch, Columns, ItemHistory
from ebbtide.features.kernels.baskets import fill_baskets, make_baskets
from ebbtide.features.kernels.cells import fill_cells, make_cell_scratch
from ebbtide.features.kernels.clock import read_clock
from ebbtide.features.kernels.decays import fill_decays, make_decays
from ebbtide.features.kernels.rhythm import fill_rhythms, make_rhythms
from ebbtide.features.kernels.tallies import fill_tallies, make_tallies
from ebbtide.features.kernels.totals import fill_totals, make_totals
from ebbtide.features.kernels.traces import fill_traces, make_traces
from ebbtide.features.kernels.visits import fill_visits, make_visits
from ebbtide.features.plan import Plan

BATCH_ROWS = 64

Fill = Callable[
    [NDArray[np.int64], NDArray[np.int32], NDArray[np.int64], Columns, ItemHistory, Plan, NDArray[np.float32]], int
]


@njit(cache=True, nogil=True)
def _express(
    rows: NDArray[np.int64],
    feature: NDArray[np.int32],
    start: NDArray[np.int32],
    scale: NDArray[np.float64],
    part: NDArray[np.int32],
    place: NDArray[np.float64],
    out: NDArray[np.float32],
) -> None:
    """Apply each feature's operation, operation by operation: see `primitives.Op`."""
    nan = np.float32(np.nan)
    for i in range(len(rows)):
        p, o = place[i], out[rows[i]]
        for f in range(start[0], start[1]):
            o[feature[f]] = p[part[f, 0]] * scale[f]
        for f in range(start[1], start[2]):
            a, b = p[part[f, 0]], p[part[f, 1]]
            o[feature[f]] = a / b * scale[f] if b > 0 else nan
        for f in range(start[2], start[3]):
            o[feature[f]] = p[part[f, 0]] - p[part[f, 1]]
        for f in range(start[3], start[4]):
            new, old = p[part[f, 0]], p[part[f, 1]] - p[part[f, 0]]
            size = abs(new) + abs(old)
            o[feature[f]] = (new - old) / size if size > 0 else nan
        for f in range(start[4], start[6]):
            a, b, c, d = p[part[f, 0]], p[part[f, 1]], p[part[f, 2]], p[part[f, 3]]
            if not (b > 0 and d > 0):
                o[feature[f]] = nan
            elif f < start[5]:
                o[feature[f]] = a / b - c / d
            else:
                o[feature[f]] = (a / b) / (c / d) if c > 0 else nan
        for f in range(start[6], start[7]):
            a, b = p[part[f, 0]], p[part[f, 1]]
            o[feature[f]] = a / (a + b) if a + b > 0 else nan
        for f in range(start[7], start[8]):
            a, b, c, d = p[part[f, 0]], p[part[f, 1]], p[part[f, 2]], p[part[f, 3]]
            o[feature[f]] = a / (a + b) - c / (c + d) if a + b > 0 and c + d > 0 else nan
        for f in range(start[8], start[9]):
            o[feature[f]] = p[part[f, 0]] / (np.floor(p[part[f, 1]] / scale[f]) + 1.0)


@njit(cache=True, nogil=True)
def _take(
    rows: NDArray[np.int64],
    at_user: NDArray[np.int32],
    at_us: NDArray[np.int64],
    start: NDArray[np.int64],
    time: NDArray[np.int64],
    delayed: NDArray[np.bool_],
    journey: NDArray[np.int64],
) -> Batch:
    """The batch of these rows; `journey` (3,) user, event reached and number of the walk go on from batch to batch."""
    n = len(rows)
    batch = Batch(
        np.empty(n, np.int64),
        np.empty(n, np.int64),
        np.empty(n, np.int64),
        np.empty(n, np.int64),
        np.empty(n, np.bool_),
        np.empty(n, np.bool_),
        np.empty(n, np.int64),
    )
    for i in range(n):
        user, as_of = at_user[rows[i]], at_us[rows[i]]
        begin = start[user]
        batch.as_of[i], batch.begin[i], batch.delayed[i] = as_of, begin, delayed[user]
        known = time[begin : start[user + 1]]
        batch.end[i] = begin + np.searchsorted(known, as_of, side="right")
        # with late arrivals an event may have become known between two moments: begin again
        batch.fresh[i] = user != journey[0] or delayed[user]
        if batch.fresh[i]:
            journey[0], journey[1] = user, begin
            journey[2] += 1
        batch.resume[i], batch.walk[i] = journey[1], journey[2]
        journey[1] = batch.end[i]
    return batch


def _compile(version: str) -> Fill:
    """`version` enters the key of Numba's cache, which by itself would not notice a change in the files called."""

    @njit(cache=True, nogil=True)
    def fill(
        rows: NDArray[np.int64],
        at_user: NDArray[np.int32],
        at_us: NDArray[np.int64],
        columns: Columns,
        items: ItemHistory,
        plan: Plan,
        out: NDArray[np.float32],
    ) -> int:
        at, windows_us, class_of_key = plan.places, plan.visit_windows_us, plan.class_of_key
        codes, longest = columns.code_count, columns.longest
        cells = make_cell_scratch(plan.cells.feed.slots, plan.cells.feed.seen_rows, plan.cells.follower_count, codes)
        totals = make_totals(plan.totals.feed.slots, plan.totals.feed.seen_rows, plan.totals.latest_count, codes)
        rhythms = make_rhythms(plan.rhythms.span_count, plan.rhythms.rhythm_count, min(longest, columns.span_days))
        decays = make_decays(len(plan.decays.life), len(plan.decays.half_life_us), codes)
        traces = make_traces(plan.traces.trace_count, longest, codes)
        tallies = make_tallies(len(plan.tallies.window_us), codes)
        baskets, visits = make_baskets(codes), make_visits(longest if len(windows_us) else 0, codes)
        place = np.zeros((min(BATCH_ROWS, len(rows)), at.size), np.float64)
        journey = np.full(3, -1, np.int64)
        for first in range(0, len(rows), BATCH_ROWS):
            part = rows[first : first + BATCH_ROWS]
            batch = _take(part, at_user, at_us, columns.start, columns.time, columns.delayed, journey)
            fill_cells(batch, columns, items, class_of_key, plan.cells, cells, place)
            fill_totals(batch, columns, class_of_key, plan.totals, totals, place[:, at.totals : at.spans])
            fill_rhythms(batch, columns, class_of_key, plan.rhythms, rhythms, place[:, at.spans : at.decays])
            if at.traces > at.decays:
                fill_decays(batch, columns, class_of_key, plan.decays, decays, place[:, at.decays : at.traces])
            if at.tallies > at.traces:
                fill_traces(batch, columns, class_of_key, plan.traces, traces, place[:, at.traces : at.tallies])
            if at.baskets > at.tallies:
                fill_tallies(batch, columns, class_of_key, plan.tallies, tallies, place[:, at.tallies : at.baskets])
            if at.visits > at.baskets:
                fill_baskets(batch, columns, baskets, place[:, at.baskets : at.visits])
            if at.clock > at.visits:
                fill_visits(batch, columns, windows_us, visits, place[:, at.visits : at.clock])
            for i in range(len(part)):
                read_clock(batch.as_of[i], place[i, at.clock :])
            _express(part, plan.feature, plan.op_start, plan.scale, plan.part, place, out)
        return len(version)

    compiled: Fill = fill
    return compiled


def _version() -> str:
    """A fingerprint of the sources that are compiled into one function."""
    here = Path(__file__).parent
    sources = [
        *here.glob("*.py"),
        *(here.parent / name for name in ("plan.py", "slots.py", "primitives.py", "columns.py")),
    ]
    digest = hashlib.sha256()
    for source in sorted(sources):
        digest.update(source.read_bytes())
    return digest.hexdigest()


_fill = _compile(_version())


def fill_rows(
    rows: NDArray[np.int64],
    at_user: NDArray[np.int32],
    at_us: NDArray[np.int64],
    columns: Columns,
    items: ItemHistory,
    plan: Plan,
    out: NDArray[np.float32],
) -> None:
    """Fill `out` (N, F) at `rows`, which are ordered by (user, moment). Releases the interpreter lock."""
    _fill(rows, at_user, at_us, columns, items, plan, out)
