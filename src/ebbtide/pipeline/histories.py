"""Histories: all that is known of some users now, from the lake and from the inbox behind it.

Buckets of the lake stay in memory, the most recently used ones, with the rows of each user marked, so that one user's
history is a slice. What has been accepted but is not in the lake yet comes from the inbox. Both together are, at any
moment, what the lake alone will be after the next landing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.errors import RetryError
from ebbtide.core.ids import buckets_of, hash_texts
from ebbtide.core.settings import LakeConfig
from ebbtide.events.data_files import DataFile, sorted_events
from ebbtide.events.lake import landing_key
from ebbtide.events.live_event import event_frame
from ebbtide.events.schema import empty_events
from ebbtide.features.encode import EncodedShard
from ebbtide.pipeline.encoder import Encoder
from ebbtide.pipeline.landing import open_lake
from ebbtide.pipeline.tail import Tail
from ebbtide.store.inbox import Inbox

T = TypeVar("T")
PART_ROWS = 500_000
_READ_AT_ONCE = 10_000
_TRIES = 3
_ENCODED_BYTES = 100  # what an event takes when it is encoded, at most: a few numbers and codes


@dataclass(frozen=True)
class Bucket:
    """A bucket's events, sorted; rows `first[k]` to `first[k + 1]` are those of `users[k]`.

    `times`: occurred_at of each row, microseconds; `hashes`: those of the event_ids, ascending.
    """

    files: tuple[DataFile, ...]
    events: pl.DataFrame
    place: dict[str, int]
    first: NDArray[np.int64]
    times: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    bytes: int
    _encoded: list[EncodedShard] = field(default_factory=list, repr=False, compare=False)

    @staticmethod
    def of(files: tuple[DataFile, ...], events: pl.DataFrame) -> Bucket:
        """Mark the rows of each user."""
        times = events["occurred_at"].dt.epoch("us").to_numpy()
        return Bucket._marked(files, events, times, np.sort(hash_texts(events["event_id"])))

    @staticmethod
    def _marked(
        files: tuple[DataFile, ...], events: pl.DataFrame, times: NDArray[np.int64], hashes: NDArray[np.uint64]
    ) -> Bucket:
        runs = events["user_id"].rle().struct.unnest()
        first = np.concatenate([[0], np.cumsum(runs["len"].to_numpy().astype(np.int64))])
        place = {user: k for k, user in enumerate(runs["value"].to_list())}
        size = int(events.estimated_size()) + (16 + _ENCODED_BYTES) * events.height + 120 * len(place)
        return Bucket(files, events, place, first, times, hashes, size)

    def joined(self, files: tuple[DataFile, ...], new: pl.DataFrame) -> Bucket:
        """The bucket with these sorted events too, which came with the files that it lacks: what reading all anew would give."""
        users = new["user_id"].unique(maintain_order=True).to_list()
        spans = np.array([self._span(user) for user in users], np.int64).reshape(-1, 2)
        known, strangers = list(self.place), [k for k, user in enumerate(users) if user not in self.place]
        for k in strangers:
            spans[k] = self.first[bisect_left(known, users[k])]
        places = self._places(users, spans, spans[:, 0], new)
        order = np.insert(np.arange(self.events.height), places, self.events.height + np.arange(new.height))
        events = pl.concat([self.events, new]).select(pl.all().gather(pl.Series(order)))
        times = np.insert(self.times, places, new["occurred_at"].dt.epoch("us").to_numpy())
        hashes = np.sort(hash_texts(new["event_id"]))
        return self._marked(files, events, times, np.insert(self.hashes, np.searchsorted(self.hashes, hashes), hashes))

    def encoded(self, encoder: Encoder) -> EncodedShard:
        """The bucket encoded; kept for the encoder that asked last."""
        if not self._encoded or not encoder.has_made(self._encoded[0]):
            self._encoded[:] = [encoder.encode_bucket(self.events)]
        return self._encoded[0]

    def history(self, users: Sequence[str], tail: pl.DataFrame) -> pl.DataFrame:
        """The events of these users, which are sorted, with those of `tail`, which are sorted too and theirs alone.

        An event that the bucket holds already is not taken twice.
        """
        tail = self._unknown(tail)
        if len(users) == 1 and tail.is_empty():
            start, end = self._span(users[0])
            return self.events.slice(start, end - start)
        spans = np.array([self._span(user) for user in users], np.int64).reshape(-1, 2)
        lengths = spans[:, 1] - spans[:, 0]
        ends = np.cumsum(lengths)
        rows = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(spans[:, 0] - (ends - lengths), lengths)
        own = self.events.select(pl.all().gather(pl.Series(rows)))
        if tail.is_empty():
            return own
        places = self._places(users, spans, ends - lengths, tail)
        order = np.insert(np.arange(own.height), places, own.height + np.arange(tail.height))
        return pl.concat([own, tail]).select(pl.all().gather(pl.Series(order)))

    def rows_of(self, user: str) -> int:
        """How many events of a user are in it."""
        start, end = self._span(user)
        return end - start

    def _span(self, user: str) -> tuple[int, int]:
        k = self.place.get(user)
        return (0, 0) if k is None else (int(self.first[k]), int(self.first[k + 1]))

    def _unknown(self, tail: pl.DataFrame) -> pl.DataFrame:
        """The rows of the tail that did not come with a file, too."""
        if tail.is_empty() or not len(self.hashes):
            return tail
        asked = hash_texts(tail["event_id"])
        found = self.hashes[np.minimum(np.searchsorted(self.hashes, asked), len(self.hashes) - 1)] == asked
        return tail.filter(~pl.Series(found)) if found.any() else tail

    def _places(
        self, users: Sequence[str], spans: NDArray[np.int64], begins: NDArray[np.int64], tail: pl.DataFrame
    ) -> NDArray[np.int64]:
        """Before which of the users' rows each row of the tail belongs."""
        rank = {user: k for k, user in enumerate(users)}
        runs = tail["user_id"].rle().struct.unnest()
        moments, ids = tail["occurred_at"].dt.epoch("us").to_numpy(), tail["event_id"]
        places, row = np.empty(tail.height, np.int64), 0
        for count, user in zip(runs["len"].to_list(), runs["value"].to_list(), strict=True):
            k = rank[user]
            start, end = spans[k]
            late = moments[row : row + count]
            at = np.searchsorted(self.times[start:end], late, side="right")
            ties = np.flatnonzero(self.times[start + at - 1] == late) if end > start else ()
            for i in ties:
                while (
                    at[i]
                    and self.times[start + at[i] - 1] == late[i]
                    and self.events["event_id"][int(start + at[i] - 1)] > ids[row + int(i)]
                ):
                    at[i] -= 1
            places[row : row + count] = begins[k] + at
            row += count
        return places


class Histories:
    """The histories of one shop. Safe to use from several threads; `memory_bytes` bounds the buckets that are kept."""

    def __init__(
        self, inbox: Inbox, shop_id: str, root: Path, config: LakeConfig, *, memory_bytes: int = 2 << 30
    ) -> None:
        self._inbox, self._shop_id, self._memory = inbox, shop_id, memory_bytes
        self._lake = open_lake(root, config)
        self._landed = self._lake.position(landing_key(shop_id))
        self._kept: OrderedDict[int, Bucket] = OrderedDict()
        self._lock = Lock()
        self._tail = Tail(inbox, shop_id, self._begin())

    @property
    def landed(self) -> int:
        """The number of the last event of the inbox that is read from the lake."""
        return self._landed

    @property
    def held_bytes(self) -> int:
        """Memory of the kept buckets."""
        return sum(bucket.bytes for bucket in self._kept.values())

    def refresh(self) -> None:
        """Read from the lake what has been landed or ingested since, and take up what waits in the inbox. Histories are the
        same before and after landing."""
        with self._lock:
            self._lake.refresh()
            self._landed = self._lake.position(landing_key(self._shop_id))
            self._forget()
        self._tail.follow()

    def of_users(self, users: Sequence[str]) -> pl.DataFrame:
        """All events of these users, sorted by user, time and event_id; nothing for a user who is not known."""
        wanted = sorted(set(users))
        numbers = self._buckets_of(wanted)
        asked = {int(n): [wanted[i] for i in np.flatnonzero(numbers == n)] for n in np.unique(numbers)}
        buckets, tail = self._with_tail(wanted, lambda: ({n: self._bucket(n) for n in asked}, self._landed))
        found = []
        for n, own in asked.items():
            late = tail if tail.is_empty() or len(asked) == 1 else tail.filter(pl.col("user_id").is_in(own))
            found.append(buckets[n].history(own, late))
        return in_user_order(found)

    def in_parts(self, users: Sequence[str], *, rows: int = PART_ROWS) -> Iterator[pl.DataFrame]:
        """`of_users` in one or more frames of different users, none of much more than so many rows, so that memory is bounded."""
        wanted = sorted(set(users))
        numbers, waiting = self._buckets_of(wanted), self._tail.counts(wanted)
        part, size = list[str](), 0
        for n in np.unique(numbers):
            with self._lock:
                bucket = self._bucket(int(n))
            for i in np.flatnonzero(numbers == n):
                own = bucket.rows_of(wanted[i]) + int(waiting[i])
                if part and size + own > rows:
                    yield self.of_users(part)
                    part, size = [], 0
                part.append(wanted[i])
                size += own
        yield self.of_users(part)

    def of_user(self, user: str, encoder: Encoder) -> EncodedShard:
        """All events of one user, encoded; nobody is in it if the user is not known."""
        number = int(self._buckets_of([user])[0])

        def look() -> tuple[tuple[Bucket, EncodedShard | None], int]:
            bucket = self._bucket(number)
            place = bucket.place.get(user)
            return (bucket, None if place is None else bucket.encoded(encoder)), self._landed

        (bucket, whole), tail = self._with_tail([user], look)
        if whole is None or tail.height:
            return encoder.encode(bucket.history([user], tail))
        return whole.of_user(bucket.place[user])

    def everybody(self) -> Iterator[pl.DataFrame]:
        """The events of all users, bucket by bucket; buckets that are not in memory are not kept for it."""
        with self._lock:
            landed, count = self._landed, self._lake.bucket_count
        numbers, buckets = self._waiting(landed)
        for bucket in range(count):
            late, is_whole = self._late(numbers[buckets == bucket])
            if not is_whole:  # the rest has been pruned: so it is in the lake by now
                self.refresh()
            with self._lock:
                held, files = self._kept.get(bucket), tuple(self._lake.files(bucket))
                if held is None or held.files != files:
                    held = self._loaded(bucket, held)
            yield held.history(sorted({*held.place, *late["user_id"].to_list()}), late)

    def _begin(self) -> int:
        """Behind which number the tail begins at first."""
        return self._landed

    def _forget(self) -> None:
        """Let go of what has landed."""
        self._tail.forget(self._landed)

    def _with_tail(self, users: Sequence[str], look: Callable[[], tuple[T, int]]) -> tuple[T, pl.DataFrame]:
        """What `look` finds at one moment, and the events of these users behind the number that it names, sorted.

        Raises RetryError if the inbox is pruned faster than it can be read.
        """
        for _ in range(_TRIES):
            self._tail.follow()
            with self._lock:
                found, behind = look()
                numbers = self._tail.numbers(users, behind)
            late, is_whole = self._late(numbers, set(users))
            if is_whole:
                return found, late
            self.refresh()  # who is pruned has landed, and this process had not seen it yet
        raise RetryError(
            "events leave the store while they are read: try again; `serve.keep_events` may be longer",
            "事件在读取时被移出存储：请重试，或调大 `serve.keep_events`",
        )

    def _late(self, numbers: NDArray[np.int64], users: Set[str] | None = None) -> tuple[pl.DataFrame, bool]:
        """The events of these numbers, those of these users, sorted, and whether all were there."""
        count, frames, ordered = 0, list[pl.DataFrame](), np.sort(numbers)
        for start in range(0, len(ordered), _READ_AT_ONCE):
            stored = self._inbox.at(ordered[start : start + _READ_AT_ONCE].tolist())
            count += len(stored)
            frames.append(event_frame([e.fields for e in stored if users is None or e.user_id in users]))
        whole = sorted_events(pl.concat(frames)) if any(frame.height for frame in frames) else empty_events()
        return whole, count == len(numbers)

    def _waiting(self, behind: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Number and bucket of each event behind a number."""
        numbers, buckets = [np.empty(0, np.int64)], [np.empty(0, np.int32)]
        while rows := self._inbox.touches(self._shop_id, behind + 1, _READ_AT_ONCE):
            numbers.append(np.array([number for number, _ in rows], np.int64))
            buckets.append(self._buckets_of([user for _, user in rows]))
            behind = rows[-1][0]
        return np.concatenate(numbers), np.concatenate(buckets)

    def _loaded(self, number: int, held: Bucket | None) -> Bucket:
        """A bucket as it is in the lake now: files that were joined into others since the last look may be gone."""
        try:
            return self._read_bucket(number, held)
        except FileNotFoundError:
            self._lake.refresh()
            return self._read_bucket(number, None)

    def _read_bucket(self, number: int, held: Bucket | None) -> Bucket:
        """Of a bucket that is held already, only the files that have come are read."""
        files = tuple(self._lake.files(number))
        if held is None or not set(held.files) < set(files):
            return Bucket.of(files, self._lake.read_bucket(number))
        return held.joined(files, self._lake.read_files([f for f in files if f not in set(held.files)]))

    def _buckets_of(self, users: Sequence[str]) -> NDArray[np.int32]:
        return buckets_of(pl.Series(users, dtype=pl.String), self._lake.bucket_count)

    def _bucket(self, number: int) -> Bucket:
        files = tuple(self._lake.files(number))
        held = self._kept.pop(number, None)
        if held is None or held.files != files:
            held = self._loaded(number, held)
        self._kept[number] = held
        while len(self._kept) > 1 and self.held_bytes > self._memory:
            self._kept.popitem(last=False)
        return held


def in_user_order(found: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Frames of different users, each sorted, as one sorted frame."""
    known = [frame for frame in found if frame.height]
    if len(known) < 2:
        return known[0] if known else empty_events()
    whole = pl.concat(known)
    runs = whole["user_id"].rle().struct.unnest()
    lengths = runs["len"].to_numpy().astype(np.int64)
    starts, order = np.cumsum(lengths) - lengths, runs["value"].arg_sort().to_numpy()
    ends = np.cumsum(lengths[order])
    rows = np.arange(int(ends[-1])) + np.repeat(starts[order] - (ends - lengths[order]), lengths[order])
    return whole.select(pl.all().gather(pl.Series(rows)))
