"""The identity of an event under a key."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.core.windows import DAY_US
from ebbtide.features.primitives import KEYS

_WEEKDAY, _HOUR = KEYS.index("weekday"), KEYS.index("hour")
_HOUR_US = DAY_US // 24


@njit(cache=True, nogil=True)
def code_of(codes: NDArray[np.int32], code_row: NDArray[np.int32], key: int, e: int, t: int) -> int:
    """The code of event e, which occurred at t; -1 for null. Weekdays count from Monday 0."""
    if key == _WEEKDAY:
        return (t // DAY_US + 3) % 7
    if key == _HOUR:
        return t // _HOUR_US % 24
    row = code_row[key]
    return codes[row, e] if row >= 0 else -1
