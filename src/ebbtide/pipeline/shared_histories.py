"""Histories shared by several processes through Redis, so that not each of them has to hold the lake in memory.

What Redis holds of a user is what the lake held when it was read, with the number up to which the inbox had landed by then;
later events come from the inbox as always. So an entry never goes stale by landing. It does by an ingest of files, so the
count of those is part of its name. Redis is a cache: without it the lake is read, and answers are the same.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
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
from ebbtide.pipeline.histories import Histories, in_user_order, tail_frame
from ebbtide.store.inbox import Inbox
from ebbtide.store.shops import Shops

log = logging.getLogger("ebbtide.serve")
_SEQ_BYTES = 8


class SharedHistories(Histories):
    """`Histories` whose users lie in Redis for `keep`; the buckets of the lake are read for who is not there.

    `keep` must be well below the time that the inbox keeps landed events.
    """

    def __init__(
        self, inbox: Inbox, shop_id: str, root: Path, config: LakeConfig, *, url: str, keep: timedelta,
        shops: Shops, memory_bytes: int = 1,
    ) -> None:  # fmt: skip
        """`shops`: has the secret with which the names of users are hashed."""
        super().__init__(inbox, shop_id, root, config, memory_bytes=memory_bytes)
        self._redis: Any = redis.Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=1.0)
        self._keep, self._shops = keep, shops
        self.failures = 0

    def close(self) -> None:
        """Give the connections back."""
        self._redis.close()

    def of_users(self, users: Sequence[str]) -> pl.DataFrame:
        """As `Histories.of_users`."""
        wanted = sorted(set(users))
        with self._lock:
            landed, ingests = self._landed, self._lake.ingests
        names = {user: self._name(user, ingests) for user in wanted}
        held = self._get(list(names.values()))
        found = {wanted[i]: _unpacked(value) for i, value in enumerate(held) if value is not None}
        read = self._read([user for user in wanted if user not in found])
        self._put({names[user]: _packed(frame, landed) for user, frame in read.items()})
        since = min([landed, *(seq for seq, _ in found.values())])
        tail = tail_frame(self._inbox.of_users(self._shop_id, wanted, since))
        frames = read | {user: frame for user, (_, frame) in found.items()}
        return in_user_order([_with_tail(frames[user], user, tail) for user in wanted])

    def _name(self, user: str, ingests: int) -> str:
        """Under what the history of a user lies: lists of names, slow logs and monitors of Redis tell nobody's id."""
        return f"ebbtide:{self._shop_id}:{ingests}:{self._shops.pseudonym(self._shop_id, user, purpose='histories')}"

    def of_user(self, user: str, encoder: Encoder) -> EncodedShard:
        """As `Histories.of_user`."""
        return encoder.encode(self.of_users([user]))

    def _read(self, users: list[str]) -> dict[str, pl.DataFrame]:
        """What the lake holds of each of these users."""
        with self._lock:
            numbers = self._buckets_of(users)
            return {
                user: self._bucket(int(n)).history([user], empty_events())
                for user, n in zip(users, numbers, strict=True)
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


def _with_tail(events: pl.DataFrame, user: str, tail: pl.DataFrame) -> pl.DataFrame:
    own = tail.filter(tail["user_id"] == user) if tail.height else tail
    late = own.filter(~own["event_id"].is_in(events["event_id"].implode())) if own.height else own
    return sorted_events(pl.concat([events, late])) if late.height else events


def _packed(frame: pl.DataFrame, landed: int) -> bytes:
    sink = io.BytesIO()
    frame.write_ipc(sink, compression="lz4", compat_level=pl.CompatLevel.oldest())
    return landed.to_bytes(_SEQ_BYTES, "big") + sink.getvalue()


def _unpacked(value: bytes) -> tuple[int, pl.DataFrame]:
    return int.from_bytes(value[:_SEQ_BYTES], "big"), pl.read_ipc(io.BytesIO(value[_SEQ_BYTES:]))
