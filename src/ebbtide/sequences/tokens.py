"""Events as small whole numbers: what a batch is cut from. Needs nothing but NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TOKENS = ("type", "item", "category", "channel", "price", "quantity", "rating", "hour", "weekday", "repeat")
"""The tokens of an event in their order; the last three are worked out when a batch is made."""
FITTED = 7
NUMBERS = ("gap_seconds", "age_hours")
"""Per event: log(1 + seconds) since the event before it, so that pauses within a visit are told apart too, and log(1 +
hours) until the moment asked about; both divided by 8."""


@dataclass(frozen=True)
class TokenLog:
    """An `EventLog` in tokens: codes (E, FITTED) uint16, the columns of `TOKENS`; start, time, known as in the log.

    `item` (E,): the items' stable hashes, for vectors.
    """

    start: NDArray[np.int64]
    time: NDArray[np.int64]
    known: NDArray[np.int64]
    codes: NDArray[np.uint16]
    item: NDArray[np.uint64]
