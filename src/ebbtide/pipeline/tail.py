"""The tail: which events of the inbox are whose, in memory, so that asking for one user needs no index of users on disk.

It follows the inbox by number, as every reader does, and holds 16 bytes an event: a hash of the user, good within this
process, and the number. Whose an event really is stands with the event.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from ebbtide.store.inbox import Inbox

_AT_ONCE, _NEWEST, _RUN = 10_000, 16_384, 1 << 18


@dataclass(frozen=True)
class Run:
    """Numbers of events by hash of their user, ascending by hash; none lies behind number `last`."""

    hashes: NDArray[np.int64]
    numbers: NDArray[np.int64]
    last: int

    @staticmethod
    def of(hashes: NDArray[np.int64], numbers: NDArray[np.int64], last: int) -> Run:
        """Of events in any order."""
        order = np.argsort(hashes)
        return Run(hashes[order], numbers[order], last)

    def joined(self, newer: Run) -> Run:
        """This one and the next."""
        both = ((self.hashes, newer.hashes), (self.numbers, newer.numbers))
        return Run.of(np.concatenate(both[0]), np.concatenate(both[1]), newer.last)

    def behind(self, number: int) -> Run:
        """Without the events up to and with this number."""
        stay = self.numbers > number
        return Run(self.hashes[stay], self.numbers[stay], self.last)

    def counts(self, hashes: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many events the users with these hashes have."""
        return np.asarray(np.searchsorted(self.hashes, hashes, side="right") - np.searchsorted(self.hashes, hashes))

    def of_users(self, hashes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The numbers of all users with these hashes."""
        begins, counts = np.searchsorted(self.hashes, hashes), self.counts(hashes)
        places = np.arange(int(counts.sum())) + np.repeat(begins - (np.cumsum(counts) - counts), counts)
        return np.asarray(self.numbers[places])


class Tail:
    """The events of one shop behind number `begin`. Safe to use from several threads."""

    def __init__(self, inbox: Inbox, shop_id: str, begin: int) -> None:
        self._inbox, self._shop_id, self._begin = inbox, shop_id, begin
        self._lock = Lock()
        self._newest: dict[int, list[int]] = {}
        self._count = 0
        self._runs: list[Run] = []
        self._last: tuple[int, str] | None = None

    @property
    def begin(self) -> int:
        """Events up to and with this number are not in it."""
        return self._begin

    def __len__(self) -> int:
        return self._count + sum(len(run.numbers) for run in self._runs)

    def follow(self) -> None:
        """Take up all that has been accepted by now."""
        with self._lock:
            rows = self._new_rows()
            while rows:
                for number, user in rows:
                    self._newest.setdefault(hash(user), []).append(number)
                self._count += len(rows)
                self._last = rows[-1]
                if self._count >= _NEWEST:
                    self._freeze()
                rows = self._read(self._last[0] + 1) if len(rows) >= _AT_ONCE - 1 else []

    def numbers(self, users: Sequence[str], behind: int) -> NDArray[np.int64]:
        """The numbers of the events of these users behind number `behind`, which is not before `begin`.

        A few of others may be among them.
        """
        hashes = np.unique(_hashes(users))
        with self._lock:
            newest = [number for h in hashes.tolist() for number in self._newest.get(h, ())]
            found = np.concatenate([np.array(newest, np.int64), *(run.of_users(hashes) for run in self._runs)])
        return found[found > behind]

    def counts(self, users: Sequence[str]) -> NDArray[np.int64]:
        """How many events each of these users has in it, about."""
        hashes = _hashes(users)
        with self._lock:
            newest = np.array([len(self._newest.get(h, ())) for h in hashes.tolist()], np.int64)
            return newest + sum(run.counts(hashes) for run in self._runs)

    def forget(self, up_to: int) -> None:
        """Drop the events up to and with this number."""
        with self._lock:
            self._begin = max(self._begin, up_to)
            self._runs = [
                run.behind(up_to) if len(run.numbers) and run.numbers.min() <= up_to else run
                for run in self._runs
                if run.last > up_to
            ]
            left = {h: [n for n in numbers if n > up_to] for h, numbers in self._newest.items()}
            self._newest = {h: numbers for h, numbers in left.items() if numbers}
            self._count = sum(map(len, self._newest.values()))

    def _new_rows(self) -> Sequence[tuple[int, str]]:
        """Behind the last row that was taken up, or behind `begin`. If that last row is not there any more, the store was
        pruned or is another one: then everything is taken up anew."""
        if self._last is not None and self._last[0] > self._begin:
            rows = self._read(self._last[0])
            if rows and rows[0] == self._last:
                return rows[1:]
            self._newest, self._count, self._runs, self._last = {}, 0, [], None
        return self._read(self._begin + 1)

    def _read(self, start: int) -> Sequence[tuple[int, str]]:
        return self._inbox.touches(self._shop_id, start, _AT_ONCE)

    def _freeze(self) -> None:
        counts = [len(numbers) for numbers in self._newest.values()]
        hashes = np.repeat(np.fromiter(self._newest, np.int64, len(self._newest)), counts)
        numbers = np.fromiter((n for own in self._newest.values() for n in own), np.int64, self._count)
        assert self._last is not None
        self._runs.append(Run.of(hashes, numbers, self._last[0]))
        self._newest, self._count = {}, 0
        while len(self._runs) > 1 and _are_alike(len(self._runs[-2].numbers), len(self._runs[-1].numbers)):
            newer = self._runs.pop()
            self._runs[-1] = self._runs[-1].joined(newer)


def _hashes(users: Sequence[str]) -> NDArray[np.int64]:
    return np.fromiter(map(hash, users), np.int64, len(users))


def _are_alike(older: int, newer: int) -> bool:
    """So that each number is joined a few times only, and there are few runs."""
    return older <= 2 * newer and older + newer <= _RUN
