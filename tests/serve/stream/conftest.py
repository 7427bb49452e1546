"""One stream on each kind of broker, with names of its own that are gone after the test."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import nats
import pytest
from confluent_kafka import Producer
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from tests.conftest import _without

from ebbtide.core.stream_settings import StreamConfig
from ebbtide.serve.brokers.link import all_topics
from ebbtide.store.database import Database
from ebbtide.store.shops import Shops

BROKERS = ("redis", "nats", "rabbitmq", "kafka")
SHOP = "shop"


@pytest.fixture(scope="session")
def kafka_url() -> Iterator[str]:
    """A cluster that librdkafka itself plays, for clients in other processes too. It ends with its producer."""
    cluster = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
    hosts = [f"{b.host}:{b.port}" for b in cluster.list_topics(timeout=10).brokers.values()]
    yield f"kafka://{','.join(hosts)}"
    cluster.flush(1)


def broker_url(kind: str, request: pytest.FixtureRequest) -> str:
    """Where the broker is: `EBBTIDE_TEST_REDIS`, `..._NATS`, `..._RABBITMQ`, else on this machine."""
    if kind == "kafka":
        return str(request.getfixturevalue("kafka_url"))
    usual = {
        "redis": "redis://127.0.0.1:6379",
        "nats": "nats://127.0.0.1:4222",
        "rabbitmq": "amqp://guest:guest@127.0.0.1:5672/",
    }
    return os.environ.get(f"EBBTIDE_TEST_{kind.upper()}", usual[kind])


@pytest.fixture(params=BROKERS)
def stream(request: pytest.FixtureRequest) -> Iterator[StreamConfig]:
    """A stream on each broker: small micro-batches, quick redelivery."""
    kind = request.param
    config = StreamConfig(
        broker=kind, url=broker_url(kind, request), topic=f"ebbtide-test-{uuid.uuid4().hex[:10]}", group="test",
        batch=100, wait_ms=50, retry_seconds=1,
    )  # fmt: skip
    try:
        asyncio.run(_CLEANERS[kind](config))
    except (OSError, RedisConnectionError, nats.errors.NoServersError, TimeoutError) as fault:
        _without(kind, type(fault).__name__)
    yield config
    asyncio.run(_CLEANERS[kind](config))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    """An embedded store that knows one shop."""
    opened = Database.open(f"sqlite:///{tmp_path}/service.db")
    Shops(opened).register(SHOP)
    yield opened
    opened.close()


def _topics(config: StreamConfig) -> list[str]:
    spread = all_topics(config.model_copy(update={"partitions": 4})) if config.broker != "kafka" else []
    return [config.topic, config.dead_topic, *spread]


async def _clean_redis(config: StreamConfig) -> None:
    with Redis.from_url(config.url) as client:
        client.delete(*_topics(config))


async def _quiet(_: Exception) -> None:
    """The client would log that nobody is there."""


async def _clean_nats(config: StreamConfig) -> None:
    client = await nats.connect(config.url, allow_reconnect=False, error_cb=_quiet)
    jet = client.jetstream()
    for topic in _topics(config):
        try:
            await jet.delete_stream(topic.replace(".", "-"))
        except nats.js.errors.NotFoundError:
            continue
    await client.close()


async def _clean_rabbitmq(config: StreamConfig) -> None:
    connection = await aio_pika.connect(config.url)
    channel = await connection.channel()
    for topic in _topics(config):
        await channel.queue_delete(topic)
    await connection.close()


async def _clean_kafka(config: StreamConfig) -> None:
    """The cluster goes with the session."""


_CLEANERS = {"redis": _clean_redis, "nats": _clean_nats, "rabbitmq": _clean_rabbitmq, "kafka": _clean_kafka}
