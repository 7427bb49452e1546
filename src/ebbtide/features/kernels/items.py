"""What an item table tells of an event, as of a moment: price level, popularity and its change."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.core.windows import DAY_US
from ebbtide.features.columns import ItemHistory

WEEK_US = 7 * DAY_US
RECENT_WEEKS = 4


class ItemMemory(NamedTuple):
    """told (3,) of the present event, in the order of ITEM_COLUMNS; walk (codes,) in which an item was looked up, and
    facts (codes, 3): its usual log price, its popularity, the change of that."""

    told: NDArray[np.float64]
    walk: NDArray[np.int64]
    facts: NDArray[np.float64]


@njit(cache=True, nogil=True)
def make_item_memory(codes: int) -> ItemMemory:
    """Memory for one thread, for users of at most so many codes."""
    return ItemMemory(np.empty(3, np.float64), np.full(codes, -1, np.int64), np.empty((codes, 3), np.float64))


@njit(cache=True, nogil=True)
def look_up(e: int, item: int, price: float, as_of: int, walk: int, items: ItemHistory, memory: ItemMemory) -> None:
    """Fill `memory.told` for event e; NaN for what the table does not know."""
    told = memory.told
    told[:] = np.nan
    if item < 0 or len(items.row) == 0 or items.row[e] < 0:
        return
    if memory.walk[item] != walk:
        memory.walk[item] = walk
        _facts(items.row[e], as_of, items, memory.facts[item])
    if price > 0:
        told[0] = np.log(price) - memory.facts[item, 0]
    told[1] = memory.facts[item, 1]
    told[2] = memory.facts[item, 2]


@njit(cache=True, nogil=True)
def _facts(item: int, as_of: int, items: ItemHistory, out: NDArray[np.float64]) -> None:
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
