"""NATS JetStream: a durable pull consumer a topic, each topic in a stream of its own unless the shop made one for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import nats
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import TimeoutError as NatsTimeoutError
from nats.js.api import AckPolicy as JetAck
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

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
from ebbtide.serve.brokers.reading import FastStreamReading, returning

_AT_ONCE = 256
_PATIENCE_SECONDS = 30
_ANSWERS = (NatsError, NatsTimeoutError)


def make_link(stream: StreamConfig) -> JetStreamLink:
    """A link that is not connected yet."""
    return JetStreamLink(stream)


class JetStreamLink:
    """A `Link` to NATS."""

    def __init__(self, stream: StreamConfig) -> None:
        self._stream = stream
        self._streams: dict[str, str] = {}
        self._client = Client()

    async def open(self) -> None:
        with broker_errors(*_ANSWERS):
            self._client = await nats.connect(self._stream.url, max_reconnect_attempts=-1, connect_timeout=5)
        self._jet = self._client.jetstream()

    async def close(self) -> None:
        await self._client.close()

    async def subscribe(self, take: Take) -> FastStreamReading:
        broker = NatsBroker(self._stream.url, logger=LOG, apply_types=False)
        pull = PullSub(batch_size=self._stream.batch, timeout=self._stream.wait_ms / 1000, batch=True)
        for topic in topics_of(self._stream):
            stream = JStream(await self._ensure_consumer(topic), declare=False)
            broker.subscriber(
                topic, stream=stream, pull_sub=pull, durable=self._durable(topic), ack_policy=AckPolicy.NACK_ON_ERROR,
                decoder=_read_batch,
            )(returning(take))  # fmt: skip
        return FastStreamReading(broker, _ANSWERS)

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


async def _read_batch(message: Any) -> list[Message]:
    return [_message(raw) for raw in message.raw_message]


def _message(raw: Any) -> Message:
    return Message(raw.data, dict(raw.headers or {}))


def _headers(headers: Mapping[str, str]) -> dict[str, str] | None:
    """NATS headers are lines: a value with a line end would become two."""
    return {k: " ".join(v.split()) for k, v in headers.items()} or None


def _name(topic: str) -> str:
    return topic.replace(".", "-")
