"""Statistics of the gaps between a user's active days, and of the present silence against them."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.core.windows import DAY_US


@njit(cache=True, nogil=True)
def rhythm(
    gaps: NDArray[np.int32], days: int, first_day: int, last_time: int, as_of: int, out: NDArray[np.float64]
) -> None:
    """Fill `out` in the order of `plan.RHYTHM_STATS`. `gaps` (days - 1,) latest first; NaN where undefined."""
    out[:] = np.nan
    if days == 0:
        return
    n = days - 1
    silence = (as_of - last_time) / DAY_US
    total, longest = 0.0, 0.0
    for i in range(n):
        total += gaps[i]
        longest = max(longest, np.float64(gaps[i]))
    out[0] = n
    out[1] = total
    out[2] = as_of / DAY_US - first_day
    if n == 0:
        return
    mean = total / n
    squares, at_least, recent = 0.0, 0, 0.0
    for i in range(n):
        squares += (gaps[i] - mean) ** 2
        at_least += gaps[i] >= silence
        if i < 3:
            recent += gaps[i]
    out[3] = mean
    out[6] = gaps[0]
    out[7] = longest
    out[8] = gaps[0] / mean
    out[9] = recent / min(n, 3) / mean
    out[11] = silence / longest
    out[13] = at_least / n
    if n >= 2:
        spread = np.sqrt(squares / n)
        out[4] = spread
        out[5] = spread / mean
        out[12] = (silence - mean) / max(spread, 1.0)
        out[14] = _regularity(gaps, n)


@njit(cache=True, nogil=True)
def _regularity(gaps: NDArray[np.int32], n: int) -> float:
    """1 - 12 V, V the mean of (g1 / (g1 + g2) - 1/2)^2 over successive gaps: V is 0 for a clock and 1/12 for chance.

    After Wheat and Morrison (1990), Estimating purchase regularity with two interpurchase times.
    """
    total: float = 0.0
    for i in range(n - 1):
        share = gaps[i] / (gaps[i] + gaps[i + 1]) - 0.5
        total += share * share
    return 1.0 - 12.0 * total / (n - 1)


@njit(cache=True, nogil=True)
def quantile_of_sorted(ordered: NDArray[np.int32], n: int, q: float) -> float:
    """Linear interpolation between the neighbours, as NumPy's default; NaN for n = 0."""
    if n == 0:
        return np.nan
    place = q * (n - 1)
    low = int(place)
    high = min(low + 1, n - 1)
    lower, upper = float(ordered[low]), float(ordered[high])
    return lower + (place - low) * (upper - lower)
