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
def _express(rows: NDArray[np.int64], plan: Plan, place: NDArray[np.float64], out: NDArray[np.float32]) -> None:
    """Apply each feature's operation, operation by operation: see `primitives.Op`."""
    feature, start, scale, part = plan.feature, plan.op_start, plan.scale, plan.part
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
    columns: Columns,
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
        begin = columns.start[user]
        batch.as_of[i], batch.begin[i], batch.delayed[i] = as_of, begin, columns.delayed[user]
        known = columns.time[begin : columns.start[user + 1]]
        batch.end[i] = begin + np.searchsorted(known, as_of, side="right")
        # with late arrivals an event may have become known between two moments: begin again
        batch.fresh[i] = user != journey[0] or columns.delayed[user]
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
        places, windows_us = plan.places, plan.visit_windows_us
        place = np.zeros((min(BATCH_ROWS, len(rows)), places.size), np.float64)
        cells, totals, rhythms = (
            make_cell_scratch(plan, columns),
            make_totals(plan, columns),
            make_rhythms(plan, columns),
        )
        decays, traces, tallies = make_decays(plan, columns), make_traces(plan, columns), make_tallies(plan, columns)
        baskets, visits = make_baskets(columns), make_visits(len(windows_us) > 0, columns)
        journey = np.full(3, -1, np.int64)
        for first in range(0, len(rows), BATCH_ROWS):
            part = rows[first : first + BATCH_ROWS]
            batch = _take(part, at_user, at_us, columns, journey)
            fill_cells(batch, columns, items, plan, cells, place)
            fill_totals(batch, columns, plan, totals, place)
            fill_rhythms(batch, columns, plan, rhythms, place)
            if places.traces > places.decays:
                fill_decays(batch, columns, plan, decays, place)
            if places.tallies > places.traces:
                fill_traces(batch, columns, plan, traces, place)
            if places.baskets > places.tallies:
                fill_tallies(batch, columns, plan, tallies, place)
            if plan.baskets:
                fill_baskets(batch, columns, places.baskets, baskets, place)
            if len(windows_us) > 0:
                fill_visits(batch, columns, windows_us, places.visits, visits, place)
            for i in range(len(part)):
                read_clock(batch.as_of[i], place[i, places.clock :])
            _express(part, plan, place, out)
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
