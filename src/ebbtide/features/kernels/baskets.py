"""A user's orders one by one: what the first was like, the last, the largest, how they vary.

An order is the lines that share an order code; it stands where its first known line stands. Its value is the sum of
its known line values, NaN if none is known; such an order counts in nothing that speaks of value.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.core.windows import DAY_US
from ebbtide.features.columns import Batch, Columns
from ebbtide.features.plan import ORDER
from ebbtide.features.primitives import COLUMNS, KEYS
from ebbtide.features.selectors import TYPE_BITS

_ORDER_KEY = KEYS.index("order_id")
_VALUE, _DISCOUNT = COLUMNS.index("value"), COLUMNS.index("discount")
_COUPON_BIT = 1 << 11


class Baskets(NamedTuple):
    """number (1,) orders so far; walk, place (codes,) each order's number in the walk that met it;
    at, value, known, lines,
    discount, coupon (codes,) by order number: first time, sum of values, lines with a value, lines, discounts, whether
    a coupon was used."""

    number: NDArray[np.int64]
    walk: NDArray[np.int64]
    place: NDArray[np.int64]
    at: NDArray[np.int64]
    value: NDArray[np.float64]
    known: NDArray[np.int64]
    lines: NDArray[np.int64]
    discount: NDArray[np.float64]
    coupon: NDArray[np.bool_]


@njit(cache=True, nogil=True)
def make_baskets(n: int) -> Baskets:
    """Scratch for one thread, for users of at most n codes."""
    return Baskets(
        np.zeros(1, np.int64),
        np.full(n, -1, np.int64),
        np.empty(n, np.int64),
        np.empty(n, np.int64),
        np.empty(n, np.float64),
        np.empty(n, np.int64),
        np.empty(n, np.int64),
        np.empty(n, np.float64),
        np.empty(n, np.bool_),
    )


@njit(cache=True, nogil=True)
def fill_baskets(batch: Batch, columns: Columns, baskets: Baskets, place: NDArray[np.float64]) -> None:
    """Fill each row of `place` (rows, statistics)."""
    time, known, key, values = columns.time, columns.known, columns.key, columns.values
    codes = columns.codes[columns.code_row[_ORDER_KEY]]
    value_row, discount_row = columns.value_row[_VALUE], columns.value_row[_DISCOUNT]
    number, walks, numbers, began = baskets.number, baskets.walk, baskets.place, baskets.at
    value, valued, lines, discount, coupon = (
        baskets.value, baskets.known, baskets.lines, baskets.discount, baskets.coupon,
    )  # fmt: skip
    for i in range(len(batch.end)):
        as_of, delayed, walk = batch.as_of[i], batch.delayed[i], batch.walk[i]
        if batch.fresh[i]:
            number[0] = 0
        for e in range(batch.resume[i], batch.end[i]):
            if key[e] & TYPE_BITS != ORDER or (delayed and known[e] > as_of):
                continue
            code = codes[e]
            if walks[code] != walk:
                n = number[0]
                number[0] += 1
                walks[code], numbers[code], began[n] = walk, n, time[e]
                value[n], valued[n], lines[n], discount[n], coupon[n] = 0.0, 0, 0, 0.0, False
            n = numbers[code]
            lines[n] += 1
            coupon[n] |= key[e] & _COUPON_BIT > 0
            if value_row >= 0 and not np.isnan(values[value_row, e]):
                value[n] += values[value_row, e]
                valued[n] += 1
            if discount_row >= 0 and not np.isnan(values[discount_row, e]):
                discount[n] += values[discount_row, e]
        _read(baskets, place[i])


@njit(cache=True, nogil=True)
def _read(baskets: Baskets, out: NDArray[np.float64]) -> None:
    """Fill `out` in the order of BASKET_STATS; NaN where undefined."""
    out[:] = np.nan
    count = baskets.number[0]
    if count == 0:
        return
    out[1] = baskets.lines[0]
    out[3] = baskets.coupon[0]
    if baskets.known[0] > 0:
        out[0] = baskets.value[0]
        gross = baskets.value[0] + baskets.discount[0]
        out[2] = baskets.discount[0] / gross if gross > 0 else np.nan
    if count > 1:
        out[4] = (baskets.at[1] - baskets.at[0]) / DAY_US
    n, total, squares, recent, recent_count = 0, 0.0, 0.0, 0.0, 0
    for i in range(count - 1, -1, -1):
        if baskets.known[i] == 0:
            continue
        value = baskets.value[i]
        if n == 0:
            out[5] = value
            out[6] = value
        if n < 3:
            recent += value
            recent_count += 1
        out[6] = max(out[6], value)
        total += value
        n += 1
    if n == 0 or total <= 0:
        return
    mean = total / n
    for i in range(count):
        if baskets.known[i] > 0:
            squares += (baskets.value[i] - mean) ** 2
    out[8] = out[5] / mean
    out[9] = recent / recent_count / mean
    if n > 1:
        out[7] = np.sqrt(squares / n) / mean
