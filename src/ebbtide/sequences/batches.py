"""Ragged histories to padded batches: the newest `max_len` events of each row, rows of like length together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.sequences.tokens import FITTED, NUMBERS, TOKENS, TokenLog

if TYPE_CHECKING:
    from ebbtide.sequences.event_log import Sequences
    from ebbtide.sequences.vocabulary import Vocabulary

_SECOND_US = 1_000_000.0
_HOUR_US = 3_600_000_000.0
_DAY_US = 86_400_000_000
_LOOK_BACK = 16
_POOL = 32
_ALL_TIME = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Batch:
    """B rows of at most T events, oldest first, padded with zeros at the end.

    codes (B, T, len(TOKENS)) int64; numbers (B, T, len(NUMBERS)) float32; length (B,) int64, at least 1: a row
    without events is one event of zeros; item (B, T) uint64 hashes, 0 = none.
    """

    codes: NDArray[np.int64]
    numbers: NDArray[np.float32]
    length: NDArray[np.int64]
    item: NDArray[np.uint64]


@dataclass(frozen=True)
class TokenRows:
    """N rows over a `TokenLog`: user and at_us as in `Sequences`; an event before `since_us` (N,) is left out."""

    log: TokenLog
    user: NDArray[np.int64]
    at_us: NDArray[np.int64]
    since_us: NDArray[np.int64]
    max_len: int

    @classmethod
    def of(cls, sequences: Sequences, vocabulary: Vocabulary, max_len: int) -> TokenRows:
        """The rows of `sequences` in tokens, with all their history."""
        since = np.full(len(sequences), _ALL_TIME)
        return cls(vocabulary.encode(sequences.log), sequences.user, sequences.at_us, since, max_len)

    def __len__(self) -> int:
        return len(self.user)

    def lengths(self) -> NDArray[np.int64]:
        """How many events each row will have, (N,), at least 1; events that arrived late may make it fewer."""
        return np.asarray(_lengths(self.log.start, self.log.time, self.user, self.at_us, self.since_us, self.max_len))

    def batch(self, rows: NDArray[np.int64], *, multiple: int = 1) -> Batch:
        """These rows, padded to the longest of them, rounded up to a multiple (so that few shapes occur)."""
        own = self.user[rows], self.at_us[rows], self.since_us[rows]
        most = int(_lengths(self.log.start, self.log.time, *own, self.max_len).max(initial=1))
        most = -(-most // multiple) * multiple
        codes = np.zeros((len(rows), most, len(TOKENS)), np.int64)
        numbers = np.zeros((len(rows), most, len(NUMBERS)), np.float32)
        item, length = np.zeros((len(rows), most), np.uint64), np.zeros(len(rows), np.int64)
        log = self.log
        _fill(log.start, log.time, log.known, log.codes, log.item, *own, codes, numbers, item, length)
        length = np.maximum(length, 1)
        longest = -(-int(length.max(initial=1)) // multiple) * multiple
        codes, numbers = np.ascontiguousarray(codes[:, :longest]), np.ascontiguousarray(numbers[:, :longest])
        return Batch(codes, numbers, length, item[:, :longest])


def by_length(lengths: NDArray[np.int64], size: int, rng: np.random.Generator | None) -> Iterator[NDArray[np.int64]]:
    """Row numbers in batches of `size`, rows of like length together so that little is padded.

    With `rng`: every row once in a random order, sorted only within pools of 32 batches, the batches shuffled.
    Without: sorted by length throughout.
    """
    if rng is None:
        order = np.argsort(lengths, kind="stable")
        yield from (order[i : i + size] for i in range(0, len(order), size))
        return
    order = rng.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), size * _POOL):
        pool = order[start : start + size * _POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[i : i + size] for i in range(0, len(pool), size)]
    yield from (batches[i] for i in rng.permutation(len(batches)))


@njit(cache=True, nogil=True)
def _end(time: NDArray[np.int64], low: int, high: int, at: int) -> int:
    """The first place in `[low, high)` whose time is after `at`."""
    while low < high:
        middle = (low + high) // 2
        if time[middle] <= at:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def _lengths(
    start: NDArray[np.int64],
    time: NDArray[np.int64],
    user: NDArray[np.int64],
    at: NDArray[np.int64],
    since: NDArray[np.int64],
    max_len: int,
) -> NDArray[np.int64]:
    out = np.empty(len(user), np.int64)
    for r in range(len(user)):
        low, high = start[user[r]], start[user[r] + 1]
        first = low if since[r] == _ALL_TIME else _end(time, low, high, since[r] - 1)
        out[r] = max(1, min(max_len, _end(time, low, high, at[r]) - first))
    return out


@njit(cache=True, nogil=True)
def _fill(
    start: NDArray[np.int64],
    time: NDArray[np.int64],
    known: NDArray[np.int64],
    log_codes: NDArray[np.uint16],
    log_item: NDArray[np.uint64],
    user: NDArray[np.int64],
    at: NDArray[np.int64],
    since: NDArray[np.int64],
    codes: NDArray[np.int64],
    numbers: NDArray[np.float32],
    item: NDArray[np.uint64],
    length: NDArray[np.int64],
) -> None:
    """Fill zeroed codes (B, T, tokens), numbers (B, T, 2), item (B, T) and length (B,)."""
    width = codes.shape[1]
    picked = np.empty(width, np.int64)
    for r in range(len(user)):
        first = start[user[r]]
        event = _end(time, first, start[user[r] + 1], at[r]) - 1
        count = 0
        while event >= first and count < width and time[event] >= since[r]:
            if known[event] <= at[r]:
                picked[count] = event
                count += 1
            event -= 1
        length[r] = count
        before = -1
        for t in range(count):
            e = picked[count - 1 - t]
            for c in range(FITTED):
                codes[r, t, c] = log_codes[e, c]
            codes[r, t, FITTED] = 1 + (time[e] // 3_600_000_000) % 24
            codes[r, t, FITTED + 1] = 1 + (time[e] // _DAY_US + 3) % 7
            item[r, t] = log_item[e]
            codes[r, t, FITTED + 2] = _repeat(item, r, t)
            if before >= 0:
                numbers[r, t, 0] = np.log1p((time[e] - time[before]) / _SECOND_US) / 8
            numbers[r, t, 1] = np.log1p((at[r] - time[e]) / _HOUR_US) / 8
            before = e


@njit(cache=True, nogil=True)
def _repeat(item: NDArray[np.uint64], r: int, t: int) -> int:
    """0 no item, 1 new, 2 the item of the event before, 3 an item of the last 16 events."""
    if item[r, t] == 0:
        return 0
    for back in range(1, min(t, _LOOK_BACK) + 1):
        if item[r, t - back] == item[r, t]:
            return 2 if back == 1 else 3
    return 1
