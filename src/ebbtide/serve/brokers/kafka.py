"""Kafka: a consumer group on one topic, whose partitions the broker deals out; events are keyed by user.

The url is `kafka://HOST:9092,HOST:9092`, with any property of librdkafka behind a question mark, for example
`?security.protocol=sasl_ssl&sasl.mechanism=PLAIN`; user and password may stand before the hosts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from faststream import AckPolicy
from faststream.confluent import KafkaBroker, Topic
from faststream.confluent.message import KafkaMessage

from ebbtide.core.errors import ConfigError, RetryError
from ebbtide.core.language import Text
from ebbtide.core.stream_settings import StreamConfig
from ebbtide.serve.brokers.link import LOG, Letter, Message, Take, broker_errors
from ebbtide.serve.brokers.reading import FastStreamReading, returning

_PATIENCE_SECONDS = 30.0
_ANSWER_SECONDS = 10.0
_SHORTEST_SESSION_MS, _LONGEST_SESSION_MS = 6_000, 60_000
_AT_ONCE = 1_000
_T = TypeVar("_T")


def make_link(stream: StreamConfig) -> KafkaLink:
    """A link that is not connected yet."""
    return KafkaLink(stream)


def client_properties(url: str) -> dict[str, str]:
    """The properties of librdkafka that a url says.

    >>> client_properties("kafka://shop:secret@a:9092,b:9092?security.protocol=sasl_ssl")["bootstrap.servers"]
    'a:9092,b:9092'

    Raises ConfigError if it is no such url.
    """
    parts = urlsplit(url)
    account, _, hosts = parts.netloc.rpartition("@")
    if parts.scheme != "kafka" or not hosts:
        raise ConfigError(
            [
                Text(
                    "stream.url: expected kafka://HOST:9092,HOST:9092?PROPERTY=VALUE",
                    "stream.url：应为 kafka://主机:9092,主机:9092?属性=值",
                )
            ]
        )
    found = {"bootstrap.servers": hosts, **dict(parse_qsl(parts.query))}
    if account:
        user, _, password = account.partition(":")
        found |= {"sasl.username": unquote(user), "sasl.password": unquote(password)}
    return found


class KafkaLink:
    """A `Link` to Kafka."""

    def __init__(self, stream: StreamConfig) -> None:
        self._stream = stream
        self._properties = client_properties(stream.url)
        self._producer: Any = None

    async def open(self) -> None:
        with broker_errors(KafkaException):
            self._producer = Producer(
                {**self._properties, "linger.ms": 5, "message.timeout.ms": int(_PATIENCE_SECONDS * 1000)}, logger=LOG
            )
            await _aside(lambda: self._producer.list_topics(timeout=_ANSWER_SECONDS))

    async def close(self) -> None:
        if self._producer is not None:
            await _aside(lambda: self._producer.flush(5))

    async def subscribe(self, take: Take) -> FastStreamReading:
        properties: Any = dict(self._properties)
        servers = properties.pop("bootstrap.servers")
        broker = KafkaBroker(servers.split(","), config=properties, logger=LOG, apply_types=False)
        session = min(max(self._stream.retry_seconds * 1000, _SHORTEST_SESSION_MS), _LONGEST_SESSION_MS)

        async def parse(raw: Any) -> KafkaMessage:
            """Headers are read by `_message`, which never fails: FastStream's own parser does on bytes that are no text."""
            consumer = _Committing(subscriber.consumer, raw)
            return KafkaMessage(body=[], raw_message=raw, consumer=consumer, is_manual=True)

        subscriber: Any = broker.subscriber(
            Topic(self._stream.topic, declare=False), group_id=self._stream.group, batch=True, max_records=self._stream.batch,
            polling_interval=self._stream.wait_ms / 1000, auto_offset_reset="earliest", session_timeout_ms=session,
            heartbeat_interval_ms=session // 3, ack_policy=AckPolicy.NACK_ON_ERROR, parser=parse, decoder=_read_batch,
        )  # fmt: skip
        subscriber(returning(take))
        return FastStreamReading(broker, [KafkaException])

    async def send(self, messages: Sequence[Message], *, dead: bool = False) -> None:
        topic = self._stream.dead_topic if dead else self._stream.topic
        with broker_errors(KafkaException, BufferError):
            await _aside(lambda: self._produce(topic, messages))

    async def behind(self) -> int:
        with broker_errors(KafkaException):
            return await _aside(lambda: sum(high - at for at, high in self._places(self._stream.topic, "").values()))

    async def letters(self) -> list[Letter]:
        with broker_errors(KafkaException):
            return await _aside(self._read_letters)

    async def settle(self, done: Sequence[Letter], kept: Sequence[Letter]) -> None:
        """Kafka cannot take single messages away: those that are kept are written anew behind the others."""
        await self.send([letter.message for letter in kept], dead=True)
        reached: dict[int, int] = {}
        for letter in (*done, *kept):
            partition, offset = letter.place
            reached[partition] = max(reached.get(partition, 0), offset + 1)
        with broker_errors(KafkaException):
            await _aside(lambda: self._commit(reached))

    def _produce(self, topic: str, messages: Sequence[Message]) -> None:
        failed: list[Any] = []

        def told(fault: Any, _: Any) -> None:
            if fault is not None:
                failed.append(fault)

        for message in messages:
            headers: Any = [(name, value.encode()) for name, value in message.headers.items()]
            while True:
                try:
                    self._producer.produce(
                        topic, message.body, key=message.user or None, headers=headers, on_delivery=told
                    )
                    break
                except BufferError:  # the queue of what is on its way is full
                    self._producer.poll(0.1)
        if self._producer.flush(_PATIENCE_SECONDS) or failed:
            raise RetryError(
                "the broker did not take all messages: check its log and try again",
                "消息代理未接收全部消息：请检查其日志后重试",
            )

    def _reader(self, suffix: str) -> Consumer:
        return Consumer(
            {**self._properties, "group.id": f"{self._stream.group}{suffix}", "enable.auto.commit": False}, logger=LOG
        )

    def _places(self, topic: str, suffix: str) -> dict[int, tuple[int, int]]:
        """By partition: the next message of the group, and the number behind the last one."""
        reader, found = self._reader(suffix), {}
        try:
            about = reader.list_topics(topic, timeout=_ANSWER_SECONDS).topics[topic]
            for asked in reader.committed(
                [TopicPartition(topic, k) for k in about.partitions], timeout=_ANSWER_SECONDS
            ):
                low, high = reader.get_watermark_offsets(asked, timeout=_ANSWER_SECONDS)
                found[asked.partition] = (max(asked.offset, low) if asked.offset >= 0 else low, high)
        finally:
            reader.close()
        return found

    def _read_letters(self) -> list[Letter]:
        topic, found = self._stream.dead_topic, list[Letter]()
        waiting = {k: (at, high) for k, (at, high) in self._places(topic, _REPLAY).items() if at < high}
        reader = self._reader(_REPLAY)
        try:
            reader.assign([TopicPartition(topic, k, at or OFFSET_BEGINNING) for k, (at, _) in waiting.items()])
            while waiting:
                left = sum(high for _, high in waiting.values()) - sum(at for at, _ in waiting.values())
                messages = reader.consume(min(left, _AT_ONCE), timeout=_PATIENCE_SECONDS)
                if not messages:
                    raise RetryError(
                        "the broker stopped giving dead letters: try again", "消息代理不再给出死信：请重试"
                    )
                for raw in messages:
                    if raw.error() is not None:
                        raise KafkaException(raw.error())
                    partition, offset = raw.partition() or 0, raw.offset() or 0
                    if partition not in waiting:
                        continue  # written meanwhile
                    found.append(Letter(_message(raw), (partition, offset)))
                    high = waiting[partition][1]
                    waiting[partition] = (offset + 1, high)
                    if offset + 1 >= high:
                        del waiting[partition]
        finally:
            reader.close()
        return found

    def _commit(self, reached: dict[int, int]) -> None:
        reader = self._reader(_REPLAY)
        try:
            places = [TopicPartition(self._stream.dead_topic, k, offset) for k, offset in reached.items()]
            if places:
                reader.commit(offsets=places, asynchronous=False)
        finally:
            reader.close()


_REPLAY = ".replay"


async def _aside(ask: Callable[[], _T]) -> _T:
    """librdkafka waits in the calling thread; the loop goes on meanwhile."""
    return await asyncio.to_thread(ask)


class _Committing:
    """The consumer as one micro-batch sees it: its acknowledgement covers these messages and no others.

    FastStream's own commit names no offsets, so librdkafka takes, a moment later, whatever it has handed out by then: the next
    micro-batch too, which a kill would lose.
    """

    def __init__(self, consumer: Any, messages: Sequence[Any]) -> None:
        self._consumer, self._messages = consumer, messages

    async def commit(self) -> None:
        behind: dict[tuple[str, int], int] = {}
        for raw in self._messages:
            place = (raw.topic(), raw.partition())
            behind[place] = max(behind.get(place, 0), raw.offset() + 1)
        places = [TopicPartition(topic, partition, offset) for (topic, partition), offset in behind.items()]
        self._consumer.consumer.commit(offsets=places, asynchronous=True)

    async def seek(self, topic: str, partition: int, offset: int) -> None:
        await self._consumer.seek(topic, partition, offset)


async def _read_batch(message: Any) -> list[Message]:
    return [_message(raw) for raw in message.raw_message]


def _message(raw: Any) -> Message:
    headers = {name: (value or b"").decode("utf-8", "replace") for name, value in raw.headers() or ()}
    return Message(raw.value() or b"", headers)
