"""Facts of as_of itself."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.core.windows import DAY_US


@njit(cache=True, nogil=True)
def read_clock(as_of: int, out: NDArray[np.float64]) -> None:
    """Fill `out` in the order of CLOCK_STATS. The civil calendar after Hinnant (2013), days_from_civil."""
    day = as_of // DAY_US
    year = _year(day)
    start, following = _first_of_january(year), _first_of_january(year + 1)
    angle = 2.0 * np.pi * (day - start) / (following - start)
    out[0] = np.sin(angle)
    out[1] = np.cos(angle)
    out[2] = (day + 3) % 7
    out[3] = following - day


@njit(cache=True, nogil=True)
def _year(day: int) -> int:
    z = day + 719468
    era = z // 146097
    doe = z - era * 146097
    yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    return yoe + era * 400 + (1 if doy >= 306 else 0)  # years begin in March there


@njit(cache=True, nogil=True)
def _first_of_january(year: int) -> int:
    y = year - 1
    era = y // 400
    yoe = y - era * 400
    return era * 146097 + yoe * 365 + yoe // 4 - yoe // 100 + 306 - 719468
