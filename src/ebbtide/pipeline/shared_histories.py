"""Histories shared by several processes through Redis, so that not each of them has to hold the lake in memory.

What Redis holds of a user is what the lake held when it was read, with the number up to which the inbox had landed by then;
later events come from the inbox as always. So an entry never goes stale by landing. It does by an ingest of files, so the
count of those is part of its name. Redis is a cache: without it the lake is read, and answers are the same.
"""

from __future__ import annotations

import io
import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import redis

from ebbtide.core.settings import LakeConfig
from ebbtide.events.data_files import sorted_events
from ebbtide.events.schema import empty_events
from ebbtide.features.encode import EncodedShard
from ebbtide.pipeline.encoder import Encoder
from ebbtide.pipeline.histories import PART_ROWS, Histories, in_user_order
from ebbtide.store.inbox import Inbox
from ebbtide.store.shops import Shops

log = logging.getLogger("ebbtide.serve")
_SEQ_BYTES = 8
_USERS_AT_ONCE = 2_000


class SharedHistories(Histories):
    """`Histories` whose users lie in Redis for `keep`; the buckets of the lake are read for who is not there.

    `keep` must be well below the time that the inbox keeps landed events.
    """

    def __init__(
        self, inbox: Inbox, shop_id: str, root: Path, config: LakeConfig, *, url: str, keep: timedelta,
        shops: Shops, memory_bytes: int = 1,
    ) -> None:  # fmt: skip
        """`shops`: has the secret with which the names of users are hashed."""
        self._keep, self._shops = keep, shops
        super().__init__(inbox, shop_id, root, config, memory_bytes=memory_bytes)
        self._redis: Any = redis.Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)
        self._past = deque[tuple[float, int]]()
        self.failures = 0

    def close(self) -> None:
        """Give the connections back."""
        self._redis.close()

    def of_users(self, users: Sequence[str]) -> pl.DataFrame:
        """As `Histories.of_users`."""
        wanted = sorted(set(users))
        with self._lock:
            ingests = self._lake.ingests
        names = {user: self._name(user, ingests) for user in wanted}
        held = self._get(list(names.values()))
        entries = {wanted[i]: _unpacked(value) for i, value in enumerate(held) if value is not None}

        def look() -> tuple[tuple[dict[str, pl.DataFrame], dict[str, pl.DataFrame], int], int]:
            good = {user: entry for user, entry in entries.items() if entry[0] >= self._tail.begin}
            read = self._read([user for user in wanted if user not in good])
            behind = min([self._landed, *(seq for seq, _ in good.values())])
            return ({user: frame for user, (_, frame) in good.items()}, read, self._landed), behind

        (found, read, landed), tail = self._with_tail(wanted, look)
        self._put({names[user]: _packed(frame, landed) for user, frame in read.items()})
        return in_user_order([_joined((found | read)[user], user, tail) for user in wanted])

    def in_parts(self, users: Sequence[str], *, rows: int = PART_ROWS) -> Iterator[pl.DataFrame]:
        """As `Histories.in_parts`, but by a fixed number of users: how many rows they have is not known before."""
        wanted = sorted(set(users))
        for start in range(0, max(len(wanted), 1), _USERS_AT_ONCE):
            yield self.of_users(wanted[start : start + _USERS_AT_ONCE])

    def _begin(self) -> int:
        """Where the oldest entries end that may still lie in Redis."""
        kept_us = (time.time() - self._keep.total_seconds()) * 1e6
        return min(self._landed, self._inbox.last_before(self._shop_id, int(kept_us)))

    def _forget(self) -> None:
        """Entries in Redis are as old as `keep`: so long the tail holds what has landed."""
        now = time.monotonic()
        self._past.append((now, self._landed))
        while self._past[0][0] < now - self._keep.total_seconds():
            self._tail.forget(self._past.popleft()[1])

    def _name(self, user: str, ingests: int) -> str:
        """Under what the history of a user lies: lists of names, slow logs and monitors of Redis tell nobody's id."""
        return f"ebbtide:{self._shop_id}:{ingests}:{self._shops.pseudonym(self._shop_id, user, purpose='histories')}"

    def of_user(self, user: str, encoder: Encoder) -> EncodedShard:
        """As `Histories.of_user`."""
        return encoder.encode(self.of_users([user]))

    def _read(self, users: list[str]) -> dict[str, pl.DataFrame]:
        """What the lake holds of each of these users. The lock is held."""
        numbers = self._buckets_of(users)
        return {
            user: self._bucket(int(n)).history([user], empty_events()) for user, n in zip(users, numbers, strict=True)
        }

    def _get(self, names: list[str]) -> list[bytes | None]:
        try:
            return list(self._redis.mget(names)) if names else []
        except redis.RedisError as fault:
            self._told(fault)
            return [None] * len(names)

    def _put(self, entries: dict[str, bytes]) -> None:
        try:
            with self._redis.pipeline(transaction=False) as line:
                for name, value in entries.items():
                    line.set(name, value, ex=self._keep)
                line.execute()
        except redis.RedisError as fault:
            self._told(fault)

    def _told(self, fault: redis.RedisError) -> None:
        self.failures += 1
        log.warning("histories are read from the lake, for Redis does not answer (%s)", type(fault).__name__)


def _joined(events: pl.DataFrame, user: str, tail: pl.DataFrame) -> pl.DataFrame:
    own = tail.filter(tail["user_id"] == user) if tail.height else tail
    late = own.filter(~own["event_id"].is_in(events["event_id"].implode())) if own.height else own
    return sorted_events(pl.concat([events, late])) if late.height else events


def _packed(frame: pl.DataFrame, landed: int) -> bytes:
    sink = io.BytesIO()
    frame.write_ipc(sink, compression="lz4", compat_level=pl.CompatLevel.oldest())
    return landed.to_bytes(_SEQ_BYTES, "big") + sink.getvalue()


def _unpacked(value: bytes) -> tuple[int, pl.DataFrame]:
    return int.from_bytes(value[:_SEQ_BYTES], "big"), pl.read_ipc(io.BytesIO(value[_SEQ_BYTES:]))
