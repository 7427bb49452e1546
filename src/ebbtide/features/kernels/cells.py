"""Cells and tallies: one pass over a user's known events, newest first, for each moment.

Each event's age falls into one bin of the sorted window edges, `edges[b-1] <= age < edges[b]`, so that the sum of bins
0..b is the half-open window `(as_of - edges[b], as_of]`. A distinct value counts where it is met first, which is its
latest occurrence; a cell that keeps the first moves its count on to the earliest.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.core.windows import DAY_US
from ebbtide.features.columns import Batch, Columns, ItemHistory
from ebbtide.features.kernels.derived import Memory, derive, make_memory
from ebbtide.features.plan import BIN_BITS, UNIQUE_DAY, Plan
from ebbtide.features.primitives import COLUMNS, KEYS

NEVER = np.iinfo(np.int64).max
_MASK = (1 << BIN_BITS) - 1
_COLUMNS = len(COLUMNS)
_ITEM, _WEEKDAY, _HOUR = KEYS.index("item_id"), KEYS.index("weekday"), KEYS.index("hour")
_PRICE = COLUMNS.index("unit_price")
_HOUR_US = DAY_US // 24


class CellScratch(NamedTuple):
    """walks (1,) so far; met (seen rows, codes) the walk and the bin where a value was met; last_block (slots,) the
    latest day or block; next_at, beyond (followers,) the earliest follower met so far and the earliest one later than
    that; tally (tallies, codes) counts; touched (tallies, codes) the codes that have one, touched_count (tallies,)."""

    walks: NDArray[np.int64]
    met: NDArray[np.int64]
    last_block: NDArray[np.int64]
    next_at: NDArray[np.int64]
    beyond: NDArray[np.int64]
    tally: NDArray[np.int32]
    touched: NDArray[np.int32]
    touched_count: NDArray[np.int64]
    memory: Memory


@njit(cache=True, nogil=True)
def make_cell_scratch(plan: Plan, columns: Columns) -> CellScratch:
    """Scratch for one thread."""
    cells, tallies = plan.cells, len(plan.tallies.last_bin)
    return CellScratch(
        np.zeros(1, np.int64),
        np.full((cells.seen_rows, columns.code_count), -1, np.int64),
        np.empty(cells.slots, np.int64),
        np.empty(cells.follower_count, np.int64),
        np.empty(cells.follower_count, np.int64),
        np.zeros((tallies, columns.code_count), np.int32),
        np.empty((tallies, columns.code_count), np.int32),
        np.zeros(tallies, np.int64),
        make_memory(columns),
    )


@njit(cache=True, nogil=True)
def fill_cells(
    batch: Batch, columns: Columns, items: ItemHistory, plan: Plan, scratch: CellScratch, place: NDArray[np.float64]
) -> None:
    """Fill the cells and tallies of each row of `place` (rows, size): every window's total, the last bin with that of
    all history.

    One long function on purpose: a call inside the loops would hand over, and count references to, dozens of arrays.
    """
    time, known, key, values, codes = columns.time, columns.known, columns.key, columns.values, columns.codes
    value_row, code_row, class_of_key = columns.value_row, columns.code_row, plan.class_of_key
    cells, edges, derives = plan.cells, plan.cells.edges_us, plan.cells.derives
    plain_start, plain_slot = cells.plain.start, cells.plain.slot
    weighted_start, weighted_slot, weighted_column = cells.weighted.start, cells.weighted.slot, cells.weighted.how
    unique_start, unique_slot, unique_key = cells.unique.start, cells.unique.slot, cells.unique.how
    followed_start, followed_slot, followed_by = cells.followed.start, cells.followed.slot, cells.followed.how
    follower_start, follower_slot = cells.followers.start, cells.followers.slot
    tally_start, tally_slot, tally_key = plan.tallies.lists.start, plan.tallies.lists.slot, plan.tallies.lists.how
    counts_known, keeps_first, seen_row = cells.counts_known, cells.keeps_first, cells.seen_row
    block_us, within_us, tally_bin = cells.block_us, cells.within_us, plan.tallies.last_bin
    met, last_block, next_at, beyond = scratch.met, scratch.last_block, scratch.next_at, scratch.beyond
    tally, touched, touched_count = scratch.tally, scratch.touched, scratch.touched_count
    memory, derived, derived_bin = scratch.memory, scratch.memory.value, scratch.memory.bin_of
    begins, ends, moments, delays = batch.begin, batch.end, batch.as_of, batch.delayed
    item_row, price_row = code_row[_ITEM], value_row[_PRICE]
    edge_count, bins, tally_at = len(edges), len(edges) + 1, plan.places.tallies
    stamp = scratch.walks[0]
    for i in range(len(begins)):
        stamp += 1
        out, as_of, delayed = place[i], moments[i], delays[i]
        out[: cells.slots * bins] = 0.0
        last_block[:] = NEVER
        next_at[:] = NEVER
        beyond[:] = NEVER
        bin_ = 0
        for e in range(ends[i] - 1, begins[i] - 1, -1):
            if delayed and known[e] > as_of:
                continue
            t = time[e]
            age = as_of - t
            while bin_ < edge_count and age >= edges[bin_]:
                bin_ += 1
            c = class_of_key[key[e]]
            for p in range(plain_start[c], plain_start[c + 1]):
                out[plain_slot[p] * bins + bin_] += 1.0

            if derives[c] and item_row >= 0 and codes[item_row, e] >= 0:
                price = values[price_row, e] if price_row >= 0 else np.nan
                derive(e, codes[item_row, e], price, key[e], as_of, bin_, stamp, items, memory)
            elif derives[c]:
                derived[:] = np.nan
            for p in range(weighted_start[c], weighted_start[c + 1]):
                slot, column, bin_of = weighted_slot[p], weighted_column[p], bin_
                if column >= _COLUMNS:
                    value, bin_of = derived[column - _COLUMNS], derived_bin[column - _COLUMNS]
                else:
                    row = value_row[column]
                    value = values[row, e] if row >= 0 else np.nan
                if not np.isnan(value):
                    out[slot * bins + bin_of] += 1.0 if counts_known[slot] else value

            for p in range(unique_start[c], unique_start[c + 1]):
                slot, unique = unique_slot[p], unique_key[p]
                if unique < 0:
                    block = t // DAY_US if unique == UNIQUE_DAY else age // block_us[slot]
                    if last_block[slot] != block:
                        last_block[slot] = block
                        out[slot * bins + bin_] += 1.0
                    continue
                code = _code(codes, code_row, unique, e, t)
                if code < 0:
                    continue
                row = seen_row[slot]
                before = met[row, code]
                if before >> BIN_BITS == stamp:
                    if not keeps_first[slot]:
                        continue
                    out[slot * bins + (before & _MASK)] -= 1.0
                met[row, code] = (stamp << BIN_BITS) | bin_
                out[slot * bins + bin_] += 1.0

            for p in range(followed_start[c], followed_start[c + 1]):
                slot, by = followed_slot[p], followed_by[p]
                after = next_at[by] if next_at[by] > t else beyond[by]
                if after != NEVER and after - t <= within_us[slot]:
                    out[slot * bins + bin_] += 1.0
            for p in range(follower_start[c], follower_start[c + 1]):
                by = follower_slot[p]
                if t < next_at[by]:
                    beyond[by] = next_at[by]
                    next_at[by] = t

            for p in range(tally_start[c], tally_start[c + 1]):
                slot = tally_slot[p]
                if bin_ > tally_bin[slot]:
                    continue
                code = _code(codes, code_row, tally_key[p], e, t)
                if code >= 0:
                    if tally[slot, code] == 0:
                        touched[slot, touched_count[slot]] = code
                        touched_count[slot] += 1
                    tally[slot, code] += 1
        for slot in range(cells.slots):
            for b in range(slot * bins + 1, (slot + 1) * bins):
                out[b] += out[b - 1]
        _read_tallies(tally, touched, touched_count, out[tally_at:])
    scratch.walks[0] = stamp


@njit(cache=True, nogil=True)
def _code(codes: NDArray[np.int32], code_row: NDArray[np.int32], key: int, e: int, t: int) -> int:
    """The code of an event's key, -1 for null; weekdays from Monday 0."""
    if key == _WEEKDAY:
        return (t // DAY_US + 3) % 7
    if key == _HOUR:
        return t // _HOUR_US % 24
    row = code_row[key]
    return codes[row, e] if row >= 0 else -1


@njit(cache=True, nogil=True)
def _read_tallies(
    tally: NDArray[np.int32],
    touched: NDArray[np.int32],
    touched_count: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Fill `out` (tallies x TALLY_STATS) and empty the tallies. Entropy in nats; NaN of nothing."""
    for slot in range(len(touched_count)):
        total, most, weighted = 0, 0, 0.0
        count, counts = touched_count[slot], touched[slot]
        for i in range(count):
            code = counts[i]
            counts[i] = tally[slot, code]
            tally[slot, code] = 0
            total += counts[i]
            most = max(most, counts[i])
        # codes are met in an order that ties in time may change: sums of sorted counts do not depend on it
        counts[:count].sort()
        for i in range(count):
            weighted += counts[i] * np.log(np.float64(counts[i]))
        touched_count[slot] = 0
        out[2 * slot] = max(np.log(np.float64(total)) - weighted / total, 0.0) if total > 0 else np.nan
        out[2 * slot + 1] = most / total if total > 0 else np.nan
