"""Decayed sums: 2^(-age / half life) over known events, carried forward from event to event and moment to moment."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.features.encode import Columns
from ebbtide.features.plan import NO_WEIGHT, Plan

_NOTHING = 1e-100  # states below this are zero: denormal numbers would slow the walk down


@njit(cache=True, nogil=True)
def advance(
    begin: int,
    end: int,
    as_of: int,
    delayed: bool,
    clock: int,
    columns: Columns,
    plan: Plan,
    state: NDArray[np.float64],
    factor: NDArray[np.float64],
    seen: NDArray[np.int64],
    stamp: int,
    order_row: int,
) -> int:
    """Carry `state` (decays,), which stands at time `clock`, over the events begin..end; returns the new clock.

    The same events in the same order always give the same bits, whether they are walked at once or in steps.
    `seen` (codes,) holds the stamp of the walk in which an order was met first.
    """
    for e in range(begin, end):
        if delayed and columns.known[e] > as_of:
            continue
        c = plan.class_of_key[columns.key[e]]
        low, high = plan.decay_start[c], plan.decay_start[c + 1]
        if low == high:
            continue
        t = columns.time[e]
        if t > clock:
            fade(t - clock, plan, state, factor)
        clock = t
        code = columns.codes[order_row, e]
        repeated = code >= 0 and seen[code] == stamp
        if code >= 0:
            seen[code] = stamp
        for p in range(low, high):
            d = plan.decay_slot[p]
            column = plan.decay_column[d]
            if column == NO_WEIGHT:
                if not (repeated and plan.decay_order[d]):
                    state[d] += 1.0
            else:
                row = columns.value_row[column]
                if row >= 0 and not np.isnan(columns.values[row, e]):
                    state[d] += columns.values[row, e]
    return clock


@njit(cache=True, nogil=True)
def fade(elapsed: int, plan: Plan, state: NDArray[np.float64], factor: NDArray[np.float64]) -> None:
    """Let `elapsed` microseconds pass."""
    for h in range(len(factor)):
        factor[h] = np.exp2(-elapsed / plan.half_life_us[h])
    for d in range(len(state)):
        value = state[d] * factor[plan.decay_life[d]]
        state[d] = value if abs(value) > _NOTHING else 0.0
