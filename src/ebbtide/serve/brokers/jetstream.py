"""NATS JetStream: a durable pull consumer a topic, each topic in a stream of its own unless the shop made one for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import nats
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy as JetAck
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from ebbtide.core.errors import RetryError
from ebbtide.core.stream_settings import StreamConfig
from ebbtide.serve.brokers.link import (
    LOG,
    Letter,
    Message,
    Take,
    broker_errors,
    by_topic,
    topics_of,
)

_AT_ONCE = 256
_PATIENCE_SECONDS = 30
_ANSWERS = (NatsError, TimeoutError)


def make_link(stream: StreamConfig) -> JetStreamLink:
    """A link that is not connected yet."""
    return JetStreamLink(stream)


async def _log_fault(fault: Exception) -> None:
    """One line of our log; left alone, the library writes tracebacks with addresses."""
    LOG.warning("NATS: %s", type(fault).__name__)


class JetStreamLink:
    """A `Link` to NATS."""

    def __init__(self, stream: StreamConfig) -> None:
        self._stream = stream
        self._streams: dict[str, str] = {}
        self._client = Client()

    async def open(self) -> None:
        with broker_errors(*_ANSWERS):
            self._client = await nats.connect(
                self._stream.url, max_reconnect_attempts=-1, connect_timeout=5, error_cb=_log_fault
            )
        self._jet = self._client.jetstream()

    async def close(self) -> None:
        await self._client.close()

    async def subscribe(self, take: Take) -> PullReading:
        readers = []
        for topic in topics_of(self._stream):
            name = await self._ensure_consumer(topic)
            with broker_errors(*_ANSWERS):
                readers.append(await self._jet.pull_subscribe(topic, durable=self._durable(topic), stream=name))
        return PullReading(readers, take, size=self._stream.batch, wait_ms=self._stream.wait_ms)

    async def send(self, messages: Sequence[Message], *, dead: bool = False) -> None:
        with broker_errors(*_ANSWERS):
            for topic, part in by_topic(self._stream, messages, dead=dead).items():
                await self._ensure_stream(topic)
                waiting = [await self._jet.publish_async(topic, m.body, headers=_headers(m.headers)) for m in part]
                await asyncio.wait_for(asyncio.gather(*waiting), _PATIENCE_SECONDS)

    async def behind(self) -> int:
        with broker_errors(*_ANSWERS):
            return sum([await self._behind(topic) for topic in topics_of(self._stream)])

    async def letters(self) -> list[Letter]:
        topic, found = self._stream.dead_topic, list[Letter]()
        with broker_errors(*_ANSWERS):
            name = await self._ensure_stream(topic)
            reader = await self._jet.pull_subscribe(
                topic, stream=name, config=ConsumerConfig(ack_policy=JetAck.NONE, deliver_policy=DeliverPolicy.ALL)
            )
            waiting = (await reader.consumer_info()).num_pending or 0
            while waiting > 0:
                messages = await reader.fetch(min(_AT_ONCE, waiting), timeout=5)
                found += [Letter(_message(m), (name, m.metadata.sequence.stream)) for m in messages]
                waiting -= len(messages)
            await reader.unsubscribe()
        return found

    async def settle(self, done: Sequence[Letter], kept: Sequence[Letter]) -> None:
        with broker_errors(*_ANSWERS):
            for letter in done:
                name, number = letter.place
                await self._jet.delete_msg(name, number)

    def _durable(self, topic: str) -> str:
        return f"{self._stream.group}-{topic}".replace(".", "-")

    async def _ensure_stream(self, topic: str) -> str:
        """The stream that keeps the topic; a file-backed one is made if there is none."""
        if topic not in self._streams:
            try:
                self._streams[topic] = await self._jet.find_stream_name_by_subject(topic)
            except NotFoundError:
                await self._jet.add_stream(name=_name(topic), subjects=[topic])
                self._streams[topic] = _name(topic)
        return self._streams[topic]

    async def _ensure_consumer(self, topic: str) -> str:
        """The stream of the topic, after the group's consumer was made in it with the limits of the config."""
        with broker_errors(*_ANSWERS):
            name = await self._ensure_stream(topic)
            config = ConsumerConfig(
                durable_name=self._durable(topic), filter_subject=topic, ack_policy=JetAck.EXPLICIT,
                deliver_policy=DeliverPolicy.ALL, ack_wait=self._stream.retry_seconds, max_ack_pending=self._stream.prefetch,
            )  # fmt: skip
            await self._jet.add_consumer(name, config)
        return name

    async def _behind(self, topic: str) -> int:
        try:
            info = await self._jet.consumer_info(await self._ensure_stream(topic), self._durable(topic))
        except NotFoundError:
            return int((await self._jet.stream_info(await self._ensure_stream(topic))).state.messages)
        return (info.num_pending or 0) + (info.num_ack_pending or 0)


class PullReading:
    """Pulls micro-batches from durable consumers.

    FastStream's own pull loop ends for good when a request times out at its very end, where the client raises Python's
    TimeoutError and not its own.
    """

    def __init__(self, readers: Sequence[Any], take: Take, *, size: int, wait_ms: int) -> None:
        self._readers, self._take, self._size, self._wait = readers, take, size, wait_ms / 1000
        self._running = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_alive(self) -> bool:
        """Whether every loop still runs."""
        return self._running and not any(task.done() for task in self._tasks)

    async def start(self) -> None:
        """Begin to pull."""
        self._running = True
        self._tasks = [asyncio.create_task(self._pull(reader)) for reader in self._readers]

    async def stop(self) -> None:
        """Finish the micro-batches in hand, then end."""
        self._running = False
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for reader in self._readers:
            with suppress(NatsError):
                await reader.unsubscribe()

    async def _pull(self, reader: Any) -> None:
        while self._running:
            try:
                messages = await reader.fetch(self._size, timeout=self._wait)
            except TimeoutError:
                continue
            except NatsError as fault:  # the client connects anew by itself; what was in hand comes again
                LOG.warning("messages could not be pulled: %s", type(fault).__name__)
                await asyncio.sleep(1)
                continue
            await self._hand_over(messages)

    async def _hand_over(self, messages: Sequence[Any]) -> None:
        taken = True
        try:
            await self._take([_message(raw) for raw in messages])
        except RetryError:
            taken = False
        with suppress(NatsError):  # what is not told is not acknowledged: it comes again and counts once
            for raw in messages:
                await (raw.ack() if taken else raw.nak())


def _message(raw: Any) -> Message:
    return Message(raw.data, dict(raw.headers or {}))


def _headers(headers: Mapping[str, str]) -> dict[str, str] | None:
    """NATS headers are lines: a value with a line end would become two."""
    return {k: " ".join(v.split()) for k, v in headers.items()} or None


def _name(topic: str) -> str:
    return topic.replace(".", "-")
