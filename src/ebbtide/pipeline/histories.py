"""Histories: all that is known of some users now, from the lake and from the inbox behind it.

Buckets of the lake stay in memory, the most recently used ones, with the rows of each user marked, so that one user's
history is a slice. What has been accepted but is not in the lake yet comes from the inbox. Both together are, at any
moment, what the lake alone will be after the next landing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.ids import buckets_of
from ebbtide.core.settings import LakeConfig
from ebbtide.events.data_files import DataFile, sorted_events
from ebbtide.events.live_event import event_frame
from ebbtide.events.schema import empty_events
from ebbtide.pipeline.landing import landing_key, open_lake
from ebbtide.store.inbox import Inbox, Stored

_ALL = 2**31


@dataclass(frozen=True)
class _Bucket:
    """A bucket's events, sorted; rows `first[k]` to `first[k + 1]` are those of `users[k]`."""

    files: tuple[DataFile, ...]
    events: pl.DataFrame
    place: dict[str, int]
    first: NDArray[np.int64]
    bytes: int

    @staticmethod
    def of(files: tuple[DataFile, ...], events: pl.DataFrame) -> _Bucket:
        runs = events["user_id"].rle().struct.unnest()
        first = np.concatenate([[0], np.cumsum(runs["len"].to_numpy().astype(np.int64))])
        place = {user: k for k, user in enumerate(runs["value"].to_list())}
        return _Bucket(files, events, place, first, int(events.estimated_size()) + 120 * len(place))

    def rows_of(self, users: Sequence[str]) -> pl.DataFrame:
        places = [k for user in users if (k := self.place.get(user)) is not None]
        if len(places) == 1:
            start, end = int(self.first[places[0]]), int(self.first[places[0] + 1])
            return self.events.slice(start, end - start)
        if not places:
            return self.events.clear()
        chosen = np.sort(np.asarray(places))
        starts, lengths = self.first[chosen], self.first[chosen + 1] - self.first[chosen]
        ends = np.cumsum(lengths)
        rows = np.arange(ends[-1]) + np.repeat(starts - (ends - lengths), lengths)
        return self.events.select(pl.all().gather(pl.Series(rows)))


class Histories:
    """The histories of one shop. Safe to use from several threads; `memory_bytes` bounds the buckets that are kept."""

    def __init__(
        self, inbox: Inbox, shop_id: str, root: Path, config: LakeConfig, *, memory_bytes: int = 2 << 30
    ) -> None:
        self._inbox, self._shop_id, self._memory = inbox, shop_id, memory_bytes
        self._lake = open_lake(root, config)
        self._landed = self._lake.position(landing_key(shop_id))
        self._kept: OrderedDict[int, _Bucket] = OrderedDict()
        self._lock = Lock()

    @property
    def landed(self) -> int:
        """The number of the last event of the inbox that is read from the lake."""
        return self._landed

    @property
    def held_bytes(self) -> int:
        """Memory of the kept buckets."""
        return sum(bucket.bytes for bucket in self._kept.values())

    def refresh(self) -> None:
        """Read from the lake what has been landed or ingested since. Histories are the same before and after landing."""
        with self._lock:
            self._lake.refresh()
            self._landed = self._lake.position(landing_key(self._shop_id))

    def of_users(self, users: Sequence[str]) -> pl.DataFrame:
        """All events of these users, sorted by user, time and event_id; nothing for a user who is not known."""
        wanted = list(dict.fromkeys(users))
        with self._lock:
            numbers, landed = self._buckets_of(wanted), self._landed
            found = [
                self._bucket(int(n)).rows_of([wanted[i] for i in np.flatnonzero(numbers == n)])
                for n in np.unique(numbers)
            ]
        return joined(found, self._inbox.of_users(self._shop_id, wanted, landed))

    def everybody(self) -> Iterator[pl.DataFrame]:
        """The events of all users, bucket by bucket; buckets that are not in memory are not kept for it."""
        with self._lock:
            tail = self._inbox.after(self._shop_id, self._landed, _ALL)
            count = self._lake.bucket_count
        numbers = self._buckets_of([event.user_id for event in tail])
        for bucket in range(count):
            with self._lock:
                held, files = self._kept.get(bucket), tuple(self._lake.files(bucket))
                events = held.events if held is not None and held.files == files else self._lake.read_bucket(bucket)
            yield joined([events], [tail[i] for i in np.flatnonzero(numbers == bucket)])

    def _buckets_of(self, users: Sequence[str]) -> NDArray[np.int32]:
        return buckets_of(pl.Series(users, dtype=pl.String), self._lake.bucket_count)

    def _bucket(self, number: int) -> _Bucket:
        files = tuple(self._lake.files(number))
        held = self._kept.pop(number, None)
        if held is None or held.files != files:
            held = _Bucket.of(files, self._lake.read_bucket(number))
        self._kept[number] = held
        while len(self._kept) > 1 and self.held_bytes > self._memory:
            self._kept.popitem(last=False)
        return held


def joined(found: list[pl.DataFrame], tail: list[Stored]) -> pl.DataFrame:
    """Events of the lake and those behind it; what the lake holds already is not taken twice."""
    lake = pl.concat(found) if found else empty_events()
    if not tail:
        return lake if len(found) == 1 else sorted_events(lake)
    late = event_frame([event.fields for event in tail])
    return sorted_events(pl.concat([lake, late.filter(~late["event_id"].is_in(lake["event_id"].implode()))]))
