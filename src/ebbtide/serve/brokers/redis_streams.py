"""Redis Streams: a consumer group a topic. An entry holds the event in its field `event`; other fields are headers.

FastStream claims the pending messages of a dead worker one by one, or with an option that Redis knows only from 8.4 on.
Here they are claimed in micro-batches with the plain client, on any Redis from 6.2 on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from faststream import AckPolicy
from faststream.redis import RedisBroker, StreamSub
from faststream.redis.message import RedisBatchStreamMessage
from faststream.redis.parser import BinaryMessageFormatV1
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from ebbtide.core.errors import RetryError
from ebbtide.core.stream_settings import StreamConfig
from ebbtide.serve.brokers.link import (
    LOG,
    Letter,
    Message,
    Take,
    broker_errors,
    by_topic,
    consumer_name,
    topics_of,
)
from ebbtide.serve.brokers.reading import FastStreamReading, returning

EVENT = b"event"
_FASTSTREAM = b"__data__"
_AT_ONCE = 1_000


def make_link(stream: StreamConfig) -> RedisLink:
    """A link that is not connected yet."""
    return RedisLink(stream)


class RedisLink:
    """A `Link` to Redis."""

    def __init__(self, stream: StreamConfig) -> None:
        self._stream = stream
        with broker_errors(ValueError):
            self._client: Any = Redis.from_url(stream.url)  # its stubs know no bytes-only answers
        self._name = consumer_name()

    async def open(self) -> None:
        with broker_errors(RedisError):
            await self._client.ping()

    async def close(self) -> None:
        await self._client.aclose()

    async def subscribe(self, take: Take) -> FastStreamReading:
        broker = RedisBroker(self._stream.url, logger=LOG, apply_types=False)
        topics = topics_of(self._stream)
        for topic in topics:
            await self._ensure_group(topic)
            wanted = StreamSub(
                topic, group=self._stream.group, consumer=self._name, batch=True, max_records=self._stream.batch,
                polling_interval=self._stream.wait_ms,
            )  # fmt: skip
            broker.subscriber(
                stream=wanted, ack_policy=AckPolicy.NACK_ON_ERROR, parser=self._parse, decoder=_read_batch
            )(returning(take))

        async def claim() -> None:
            await self._claim(topics, take)

        return FastStreamReading(broker, [RedisError], beside=[claim])

    async def send(self, messages: Sequence[Message], *, dead: bool = False) -> None:
        with broker_errors(RedisError):
            async with self._client.pipeline(transaction=False) as pipe:
                for topic, part in by_topic(self._stream, messages, dead=dead).items():
                    for message in part:
                        fields: dict[Any, Any] = {**message.headers, EVENT: message.body}
                        pipe.xadd(topic, fields)
                await pipe.execute()

    async def behind(self) -> int:
        with broker_errors(RedisError):
            return sum([await self._behind(topic) for topic in topics_of(self._stream)])

    async def letters(self) -> list[Letter]:
        found, start = list[Letter](), "-"
        with broker_errors(RedisError):
            while entries := await self._client.xrange(self._stream.dead_topic, min=start, count=_AT_ONCE):
                found += [Letter(_message(fields), entry) for entry, fields in entries]
                start = f"({entries[-1][0].decode()}"
        return found

    async def settle(self, done: Sequence[Letter], kept: Sequence[Letter]) -> None:
        with broker_errors(RedisError):
            for start in range(0, len(done), _AT_ONCE):
                part = [letter.place for letter in done[start : start + _AT_ONCE]]
                await self._client.xdel(self._stream.dead_topic, *part)

    async def _parse(self, raw: Any) -> RedisBatchStreamMessage:
        """Bodies are read by `_message`, which never fails: FastStream's own parser does on bytes that are no text."""
        return RedisBatchStreamMessage(raw_message=raw, body=[], consumer=self._client, group=self._stream.group)

    async def _ensure_group(self, topic: str) -> None:
        """FastStream would begin a new group at the end of the stream and so miss what lies there already."""
        with broker_errors(RedisError):
            try:
                await self._client.xgroup_create(topic, self._stream.group, id="0", mkstream=True)
            except ResponseError as fault:
                if "BUSYGROUP" not in str(fault):
                    raise

    async def _claim(self, topics: Sequence[str], take: Take) -> None:
        """Take over, in micro-batches, what workers hold for too long: they are dead, or the store refused."""
        idle = self._stream.retry_seconds * 1000
        while True:
            await asyncio.sleep(self._stream.retry_seconds / 2)
            for topic in topics:
                try:
                    while await self._claim_some(topic, idle, take):
                        pass
                except (RedisError, OSError, RetryError) as fault:
                    LOG.warning("pending messages could not be claimed: %s", type(fault).__name__)

    async def _claim_some(self, topic: str, idle: int, take: Take) -> bool:
        group = self._stream.group
        _, entries, *_ = await self._client.xautoclaim(
            topic, group, self._name, min_idle_time=idle, count=self._stream.batch
        )
        if entries:
            await take([_message(fields) for _, fields in entries])
            await self._client.xack(topic, group, *(entry for entry, _ in entries))
        return bool(entries)

    async def _behind(self, topic: str) -> int:
        try:
            groups = await self._client.xinfo_groups(topic)
        except ResponseError:  # no such stream yet
            return 0
        for group in groups:
            if group["name"].decode() == self._stream.group:
                lag = group.get("lag")  # null after deletions in the middle of the stream
                return int(group["pending"]) + int(await self._newer(topic, group) if lag is None else lag)
        return int(await self._client.xlen(topic))

    async def _newer(self, topic: str, group: Mapping[str, Any]) -> int:
        start, count = f"({group['last-delivered-id'].decode()}", 0
        while entries := await self._client.xrange(topic, min=start, count=_AT_ONCE):
            count += len(entries)
            start = f"({entries[-1][0].decode()}"
        return count


async def _read_batch(message: Any) -> list[Message]:
    return [_message(fields) for fields in message.raw_message["data"]]


def _message(fields: Mapping[bytes, bytes]) -> Message:
    """The field `event` (or what FastStream's publisher writes) is the body; without it, all fields are the event."""
    if EVENT in fields:
        headers = {_text(k): _text(v) for k, v in fields.items() if k != EVENT}
        return Message(fields[EVENT], headers)
    if _FASTSTREAM in fields:
        body, headers = BinaryMessageFormatV1.parse(fields[_FASTSTREAM])
        return Message(body, {k: str(v) for k, v in headers.items()})
    return Message(orjson.dumps({_text(k): _text(v) for k, v in fields.items()}))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
