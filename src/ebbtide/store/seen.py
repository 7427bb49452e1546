"""What has been seen: the keys of the events in the inbox, in memory, so that recognising a repeat needs no index on disk.

Keys are random, so an index of them costs a page of disk for each event written. Here they are learnt from the store itself,
in the order of their numbers: whoever reads up to a number has missed nothing before it, and a transaction that is the only
one of its kind knows all after a last look. Nothing is noted by hand, so a transaction that was undone, or of which nobody
knows whether it was, leaves nothing wrong.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.unnamed_file import map_unnamed

log = logging.getLogger("ebbtide.store")
KEY_BYTES = 16
AT_ONCE = 1 << 17
"""Rows that are learnt at once."""
_NEWEST, _RUN = 1 << 16, 1 << 20
_MOST = 1 << 24
"""Keys that are remembered: 64 MiB, and 256 MiB on disk. Repeats of older events are recognised where they land."""

Row = tuple[int, bytes]
"""Number and key of an event of the inbox."""
Read = Callable[[int], Sequence[Row]]
"""The rows of a shop from a number on, in order: `AT_ONCE` of them, or fewer if there are no more."""
_key = itemgetter(1)


@dataclass(frozen=True)
class Run:
    """Keys as two halves, (N, 2), ascending by the first, and the first 4 bytes of each, `begins`, which are looked at first.

    Of keys that were never seen one in some thousands begins like one that was, so that the keys themselves are hardly ever
    needed: they lie in a file, if there is a disk for it. No beginning stands more than `longest` times in it.
    """

    begins: NDArray[np.uint32]
    keys: NDArray[np.uint64]
    last_seq: int
    longest: int

    @staticmethod
    def of(keys: NDArray[np.uint64], last_seq: int, folder: Path | None = None) -> Run:
        """Of keys in any order. `folder`: on whose disk they lie; None for in memory."""
        keys = keys[np.argsort(keys[:, 0])]
        begins = _begins(keys)
        ends = np.flatnonzero(np.concatenate([[True], begins[1:] != begins[:-1], [True]]))
        return Run(begins, _moved(keys, folder), last_seq, int(np.diff(ends).max(initial=1)))

    def joined(self, newer: Run, folder: Path | None) -> Run:
        """This one and the next."""
        return Run.of(np.concatenate([self.keys, newer.keys]), newer.last_seq, folder)

    def holds(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of these keys (N, 2), ascending by their first half, are in it."""
        asked, found = _begins(keys), np.zeros(len(keys), bool)
        place = np.searchsorted(self.begins, asked)
        for _ in range(self.longest):
            at = np.minimum(place, len(self.begins) - 1)
            alike = np.flatnonzero(self.begins[at] == asked)
            found[alike] |= (self.keys[at[alike]] == keys[alike]).all(axis=1)
            place = place + 1
        return found


class Seen:
    """The keys of one shop's newest events. Safe to use from several threads.

    Of events that are in the inbox it forgets none but the oldest beyond some millions; of those that were pruned it
    may still know some.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """`folder`: on whose disk most of it lies; None for in memory."""
        self._lock, self._folder = Lock(), folder
        self._newest = set[bytes]()
        self._runs: list[Run] = []
        self._last: Row | None = None
        self.is_loaded = False

    def __len__(self) -> int:
        return len(self._newest) + sum(len(run.begins) for run in self._runs)

    def follow(self, read: Read, oldest: Callable[[], int]) -> None:
        """Learn the rows that are new. `oldest`: says the number of the first row that is still there.

        `read` must see only rows that stay: outside of a transaction that writes to the inbox, or before it has.
        """
        with self._lock:
            rows = self._new_rows(read)
            while rows:
                self._newest.update(map(_key, rows))
                self._last = rows[-1]
                if len(self._newest) >= _NEWEST:
                    self._freeze(self._last[0], oldest())
                rows = read(self._last[0] + 1) if len(rows) >= AT_ONCE - 1 else []
            self.is_loaded = True

    def known(self, keys: Sequence[bytes]) -> set[bytes]:
        """Which of these keys have been seen."""
        with self._lock:
            newest, runs = self._newest.intersection(keys), tuple(self._runs)
        if not runs or not keys:
            return newest
        asked = _halves(keys)
        order = np.argsort(asked[:, 0])
        found, ordered = np.zeros(len(keys), bool), asked[order]
        for run in runs:
            found[order] |= run.holds(ordered)
        return newest.union(keys[int(i)] for i in np.flatnonzero(found))

    def _new_rows(self, read: Read) -> Sequence[Row]:
        """Behind the last row that was learnt. If that one is not there any more, the store was pruned up to there and
        beyond, or is another one: then everything is learnt anew."""
        if self._last is not None:
            rows = read(self._last[0])
            if rows and rows[0] == self._last:
                return rows[1:]
            self._newest, self._runs, self._last = set(), [], None
        return read(0)

    def _freeze(self, last_seq: int, oldest: int) -> None:
        """The newest keys become a run; runs of like size are joined, and those of which no event is left go."""
        runs = [run for run in self._runs if run.last_seq >= oldest]
        runs.append(Run.of(_halves(list(self._newest)), last_seq, self._folder))
        while len(runs) > 1 and _are_alike(len(runs[-2].begins), len(runs[-1].begins)):
            newer = runs.pop()
            runs[-1] = runs[-1].joined(newer, self._folder)
        while sum(len(run.begins) for run in runs) > _MOST:
            del runs[0]
        self._newest, self._runs = set(), runs


class SeenOfShops:
    """What was seen of each shop, in one store."""

    def __init__(self, folder: Path | None = None) -> None:
        self._lock, self._folder = Lock(), folder
        self._shops: dict[str, Seen] = {}

    def of(self, shop_id: str) -> Seen:
        """That of one shop."""
        with self._lock:
            return self._shops.setdefault(shop_id, Seen(self._folder))


def _are_alike(older: int, newer: int) -> bool:
    """So that each key is joined a few times only, and there are few runs."""
    return older <= 2 * newer and older + newer <= _RUN


def _halves(keys: Sequence[bytes]) -> NDArray[np.uint64]:
    return np.frombuffer(b"".join(keys), np.uint64).reshape(-1, 2)


def _begins(keys: NDArray[np.uint64]) -> NDArray[np.uint32]:
    return (keys[:, 0] >> np.uint64(32)).astype(np.uint32)


def _moved(keys: NDArray[np.uint64], folder: Path | None) -> NDArray[np.uint64]:
    if folder is None:
        return keys
    try:
        return np.frombuffer(map_unnamed(folder, lambda file: file.write(keys.data)), np.uint64).reshape(-1, 2)
    except OSError as fault:
        log.warning("keys of events stay in memory, for the disk does not take them (%s)", type(fault).__name__)
        return keys
