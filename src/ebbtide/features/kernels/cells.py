"""Cells: sums over windows, in one pass over a user's known events for each moment, newest first.

Each event's age falls into one bin of the sorted window edges, `edges[b-1] <= age < edges[b]`, so that the sum of bins
0..b is the half-open window `(as_of - edges[b], as_of]`. A distinct value counts where it is met first, which is its
latest occurrence: it lies in a window if any does.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.core.windows import DAY_US
from ebbtide.features.columns import Batch, Columns, ItemHistory
from ebbtide.features.kernels.codes import code_of
from ebbtide.features.kernels.items import ItemMemory, look_up, make_item_memory
from ebbtide.features.plan import UNIQUE_DAY, CellPlan
from ebbtide.features.primitives import COLUMNS, KEYS

NEVER = np.iinfo(np.int64).max
_ITEM, _PRICE = KEYS.index("item_id"), COLUMNS.index("unit_price")


class CellScratch(NamedTuple):
    """walks (1,) so far; met (seen rows, codes) the walk in which a value was met; last_block (slots,) the latest day
    or block; next_at, beyond (followers,) the earliest follower met so far and the earliest one later than that."""

    walks: NDArray[np.int64]
    met: NDArray[np.int64]
    last_block: NDArray[np.int64]
    next_at: NDArray[np.int64]
    beyond: NDArray[np.int64]
    items: ItemMemory


@njit(cache=True, nogil=True)
def make_cell_scratch(slots: int, seen_rows: int, followers: int, codes: int) -> CellScratch:
    """Scratch for one thread."""
    return CellScratch(
        np.zeros(1, np.int64),
        np.full((seen_rows, codes), -1, np.int64),
        np.empty(slots, np.int64),
        np.empty(followers, np.int64),
        np.empty(followers, np.int64),
        make_item_memory(codes),
    )


@njit(cache=True, nogil=True)
def fill_cells(
    batch: Batch,
    columns: Columns,
    items: ItemHistory,
    class_of_key: NDArray[np.int32],
    cells: CellPlan,
    scratch: CellScratch,
    place: NDArray[np.float64],
) -> None:
    """Fill the cells of each row of `place` (rows, size) with every window's total, bin by bin.

    One long function on purpose: a call inside the loops would hand over, and count references to, dozens of arrays.
    """
    time, known, key, values, codes = columns.time, columns.known, columns.key, columns.values, columns.codes
    value_row, code_row = columns.value_row, columns.code_row
    feed, edges, tells_items = cells.feed, cells.edges_us, cells.tells_items
    plain_start, plain_slot, plain_oldest = feed.plain.start, feed.plain.slot, feed.plain.oldest
    weighted_start, weighted_slot, weighted_column = feed.weighted.start, feed.weighted.slot, feed.weighted.how
    unique_start, unique_slot, unique_key = feed.unique.start, feed.unique.slot, feed.unique.how
    weighted_oldest, unique_oldest = feed.weighted.oldest, feed.unique.oldest
    followed_start, followed_slot, followed_by = cells.followed.start, cells.followed.slot, cells.followed.how
    follower_start, follower_slot = cells.followers.start, cells.followers.slot
    counts_known, seen_row, block_us, within_us = feed.counts_known, feed.seen_row, cells.block_us, cells.within_us
    oldest, oldest_of_all, slots, edge_count = cells.oldest, cells.oldest_of_all, feed.slots, len(edges)
    met, last_block, next_at, beyond = scratch.met, scratch.last_block, scratch.next_at, scratch.beyond
    told, item_row, price_row = scratch.items.told, code_row[_ITEM], value_row[_PRICE]
    begins, ends, moments, delays = batch.begin, batch.end, batch.as_of, batch.delayed
    walk = scratch.walks[0]
    for i in range(len(begins)):
        walk += 1
        out, as_of, delayed = place[i], moments[i], delays[i]
        out[: slots * (edge_count + 1)] = 0.0
        last_block[:] = NEVER
        next_at[:] = NEVER
        beyond[:] = NEVER
        bin_ = 0
        for e in range(ends[i] - 1, begins[i] - 1, -1):
            t = time[e]
            age = as_of - t
            while bin_ < edge_count and age >= edges[bin_]:
                bin_ += 1
            if bin_ > oldest_of_all:
                break
            c = class_of_key[key[e]]
            if bin_ > oldest[c] or (delayed and known[e] > as_of):
                continue
            base = bin_ * slots
            if bin_ <= plain_oldest[c]:
                for p in range(plain_start[c], plain_start[c + 1]):
                    out[base + plain_slot[p]] += 1.0

            if bin_ <= weighted_oldest[c]:
                if tells_items[c]:
                    item = codes[item_row, e] if item_row >= 0 else -1
                    price = values[price_row, e] if price_row >= 0 else np.nan
                    look_up(e, item, price, as_of, walk, items, scratch.items)
                for p in range(weighted_start[c], weighted_start[c + 1]):
                    slot, column = weighted_slot[p], weighted_column[p]
                    value = np.nan
                    if column >= len(value_row):
                        value = told[column - len(value_row)]
                    elif value_row[column] >= 0:
                        value = values[value_row[column], e]
                    if not np.isnan(value):
                        out[base + slot] += 1.0 if counts_known[slot] else value

            if bin_ <= unique_oldest[c]:
                for p in range(unique_start[c], unique_start[c + 1]):
                    slot, unique = unique_slot[p], unique_key[p]
                    if unique < 0:
                        block = t // DAY_US if unique == UNIQUE_DAY else age // block_us[slot]
                        if last_block[slot] != block:
                            last_block[slot] = block
                            out[base + slot] += 1.0
                        continue
                    code = code_of(codes, code_row, unique, e, t)
                    if code >= 0 and met[seen_row[slot], code] != walk:
                        met[seen_row[slot], code] = walk
                        out[base + slot] += 1.0

            for p in range(followed_start[c], followed_start[c + 1]):
                slot, by = followed_slot[p], followed_by[p]
                after = next_at[by] if next_at[by] > t else beyond[by]
                if after != NEVER and after - t <= within_us[slot]:
                    out[base + slot] += 1.0
            for p in range(follower_start[c], follower_start[c + 1]):
                by = follower_slot[p]
                if t < next_at[by]:
                    beyond[by] = next_at[by]
                    next_at[by] = t
        for b in range(slots, slots * (edge_count + 1)):
            out[b] += out[b - slots]
    scratch.walks[0] = walk
