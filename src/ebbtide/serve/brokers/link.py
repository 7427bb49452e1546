"""What the stream needs of a broker: messages in micro-batches, sending, how much waits, and the refused ones.

FastStream reads from Redis, RabbitMQ and Kafka, the client itself from NATS. What FastStream has no words for (dead letters
that are looked at and stay, how far a group is behind, pending messages of a dead worker) is asked of the broker's own client.
"""

from __future__ import annotations

import importlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import polars as pl

from ebbtide.core.errors import ConfigError, MissingExtraError, RetryError
from ebbtide.core.ids import buckets_of
from ebbtide.core.language import Text
from ebbtide.core.stream_settings import StreamConfig, stream_problems

LOG = logging.getLogger("ebbtide.stream")
_MODULES = {"redis": "redis_streams", "nats": "jetstream", "rabbitmq": "rabbitmq", "kafka": "kafka"}


@dataclass(frozen=True)
class Message:
    """One message: its body, its headers as text, and the user whom it is about ("" if unknown), for partitioning."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    user: str = ""


@dataclass(frozen=True)
class Letter:
    """A message among the dead letters, and where the broker finds it again."""

    message: Message
    place: Any


Take = Callable[[Sequence[Message]], Awaitable[None]]
"""Takes a micro-batch. When it returns, the messages are acknowledged; if it raises, they come again."""


class Reading(Protocol):
    """A subscription. `is_alive` turns false when it has ended by itself and must be made anew."""

    @property
    def is_alive(self) -> bool: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Link(Protocol):
    """An open connection to a broker. Every method raises RetryError if the broker does not answer."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def subscribe(self, take: Take) -> Reading:
        """Read as a member of the group, not started yet. Messages from before the group's first worker count too."""

    async def send(self, messages: Sequence[Message], *, dead: bool = False) -> None:
        """Send events to the topic of their users (or refused ones to the dead letters); returns when they are durable."""

    async def behind(self) -> int:
        """Messages that the group has not acknowledged yet."""

    async def letters(self) -> list[Letter]:
        """All dead letters that were not settled; they stay where they are."""

    async def settle(self, done: Sequence[Letter], kept: Sequence[Letter]) -> None:
        """Take away the letters that are done; `done` and `kept` are together what `letters` gave."""


def open_link(stream: StreamConfig) -> Link:
    """The link to the broker of the config, not connected yet.

    Raises ConfigError with all that is missing, MissingExtraError without the extra `serve`.
    """
    problems = stream_problems(stream)
    if problems:
        raise ConfigError(problems)
    try:
        module = importlib.import_module(f"ebbtide.serve.brokers.{_MODULES[stream.broker]}")
    except ImportError:
        raise MissingExtraError("serve", Text("Reading a stream", "读取消息流")) from None
    link: Link = module.make_link(stream)
    return link


def topics_of(stream: StreamConfig) -> list[str]:
    """The topics that this worker reads."""
    if stream.partitions == 1 or stream.broker == "kafka":
        return [stream.topic]
    return [f"{stream.topic}.{k}" for k in stream.read or range(stream.partitions)]


def all_topics(stream: StreamConfig) -> list[str]:
    """The topics over which events are spread."""
    return topics_of(stream.model_copy(update={"read": []}))


def by_topic(stream: StreamConfig, messages: Sequence[Message], *, dead: bool) -> dict[str, list[Message]]:
    """Which message goes where: all of one user to one topic."""
    if dead:
        return {stream.dead_topic: list(messages)}
    topics = all_topics(stream)
    if len(topics) == 1:
        return {topics[0]: list(messages)}
    found: dict[str, list[Message]] = {}
    places = buckets_of(pl.Series([m.user for m in messages], dtype=pl.String), len(topics))
    for message, place in zip(messages, places.tolist(), strict=True):
        found.setdefault(topics[place], []).append(message)
    return found


def consumer_name() -> str:
    """A name for this worker among those of its group."""
    return f"{socket.gethostname()}-{os.getpid()}"


@contextmanager
def broker_errors(*kinds: type[BaseException]) -> Iterator[None]:
    """A broker that does not answer becomes an error that can be tried again; addresses and contents stay out of it."""
    caught: tuple[type[BaseException], ...] = (*kinds, OSError)
    try:
        yield
    except caught as fault:
        raise RetryError(
            "the broker does not answer ({why}): check that it runs and that stream.url is right, and try again",
            "消息代理无响应（{why}）：请检查其是否运行、stream.url 是否正确，然后重试",
            why=type(fault).__name__,
        ) from None
