"""What happened in the outcome windows of training rows: the targets of the event model's heads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.events.schema import EVENT_TYPES
from ebbtide.models.base import Rows, Vector
from ebbtide.sequences.event_log import EventLog

_DAY_US = 86_400_000_000
_ORDER = EVENT_TYPES.index("order")
SHARES = (0.25, 0.5)
"""Shares of the outcome window after which silence is asked about too."""


@dataclass(frozen=True)
class Targets:
    """Of N rows: churned (N,) 0 or 1; silent (N, len(SHARES)): no order yet by that share of the window; orders (N,)
    order days in the window; value (N,) their money; wait (N,): days to the first order, NaN without one;
    `horizon_days`: length of the window."""

    churned: NDArray[np.float32]
    silent: NDArray[np.float32]
    orders: NDArray[np.float32]
    value: NDArray[np.float32]
    wait: NDArray[np.float32]
    horizon_days: float

    @classmethod
    def of(cls, rows: Rows) -> Targets:
        """The targets of rows with events; orders that arrived after the newest row's window are not counted."""
        if rows.sequences is None:
            raise ValueError("targets need event sequences")
        log, limit = rows.sequences.log, int(rows.as_of_us.max()) + rows.embargo_us
        orders, value, wait = _look_ahead(
            *_order_columns(log), rows.sequences.user, rows.as_of_us, rows.embargo_us, limit
        )
        horizon = rows.embargo_us / _DAY_US
        silent = np.stack([~(wait <= share * horizon) for share in SHARES], axis=1)
        return cls(
            rows.y.astype(np.float32), silent.astype(np.float32), orders, value, wait, horizon
        )  # fmt: skip

    def take(self, index: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        """The columns of some rows, by name."""
        names = ("churned", "silent", "orders", "value", "wait")
        return {name: getattr(self, name)[index] for name in names}


def _order_columns(log: EventLog) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], Vector]:
    """Only the orders of a log: start (U + 1,), time, known, value."""
    is_order = log.type == _ORDER
    start = np.concatenate([[0], np.cumsum(is_order)])[log.start]
    quantity = np.where(np.isnan(log.quantity), 1.0, log.quantity)
    value = np.nan_to_num(log.price * quantity).astype(np.float64)
    return start, log.time[is_order], log.known[is_order], value[is_order]


@njit(cache=True, nogil=True)
def _look_ahead(
    start: NDArray[np.int64],
    time: NDArray[np.int64],
    known: NDArray[np.int64],
    value: NDArray[np.float64],
    user: NDArray[np.int64],
    at: NDArray[np.int64],
    window: int,
    limit: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    n = len(user)
    orders, money = np.zeros(n, np.float32), np.zeros(n, np.float32)
    wait = np.full(n, np.nan, np.float32)
    for r in range(n):
        day = -1
        for e in range(start[user[r]], start[user[r] + 1]):
            if time[e] <= at[r] or known[e] > limit:
                continue
            if time[e] > at[r] + window:
                break
            money[r] += value[e]
            if np.isnan(wait[r]):
                wait[r] = (time[e] - at[r]) / _DAY_US
            if time[e] // _DAY_US != day:
                orders[r] += 1
                day = time[e] // _DAY_US
    return orders, money, wait
