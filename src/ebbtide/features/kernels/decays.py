"""Decayed sums: 2^(-age / half life) over known events, carried forward from moment to moment.

Instead of fading every sum at every event, an event adds its value times 2^(time / half life), which one multiplication
fades at the moment of reading. Times count from the user's first event, in half-lives, less a whole number (`offset`)
that keeps the power small: it is raised now and then, with the sums of that half-life halved as often, which is exact.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.features.columns import Batch, Columns
from ebbtide.features.plan import NO_WEIGHT, DecayPlan
from ebbtide.features.primitives import KEYS

NEVER = np.iinfo(np.int64).min
_ORDER_KEY = KEYS.index("order_id")
_LARGEST_POWER = 512.0


class Decays(NamedTuple):
    """first_at (1,) the user's first event or NEVER; grown (decays,) sums; offset (half-lives,); met (codes,) the walk
    in which an order was met."""

    first_at: NDArray[np.int64]
    grown: NDArray[np.float64]
    offset: NDArray[np.float64]
    met: NDArray[np.int64]


@njit(cache=True, nogil=True)
def make_decays(count: int, lives: int, codes: int) -> Decays:
    """Scratch for one thread."""
    return Decays(
        np.full(1, NEVER, np.int64),
        np.zeros(count, np.float64),
        np.zeros(lives, np.float64),
        np.full(codes, -1, np.int64),
    )


@njit(cache=True, nogil=True)
def fill_decays(
    batch: Batch,
    columns: Columns,
    class_of_key: NDArray[np.int32],
    plan: DecayPlan,
    decays: Decays,
    place: NDArray[np.float64],
) -> None:
    """Fill each row of `place` (rows, decays)."""
    time, known, key, values = columns.time, columns.known, columns.key, columns.values
    value_row, orders = columns.value_row, columns.codes[columns.code_row[_ORDER_KEY]]
    start, slots, weights = plan.lists.start, plan.lists.slot, plan.lists.how
    life, counts_orders, half_life_us = plan.life, plan.counts_orders, plan.half_life_us
    grown, offset, met = decays.grown, decays.offset, decays.met
    first_at = decays.first_at[0]
    for i in range(len(batch.end)):
        as_of, delayed, walk, out = batch.as_of[i], batch.delayed[i], batch.walk[i], place[i]
        if batch.fresh[i]:
            first_at = NEVER
            grown[:] = 0.0
            offset[:] = 0.0
        for e in range(batch.resume[i], batch.end[i]):
            c = class_of_key[key[e]]
            if start[c] == start[c + 1] or (delayed and known[e] > as_of):
                continue
            t, order = time[e], orders[e]
            if first_at == NEVER:
                first_at = t
            repeated = order >= 0 and met[order] == walk
            if order >= 0:
                met[order] = walk
            current, power = -1, 1.0
            for p in range(start[c], start[c + 1]):
                slot, column, value = slots[p], weights[p], 1.0
                if column == NO_WEIGHT:
                    if repeated and counts_orders[slot]:
                        continue
                else:
                    value = values[value_row[column], e] if value_row[column] >= 0 else np.nan
                    if np.isnan(value):
                        continue
                if life[slot] != current:
                    current = life[slot]
                    exponent = (t - first_at) / half_life_us[current] - offset[current]
                    if exponent > _LARGEST_POWER:
                        halvings = np.floor(exponent)
                        _halve(halvings, current, life, grown)
                        offset[current] += halvings
                        exponent -= halvings
                    power = np.exp2(exponent)
                grown[slot] += value * power
        current, power = -1, 1.0
        for s in range(len(grown)):
            if first_at == NEVER:
                out[s] = 0.0
                continue
            if life[s] != current:
                current = life[s]
                power = np.exp2(offset[current] - (as_of - first_at) / half_life_us[current])
            out[s] = grown[s] * power
    decays.first_at[0] = first_at


@njit(cache=True, nogil=True)
def _halve(halvings: float, which: int, life: NDArray[np.int32], grown: NDArray[np.float64]) -> None:
    for s in range(len(grown)):
        if life[s] == which:
            grown[s] *= np.exp2(-halvings)
