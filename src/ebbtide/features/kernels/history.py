"""What is carried forward through a user's events: first and last times, active days and their gaps, decayed sums,
latest values. The same known events in the same order give the same bits, whether walked at once or in steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.core.windows import DAY_US
from ebbtide.features.columns import Batch, Columns
from ebbtide.features.kernels.rhythm import Rhythms, begin_day, make_rhythms, quantile, read_rhythm
from ebbtide.features.plan import NO_WEIGHT, Plan
from ebbtide.features.primitives import KEYS, RHYTHM_STATS

NEVER = np.iinfo(np.int64).min
_ORDER_KEY = KEYS.index("order_id")
_RHYTHM_STATS = len(RHYTHM_STATS)
_NOTHING = 1e-100  # states below this are zero: denormal numbers would slow the walk down


class History(NamedTuple):
    """clock (1,) the time at which `decayed` stands, or NEVER; first_at, last_at (spans,) times or NEVER; decayed
    (decays,); factor (half-lives,) scratch; met (codes,) the user's walk in which an order was met; latest (latest,)."""

    clock: NDArray[np.int64]
    first_at: NDArray[np.int64]
    last_at: NDArray[np.int64]
    decayed: NDArray[np.float64]
    factor: NDArray[np.float64]
    met: NDArray[np.int64]
    latest: NDArray[np.float64]
    rhythms: Rhythms


@njit(cache=True, nogil=True)
def make_history(plan: Plan, columns: Columns) -> History:
    """Scratch for one thread."""
    past = plan.history
    return History(
        np.empty(1, np.int64),
        np.empty(past.span_count, np.int64),
        np.empty(past.span_count, np.int64),
        np.empty(len(past.decay_life), np.float64),
        np.empty(len(past.half_life_us), np.float64),
        np.full(columns.code_count, -1, np.int64),
        np.empty(past.latest_count, np.float64),
        make_rhythms(past.rhythm_count, columns),
    )


@njit(cache=True, nogil=True)
def fill_history(batch: Batch, columns: Columns, plan: Plan, history: History, place: NDArray[np.float64]) -> None:
    """Fill spans, rhythms, quantiles, decays and latest values of each row of `place` (rows, size).

    One long function on purpose, see `cells.fill_cells`.
    """
    past, places, rhythms = plan.history, plan.places, history.rhythms
    time, known, key, class_of_key = columns.time, columns.known, columns.key, plan.class_of_key
    values, value_row, orders = columns.values, columns.value_row, columns.codes[columns.code_row[_ORDER_KEY]]
    span_start, span_slot = past.spans.start, past.spans.slot
    rhythm_start, rhythm_slot = past.rhythms.start, past.rhythms.slot
    latest_start, latest_slot, latest_column = past.latest.start, past.latest.slot, past.latest.how
    decay_start, decay_slot, decay_column = past.decays.start, past.decays.slot, past.decays.how
    decay_orders, decay_life, half_life_us = past.decay_orders, past.decay_life, past.half_life_us
    quantile_slot, quantiles = past.quantile_slot, past.quantile
    first_at, last_at, days, last_day, seen_at = (
        history.first_at, history.last_at, rhythms.days, rhythms.last_day, rhythms.seen_at,
    )  # fmt: skip
    ordered, decayed, met, latest, factor = (
        rhythms.ordered, history.decayed, history.met, history.latest, history.factor,
    )  # fmt: skip
    resumes, ends, moments, delays = batch.resume, batch.end, batch.as_of, batch.delayed
    span_count, rhythm_count, latest_count = len(first_at), len(days), len(latest)
    clock = history.clock[0]
    for i in range(len(ends)):
        as_of, delayed, out = moments[i], delays[i], place[i]
        if batch.fresh[i]:
            first_at[:] = NEVER
            last_at[:] = NEVER
            days[:] = 0
            decayed[:] = 0.0
            latest[:] = np.nan
            clock = NEVER
        walk = batch.walk[i]
        for e in range(resumes[i], ends[i]):
            if delayed and known[e] > as_of:
                continue
            c, t = class_of_key[key[e]], time[e]
            for p in range(span_start[c], span_start[c + 1]):
                slot = span_slot[p]
                if first_at[slot] == NEVER:
                    first_at[slot] = t
                last_at[slot] = t
            for p in range(rhythm_start[c], rhythm_start[c + 1]):
                slot, day = rhythm_slot[p], t // DAY_US
                seen_at[slot] = t
                if days[slot] == 0 or day != last_day[slot]:
                    begin_day(slot, day, rhythms)
            for p in range(latest_start[c], latest_start[c + 1]):
                row = value_row[latest_column[p]]
                if row >= 0 and not np.isnan(values[row, e]):
                    latest[latest_slot[p]] = values[row, e]
            if decay_start[c] == decay_start[c + 1]:
                continue
            if clock != NEVER and t > clock:
                _fade(t - clock, half_life_us, decay_life, decayed, factor)
            clock = t
            order = orders[e]
            repeated = order >= 0 and met[order] == walk
            if order >= 0:
                met[order] = walk
            for p in range(decay_start[c], decay_start[c + 1]):
                slot, column = decay_slot[p], decay_column[p]
                if column == NO_WEIGHT:
                    if not (repeated and decay_orders[slot]):
                        decayed[slot] += 1.0
                    continue
                row = value_row[column]
                if row >= 0 and not np.isnan(values[row, e]):
                    decayed[slot] += values[row, e]

        for s in range(span_count):
            never = last_at[s] == NEVER
            out[places.spans + 2 * s] = np.nan if never else (as_of - last_at[s]) / DAY_US
            out[places.spans + 2 * s + 1] = np.nan if never else (as_of - first_at[s]) / DAY_US
        for s in range(rhythm_count):
            at = places.rhythms + s * _RHYTHM_STATS
            read_rhythm(s, as_of, rhythms, out[at : at + _RHYTHM_STATS])
        for q in range(len(quantiles)):
            s = quantile_slot[q]
            out[places.quantiles + q] = quantile(ordered[s], days[s] - 1, quantiles[q])
        faded = out[places.decays : places.tallies]
        faded[:] = decayed
        if clock != NEVER and as_of > clock:
            _fade(as_of - clock, half_life_us, decay_life, faded, factor)
        for s in range(latest_count):
            out[places.latest + s] = latest[s]
    history.clock[0] = clock


@njit(cache=True, nogil=True)
def _fade(
    elapsed: int,
    half_life_us: NDArray[np.float64],
    decay_life: NDArray[np.int32],
    decayed: NDArray[np.float64],
    factor: NDArray[np.float64],
) -> None:
    """Let `elapsed` microseconds pass."""
    for h in range(len(factor)):
        factor[h] = np.exp2(-elapsed / half_life_us[h])
    for d in range(len(decayed)):
        value = decayed[d] * factor[decay_life[d]]
        decayed[d] = value if abs(value) > _NOTHING else 0.0
