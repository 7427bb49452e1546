"""RabbitMQ: a durable queue a topic, acknowledged by hand, with a limit on what is in hand.

RabbitMQ hands messages out one by one, so micro-batches are gathered here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractQueue
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity
from faststream import AckPolicy
from faststream.exceptions import NackMessage
from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

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
from ebbtide.serve.brokers.reading import FastStreamReading, Gather


def make_link(stream: StreamConfig) -> RabbitLink:
    """A link that is not connected yet."""
    return RabbitLink(stream)


class RabbitLink:
    """A `Link` to RabbitMQ."""

    def __init__(self, stream: StreamConfig) -> None:
        self._stream = stream
        self._connection: Any = None
        self._channel: Any = None
        self._in_hand = 0

    async def open(self) -> None:
        with broker_errors(AMQPError):
            self._connection = await aio_pika.connect(self._stream.url, timeout=10)
            self._channel = await self._connection.channel()

    async def close(self) -> None:
        """Letters that were read and not settled are in their queue again."""
        if self._connection is not None:
            await self._connection.close()

    async def subscribe(self, take: Take) -> FastStreamReading:
        broker = RabbitBroker(self._stream.url, logger=LOG, apply_types=False)
        gather = Gather(take, size=self._stream.batch, wait_ms=self._stream.wait_ms)

        async def take_one(message: Message) -> None:
            self._in_hand += 1
            try:
                await gather.add(message)
            except RetryError:
                raise NackMessage from None
            finally:
                self._in_hand -= 1

        for topic in topics_of(self._stream):
            await self._ensure(topic)
            broker.subscriber(
                RabbitQueue(topic, declare=False), channel=Channel(prefetch_count=self._stream.prefetch),
                ack_policy=AckPolicy.NACK_ON_ERROR, decoder=_read_one,
            )(take_one)  # fmt: skip
        return FastStreamReading(broker, [AMQPError], beside=[gather.run])

    async def send(self, messages: Sequence[Message], *, dead: bool = False) -> None:
        """The broker confirms each message when it is on disk; all are on their way at once."""
        with broker_errors(AMQPError):
            for topic, part in by_topic(self._stream, messages, dead=dead).items():
                await self._ensure(topic)
                await asyncio.gather(*(self._publish(topic, message) for message in part))

    async def behind(self) -> int:
        """What waits in the queues, and what this worker has in hand; what others have in hand is not told."""
        with broker_errors(AMQPError):
            waiting = [await self._ensure(topic) for topic in topics_of(self._stream)]
        return sum(queue.declaration_result.message_count or 0 for queue in waiting) + self._in_hand

    async def letters(self) -> list[Letter]:
        found: list[Letter] = []
        with broker_errors(AMQPError):
            queue = await self._ensure(self._stream.dead_topic)
            while (raw := await queue.get(fail=False)) is not None:
                found.append(Letter(_message(raw), raw))
        return found

    async def settle(self, done: Sequence[Letter], kept: Sequence[Letter]) -> None:
        with broker_errors(AMQPError):
            for letter in done:
                await letter.place.ack()
            for letter in kept:
                await letter.place.nack(requeue=True)

    async def _publish(self, topic: str, message: Message) -> None:
        headers: Any = dict(message.headers)
        body = aio_pika.Message(message.body, headers=headers, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await self._channel.default_exchange.publish(body, routing_key=topic)

    async def _ensure(self, topic: str) -> AbstractQueue:
        """The queue as the shop has declared it; a durable classic one if there is none."""
        asking: AbstractChannel = await self._connection.channel()
        try:
            await asking.get_queue(topic)
        except ChannelNotFoundEntity:
            made: AbstractQueue = await self._channel.declare_queue(topic, durable=True)
            return made
        finally:
            await asking.close()
        found: AbstractQueue = await self._channel.get_queue(topic)
        return found


async def _read_one(message: Any) -> Message:
    return _message(message.raw_message)


def _message(raw: Any) -> Message:
    return Message(raw.body, {k: v if isinstance(v, str) else str(v) for k, v in (raw.headers or {}).items()})
