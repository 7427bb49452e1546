"""Traces: what a user meets for the first time, and how prices change, as lists in time that any window can cut."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.features.columns import Batch, Columns
from ebbtide.features.kernels.codes import code_of
from ebbtide.features.plan import NO_KEY, TracePlan
from ebbtide.features.primitives import COLUMNS, KEYS
from ebbtide.features.slots import ALWAYS

_ITEM, _PRICE = KEYS.index("item_id"), COLUMNS.index("unit_price")


class Traces(NamedTuple):
    """number (traces,) of entries so far; at (traces, entries) their times, ascending; total (traces, entries) the sum
    of values up to each; met (traces, codes) the walk in which a value was met; price (traces, codes) its last one."""

    number: NDArray[np.int64]
    at: NDArray[np.int64]
    total: NDArray[np.float64]
    met: NDArray[np.int64]
    price: NDArray[np.float64]


@njit(cache=True, nogil=True)
def make_traces(count: int, longest: int, codes: int) -> Traces:
    """Scratch for one thread, for users of at most `longest` events."""
    return Traces(
        np.zeros(count, np.int64),
        np.empty((count, longest), np.int64),
        np.empty((count, longest), np.float64),
        np.full((count, codes), -1, np.int64),
        np.empty((count, codes), np.float64),
    )


@njit(cache=True, nogil=True)
def fill_traces(
    batch: Batch,
    columns: Columns,
    class_of_key: NDArray[np.int32],
    plan: TracePlan,
    traces: Traces,
    place: NDArray[np.float64],
) -> None:
    """Fill each row of `place` (rows, reads)."""
    time, known, key, values, codes = columns.time, columns.known, columns.key, columns.values, columns.codes
    code_row, price_row = columns.code_row, columns.value_row[_PRICE]
    start, slots, keys = plan.lists.start, plan.lists.slot, plan.lists.how
    read_trace, read_window_us, read_known = (
        plan.read_trace, plan.read_window_us, plan.read_known,
    )  # fmt: skip
    number, at, total, met, prices = traces.number, traces.at, traces.total, traces.met, traces.price
    for i in range(len(batch.end)):
        as_of, delayed, walk, out = batch.as_of[i], batch.delayed[i], batch.walk[i], place[i]
        if batch.fresh[i]:
            number[:] = 0
        for e in range(batch.resume[i], batch.end[i]):
            c = class_of_key[key[e]]
            if start[c] == start[c + 1] or (delayed and known[e] > as_of):
                continue
            for p in range(start[c], start[c + 1]):
                slot, entry, value = slots[p], number[slots[p]], 0.0
                code = code_of(codes, code_row, _ITEM if keys[p] == NO_KEY else keys[p], e, time[e])
                if code < 0:
                    continue
                is_new = met[slot, code] != walk
                if keys[p] == NO_KEY:
                    price = values[price_row, e] if price_row >= 0 else np.nan
                    if not price > 0:
                        continue
                    value = np.log(price / prices[slot, code]) if not is_new else 0.0
                    prices[slot, code] = price
                met[slot, code] = walk
                if is_new != (keys[p] == NO_KEY):
                    at[slot, entry] = time[e]
                    total[slot, entry] = value + (total[slot, entry - 1] if entry > 0 else 0.0)
                    number[slot] = entry + 1
        for r in range(len(read_trace)):
            slot = read_trace[r]
            end = number[slot]
            begin = 0 if read_window_us[r] == ALWAYS else _after(at[slot], end, as_of - read_window_us[r])
            if read_known[r]:
                out[r] = end - begin
            else:
                before = total[slot, begin - 1] if begin > 0 else 0.0
                out[r] = total[slot, end - 1] - before if end > begin else 0.0


@njit(cache=True, nogil=True)
def _after(at: NDArray[np.int64], end: int, edge: int) -> int:
    """How many of the first `end` times lie at or before the edge: a window excludes its start."""
    low, high = 0, end
    while low < high:
        middle = (low + high) // 2
        if at[middle] <= edge:
            low = middle + 1
        else:
            high = middle
    return low
