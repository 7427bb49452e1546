"""The broker goes away under load and comes back: every message that it has taken is in the inbox once."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import uuid
from collections.abc import Iterator

import orjson
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from tests.conftest import _without
from tests.serve.live import event, wait_for
from tests.serve.proxy import Proxy
from tests.serve.stream.conftest import SHOP

from ebbtide.core.errors import RetryError
from ebbtide.core.settings import ShopConfig
from ebbtide.core.stream_settings import StreamConfig
from ebbtide.serve.brokers.link import open_link
from ebbtide.serve.stream import Stream
from ebbtide.serve.stream_thread import StreamThread
from ebbtide.store.database import Database
from ebbtide.store.inbox import Inbox


@pytest.fixture
def broker() -> Iterator[tuple[Redis, StreamConfig, Proxy]]:
    """A client of the server itself, and a stream whose worker reads through a proxy."""
    url = os.environ.get("EBBTIDE_TEST_REDIS", "redis://127.0.0.1:6379")
    with Redis.from_url(url) as client:
        try:
            client.ping()
        except RedisConnectionError as fault:
            _without("redis", type(fault).__name__)
        told = client.connection_pool.connection_kwargs
        proxy = Proxy(told.get("host", "127.0.0.1"), int(told.get("port", 6379)))
        topic = f"ebbtide-test-{uuid.uuid4().hex[:10]}"
        through = f"redis://127.0.0.1:{proxy.port}"
        yield (
            client,
            StreamConfig(broker="redis", url=through, topic=topic, group="test", batch=50, wait_ms=20, retry_seconds=1),
            proxy,
        )
        proxy.close()
        client.delete(topic, f"{topic}.dead")


@pytest.mark.timeout(120)
def test_a_broker_that_was_away_loses_and_doubles_nothing(
    broker: tuple[Redis, StreamConfig, Proxy], store: Database
) -> None:
    client, config, proxy = broker
    thread = StreamThread(lambda: Stream(config, ShopConfig(), SHOP, store), look_seconds=0.05, pause_seconds=0.05)
    sent, ended, inbox = list[str](), threading.Event(), Inbox(store)

    def send() -> None:
        while not ended.wait(0.005):
            client.xadd(config.topic, {"event": orjson.dumps(event(f"cut-{len(sent)}", f"u{len(sent) % 7}"))})
            sent.append(f"cut-{len(sent)}")

    def stored() -> int:
        return inbox.count(SHOP, 0)

    sender = threading.Thread(target=send)
    thread.start()
    sender.start()
    for _ in range(3):
        before = stored()
        wait_for(lambda before=before: stored() > before, "a message")  # type: ignore[misc]
        proxy.cut()
        before = len(sent)
        wait_for(lambda before=before: len(sent) > before + 20, "messages that wait")  # type: ignore[misc]
        proxy.mend()
    ended.set()
    sender.join()
    wait_for(lambda: stored() >= len(sent), "the last message")
    thread.stop()
    ids = [found.fields["event_id"] for found in inbox.after(SHOP, 0, 10**6)]
    assert sorted(ids) == sorted(sent)


def test_a_nats_server_that_is_away_is_one_line_a_try_and_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def look() -> None:
        link = open_link(StreamConfig(broker="nats", url="nats://ana:geheim@127.0.0.1:1", topic="events"))
        await asyncio.wait_for(link.open(), 1.0)

    with caplog.at_level(logging.WARNING), pytest.raises((TimeoutError, RetryError)):
        asyncio.run(look())
    told = [record for record in caplog.records if record.name.startswith(("nats", "ebbtide"))]
    assert [record.name for record in told] == ["ebbtide.stream"] * len(told)
    assert told
    assert not any(record.exc_info or "geheim" in record.getMessage() for record in told)
