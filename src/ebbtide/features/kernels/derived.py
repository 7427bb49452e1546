"""Numbers of an event that depend on what was known at as_of: price changes, and what the item table says."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.core.windows import DAY_US
from ebbtide.features.columns import Columns, ItemHistory
from ebbtide.features.plan import ORDER

WEEK_US = 7 * DAY_US
RECENT_WEEKS = 4


class Memory(NamedTuple):
    """value, bin_of (4,) the derived numbers of the present event, in the order of DERIVED, and the bin of each;
    later_stamp, later_bin, later_price (codes,) the next purchase of an item; item_stamp, and item_facts (codes, 3)
    usual log price, popularity, its change, as looked up in this walk."""

    value: NDArray[np.float64]
    bin_of: NDArray[np.int64]
    later_stamp: NDArray[np.int64]
    later_bin: NDArray[np.int64]
    later_price: NDArray[np.float64]
    item_stamp: NDArray[np.int64]
    item_facts: NDArray[np.float64]


@njit(cache=True, nogil=True)
def make_memory(columns: Columns) -> Memory:
    """Memory for one thread."""
    codes = columns.code_count
    return Memory(
        np.empty(4, np.float64),
        np.empty(4, np.int64),
        np.full(codes, -1, np.int64),
        np.empty(codes, np.int64),
        np.empty(codes, np.float64),
        np.full(codes, -1, np.int64),
        np.empty((codes, 3), np.float64),
    )


@njit(cache=True, nogil=True)
def derive(
    e: int,
    item: int,
    price: float,
    key: int,
    as_of: int,
    bin_: int,
    stamp: int,
    items: ItemHistory,
    memory: Memory,
) -> None:
    """Fill `memory.value` and `memory.bin_of` for event e of an item; the walk goes from new to old.

    A price change counts where the later of the two purchases lies.
    """
    memory.value[:] = np.nan
    memory.bin_of[:] = bin_
    if key & 31 == ORDER and price > 0:
        if memory.later_stamp[item] == stamp:
            memory.value[0] = np.log(memory.later_price[item] / price)
            memory.bin_of[0] = memory.later_bin[item]
        memory.later_stamp[item], memory.later_bin[item], memory.later_price[item] = stamp, bin_, price
    if len(items.row) == 0 or items.row[e] < 0:
        return
    if memory.item_stamp[item] != stamp:
        memory.item_stamp[item] = stamp
        _look_up(items.row[e], as_of, items, memory.item_facts[item])
    if price > 0:
        memory.value[1] = np.log(price) - memory.item_facts[item, 0]
    memory.value[2] = memory.item_facts[item, 1]
    memory.value[3] = memory.item_facts[item, 2]


@njit(cache=True, nogil=True)
def _look_up(item: int, as_of: int, items: ItemHistory, out: NDArray[np.float64]) -> None:
    """Facts of an item from the weeks that were complete at as_of and at the table's end."""
    week = min(as_of // WEEK_US, items.known_week)
    now = _before(item, week, items)
    recent = _before(item, week - RECENT_WEEKS, items)
    older = _before(item, week - 2 * RECENT_WEEKS, items)
    out[0] = items.log_price[now] / items.priced[now] / 1e6 if now >= 0 and items.priced[now] > 0 else np.nan
    last = _events(now, items) - _events(recent, items)
    previous = _events(recent, items) - _events(older, items)
    out[1] = np.log1p(last)
    out[2] = np.log((1.0 + last) / (1.0 + previous))


@njit(cache=True, nogil=True)
def _before(item: int, week: int, items: ItemHistory) -> int:
    """The place of the item's last week before `week`; -1 if there is none."""
    begin, end = items.start[item], items.start[item + 1]
    at = begin + np.searchsorted(items.week[begin:end], week)
    return at - 1 if at > begin else -1


@njit(cache=True, nogil=True)
def _events(at: int, items: ItemHistory) -> int:
    return items.events[at] if at >= 0 else 0
