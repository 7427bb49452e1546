"""Totals: sums over all history and latest values, carried forward from moment to moment."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.core.windows import DAY_US
from ebbtide.features.columns import Batch, Columns
from ebbtide.features.kernels.codes import code_of
from ebbtide.features.plan import TotalPlan
from ebbtide.features.primitives import MOST_LATEST

NEVER = np.iinfo(np.int64).min


class Totals(NamedTuple):
    """sums (totals,); last_day (totals,) the latest day; met (seen rows, codes) the walk in which a value was met;
    latest (latest, MOST_LATEST) values, the newest first, NaN after the last."""

    sums: NDArray[np.float64]
    last_day: NDArray[np.int64]
    met: NDArray[np.int64]
    latest: NDArray[np.float64]


@njit(cache=True, nogil=True)
def make_totals(slots: int, seen_rows: int, latest: int, codes: int) -> Totals:
    """Scratch for one thread."""
    return Totals(
        np.empty(slots, np.float64),
        np.empty(slots, np.int64),
        np.full((seen_rows, codes), -1, np.int64),
        np.empty((latest, MOST_LATEST), np.float64),
    )


@njit(cache=True, nogil=True)
def fill_totals(
    batch: Batch,
    columns: Columns,
    class_of_key: NDArray[np.int32],
    plan: TotalPlan,
    totals: Totals,
    place: NDArray[np.float64],
) -> None:
    """Fill each row of `place` (rows, totals + latest values)."""
    time, known, key, values, codes = columns.time, columns.known, columns.key, columns.values, columns.codes
    value_row, code_row, feed = columns.value_row, columns.code_row, plan.feed
    plain_start, plain_slot = feed.plain.start, feed.plain.slot
    weighted_start, weighted_slot, weighted_column = feed.weighted.start, feed.weighted.slot, feed.weighted.how
    unique_start, unique_slot, unique_key = feed.unique.start, feed.unique.slot, feed.unique.how
    latest_start, latest_slot, latest_column = plan.latest.start, plan.latest.slot, plan.latest.how
    counts_known, seen_row = feed.counts_known, feed.seen_row
    sums, last_day, met, latest = totals.sums, totals.last_day, totals.met, totals.latest
    for i in range(len(batch.end)):
        as_of, delayed, walk, out = batch.as_of[i], batch.delayed[i], batch.walk[i], place[i]
        if batch.fresh[i]:
            sums[:] = 0.0
            last_day[:] = NEVER
            latest[:] = np.nan
        for e in range(batch.resume[i], batch.end[i]):
            if delayed and known[e] > as_of:
                continue
            c = class_of_key[key[e]]
            for p in range(plain_start[c], plain_start[c + 1]):
                sums[plain_slot[p]] += 1.0
            for p in range(weighted_start[c], weighted_start[c + 1]):
                slot, row = weighted_slot[p], value_row[weighted_column[p]]
                if row >= 0 and not np.isnan(values[row, e]):
                    sums[slot] += 1.0 if counts_known[slot] else values[row, e]
            for p in range(unique_start[c], unique_start[c + 1]):
                slot, unique, t = unique_slot[p], unique_key[p], time[e]
                if unique < 0:
                    if last_day[slot] != t // DAY_US:
                        last_day[slot] = t // DAY_US
                        sums[slot] += 1.0
                    continue
                code = code_of(codes, code_row, unique, e, t)
                if code >= 0 and met[seen_row[slot], code] != walk:
                    met[seen_row[slot], code] = walk
                    sums[slot] += 1.0
            for p in range(latest_start[c], latest_start[c + 1]):
                row = value_row[latest_column[p]]
                if row >= 0 and not np.isnan(values[row, e]):
                    newest = latest[latest_slot[p]]
                    for k in range(plan.last[latest_slot[p]] - 1, 0, -1):
                        newest[k] = newest[k - 1]
                    newest[0] = values[row, e]
        for s in range(len(sums)):
            out[s] = sums[s]
        for s in range(len(latest)):
            out[len(sums) + s] = _told(latest[s, : plan.last[s]], plan.lowest[s])


@njit(cache=True, nogil=True)
def _told(newest: NDArray[np.float64], lowest: bool) -> float:
    """The mean or the lowest of the known ones, which come first."""
    if len(newest) == 1:
        return float(newest[0])
    count, total, least = 0, 0.0, np.inf
    for value in newest:
        if not np.isnan(value):
            count, total, least = count + 1, total + value, min(least, value)
    if count == 0:
        return np.nan
    return least if lowest else total / count
