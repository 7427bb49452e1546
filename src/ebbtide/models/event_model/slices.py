"""Slices of users' histories for pretraining: two of each user, and what the window after each of them held."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.sequences.batches import TokenRows
from ebbtide.sequences.tokens import TokenLog


@dataclass(frozen=True)
class Slices:
    """Draws slices from a log, looking at nothing that occurred or arrived after `limit_us`.

    A slice ends at a moment between one of the user's events and the next, so that silence is learnt too. Windows of
    `window_us` after a slice that reach past `limit_us` are not known. `shortest`: of a slice, in events; users with
    fewer are left out.
    """

    log: TokenLog
    limit_us: int
    window_us: int
    max_len: int
    types: int
    shortest: int = 4

    def users(self) -> NDArray[np.int64]:
        """The users with enough events, ascending."""
        return np.flatnonzero(self.counts() >= self.shortest)

    def counts(self) -> NDArray[np.int64]:
        """The events of each user of the log that may be looked at."""
        seen = (self.log.time <= self.limit_us) & (self.log.known <= self.limit_us)
        total = np.concatenate([[0], np.cumsum(seen)])
        return np.asarray(np.diff(total[self.log.start]))

    def draw(self, users: NDArray[np.int64], rng: np.random.Generator) -> TokenRows:
        """Two slices of each user, rows 2i and 2i + 1 of user i."""
        owner = np.repeat(users, 2)
        luck = rng.random((len(owner), 3))
        luck[1::2, 2] = luck[::2, 2]  # twins of like length: little is padded
        at, since = _draw(self.log.start, self.log.time, self.limit_us, owner, luck, self.max_len, self.shortest)
        return TokenRows(self.log, owner, at, since, self.max_len)

    def windows(self, rows: TokenRows) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Counts of each type in the window after each row, (N, types), and 1 where the window has closed, (N,)."""
        counts = np.zeros((len(rows), self.types), np.float32)
        log = self.log
        _count(log.start, log.time, log.known, log.codes, self.limit_us, self.window_us, rows.user, rows.at_us, counts)
        return counts, (rows.at_us + self.window_us <= self.limit_us).astype(np.float32)


@njit(cache=True, nogil=True)
def _draw(
    start: NDArray[np.int64],
    time: NDArray[np.int64],
    limit: int,
    owner: NDArray[np.int64],
    luck: NDArray[np.float64],
    max_len: int,
    shortest: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    at, since = np.empty(len(owner), np.int64), np.empty(len(owner), np.int64)
    for r in range(len(owner)):
        low, high = start[owner[r]], start[owner[r] + 1]
        while high > low and time[high - 1] > limit:
            high -= 1
        first = shortest - 1
        last = low + min(first, high - low - 1) + int(luck[r, 0] * max(1, high - low - first))
        last = min(last, high - 1)
        after = time[last + 1] if last + 1 < high else limit
        at[r] = time[last] + int(luck[r, 1] * max(0, after - time[last]))
        longest = min(max_len, last - low + 1)
        length = min(longest, shortest + int(luck[r, 2] * max(1, longest - first)))
        since[r] = time[last - length + 1]
    return at, since


@njit(cache=True, nogil=True)
def _count(
    start: NDArray[np.int64],
    time: NDArray[np.int64],
    known: NDArray[np.int64],
    codes: NDArray[np.uint16],
    limit: int,
    window: int,
    user: NDArray[np.int64],
    at: NDArray[np.int64],
    counts: NDArray[np.float32],
) -> None:
    for r in range(len(user)):
        for e in range(start[user[r]], start[user[r] + 1]):
            if time[e] > at[r] + window:
                break
            if time[e] > at[r] and known[e] <= limit:
                counts[r, codes[e, 0]] += 1
