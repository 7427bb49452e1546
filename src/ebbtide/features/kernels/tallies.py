"""Tallies: how a user's events spread over the values of a key, over all history (carried forward) or a window."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.features.columns import Batch, Columns
from ebbtide.features.kernels.codes import code_of
from ebbtide.features.plan import TallyPlan
from ebbtide.features.slots import ALWAYS

_LOGS = 1024


class Tallies(NamedTuple):
    """tally (tallies, codes) events of each value; touched (tallies, codes) the values that have any, in order of
    appearance, touched_count (tallies,) how many; n_log_n (1024,) of small numbers."""

    tally: NDArray[np.int64]
    touched: NDArray[np.int32]
    touched_count: NDArray[np.int64]
    n_log_n: NDArray[np.float64]


@njit(cache=True, nogil=True)
def make_tallies(tallies: int, codes: int) -> Tallies:
    """Scratch for one thread."""
    n_log_n = np.zeros(_LOGS, np.float64)
    for n in range(1, _LOGS):
        n_log_n[n] = n * np.log(np.float64(n))
    return Tallies(
        np.zeros((tallies, codes), np.int64),
        np.empty((tallies, codes), np.int32),
        np.zeros(tallies, np.int64),
        n_log_n,
    )


@njit(cache=True, nogil=True)
def fill_tallies(
    batch: Batch,
    columns: Columns,
    class_of_key: NDArray[np.int32],
    plan: TallyPlan,
    tallies: Tallies,
    place: NDArray[np.float64],
) -> None:
    """Fill each row of `place` (rows, 2 x tallies): entropy in nats, share of the commonest; NaN of nothing."""
    time, known, key, codes = columns.time, columns.known, columns.key, columns.codes
    code_row, window_us = columns.code_row, plan.window_us
    start, slots, keys = plan.lists.start, plan.lists.slot, plan.lists.how
    count, touched, touched_count, n_log_n = (
        tallies.tally, tallies.touched, tallies.touched_count, tallies.n_log_n,
    )  # fmt: skip
    for i in range(len(batch.end)):
        as_of, delayed, out = batch.as_of[i], batch.delayed[i], place[i]
        if batch.fresh[i]:
            for slot in range(len(window_us)):
                _clear(count[slot], touched[slot], touched_count, slot)
        for e in range(batch.resume[i], batch.end[i]):
            c = class_of_key[key[e]]
            if start[c] == start[c + 1] or (delayed and known[e] > as_of):
                continue
            for p in range(start[c], start[c + 1]):
                slot = slots[p]
                if window_us[slot] == ALWAYS:
                    code = code_of(codes, code_row, keys[p], e, time[e])
                    _add(code, count[slot], touched[slot], touched_count, slot)
        for e in range(batch.end[i] - 1, batch.begin[i] - 1, -1):
            age = as_of - time[e]
            if age >= plan.longest_us:
                break
            c = class_of_key[key[e]]
            if start[c] == start[c + 1] or (delayed and known[e] > as_of):
                continue
            for p in range(start[c], start[c + 1]):
                slot = slots[p]
                if window_us[slot] != ALWAYS and age < window_us[slot]:
                    code = code_of(codes, code_row, keys[p], e, time[e])
                    _add(code, count[slot], touched[slot], touched_count, slot)
        for slot in range(len(window_us)):
            _read(count[slot], touched[slot, : touched_count[slot]], n_log_n, out[2 * slot : 2 * slot + 2])
            if window_us[slot] != ALWAYS:
                _clear(count[slot], touched[slot], touched_count, slot)


@njit(cache=True, nogil=True)
def _add(
    code: int, count: NDArray[np.int64], touched: NDArray[np.int32], touched_count: NDArray[np.int64], slot: int
) -> None:
    if code < 0:
        return
    if count[code] == 0:
        touched[touched_count[slot]] = code
        touched_count[slot] += 1
    count[code] += 1


@njit(cache=True, nogil=True)
def _clear(count: NDArray[np.int64], touched: NDArray[np.int32], touched_count: NDArray[np.int64], slot: int) -> None:
    for i in range(touched_count[slot]):
        count[touched[i]] = 0
    touched_count[slot] = 0


@njit(cache=True, nogil=True)
def _read(
    count: NDArray[np.int64], touched: NDArray[np.int32], n_log_n: NDArray[np.float64], out: NDArray[np.float64]
) -> None:
    total, most, weighted = 0, 0, 0.0
    for i in range(len(touched)):
        n = count[touched[i]]
        total += n
        most = max(most, n)
        weighted += n_log_n[n] if n < _LOGS else n * np.log(np.float64(n))
    out[0] = max(np.log(np.float64(total)) - weighted / total, 0.0) if total > 0 else np.nan
    out[1] = most / total if total > 0 else np.nan
