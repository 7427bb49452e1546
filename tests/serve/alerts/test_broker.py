"""Alerts arrive on every kind of broker as CloudEvents, with one id however often they are sent."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator

import orjson
import pytest
from tests.conftest import _without
from tests.serve.alerts.receivers import closed_port
from tests.serve.alerts.test_delivery import DATA
from tests.serve.stream.conftest import _CLEANERS, BROKERS, broker_url, kafka_url

from ebbtide.core.alert_settings import ChannelConfig
from ebbtide.core.errors import RetryError
from ebbtide.core.stream_settings import StreamConfig
from ebbtide.serve.broker import BrokerSender, cloud_event
from ebbtide.serve.brokers.link import Message as Got
from ebbtide.serve.brokers.link import open_link
from ebbtide.serve.sending import Outcome
from ebbtide.store.outbox import Message

__all__ = ["kafka_url"]
BODY = orjson.dumps({"type": "alert.opened", "timestamp": DATA["at"], "data": {**DATA, "shop_id": "shop"}})


def message(number: int) -> Message:
    return Message(number, "bus", f"alr_{number}", 0, 0, 1, "u7", "", BODY)


@pytest.fixture(params=BROKERS)
def stream(request: pytest.FixtureRequest) -> Iterator[StreamConfig]:
    """A topic of this test's own on each broker."""
    topic = f"ebbtide-test-{uuid.uuid4().hex[:10]}"
    url = broker_url(request.param, request)
    made = StreamConfig(broker=request.param, url=url, topic=topic, group="test", batch=10, wait_ms=50)
    try:
        asyncio.run(_CLEANERS[request.param](made))
        asyncio.run(_send(made, []))
    except (OSError, RetryError, TimeoutError) as fault:
        _without(request.param, type(fault).__name__)
    yield made
    asyncio.run(_CLEANERS[request.param](made))


async def _send(stream: StreamConfig, messages: list[Message]) -> list[Outcome]:
    channel = ChannelConfig(name="bus", kind="broker", url=stream.url, topic=stream.topic, timeout="20s")
    sender = BrokerSender(channel)
    try:
        return [await sender.send(m) for m in messages]
    finally:
        await sender.close()


async def _read(stream: StreamConfig) -> list[Got]:
    """All messages of the topic, read as dead letters are: without a consumer group."""
    link = open_link(stream.model_copy(update={"topic": f"{stream.topic}-other", "dead_letters": stream.topic}))
    await link.open()
    try:
        return [letter.message for letter in await link.letters()]
    finally:
        await link.close()


def test_alerts_arrive_as_cloud_events_with_the_id_of_the_alert(stream: StreamConfig) -> None:
    assert asyncio.run(_send(stream, [message(1), message(2)])) == [Outcome(), Outcome()]
    got = asyncio.run(_read(stream))
    events = [orjson.loads(m.body) for m in got]
    assert sorted(e["id"] for e in events) == ["alr_1", "alr_2"]
    assert events[0] == cloud_event(message(int(events[0]["id"][-1])))
    assert {k.lower(): v for k, v in got[0].headers.items()}["content-type"] == "application/cloudevents+json"


def test_a_cloud_event_has_what_the_specification_requires() -> None:
    event = cloud_event(message(7))
    assert {k: event[k] for k in ("specversion", "id", "source", "type")} == {
        "specversion": "1.0", "id": "alr_7", "source": "/ebbtide/shops/shop", "type": "ebbtide.alert.opened",
    }  # fmt: skip
    assert event["time"] == "2024-01-01T00:00:00+00:00"
    assert event["subject"] == "risk", "the context attributes name no person: brokers log them"
    assert event["data"]["user_id"] == "u7"


@pytest.mark.parametrize("scheme", ["redis", "nats", "amqp"])
def test_a_broker_that_is_not_there_is_a_failure_in_time(scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{closed_port()}"
    channel = ChannelConfig(name="bus", kind="broker", url=url, timeout="1s")

    async def go() -> Outcome:
        sender = BrokerSender(channel)
        try:
            return await sender.send(message(1))
        finally:
            await sender.close()

    assert asyncio.run(go()).reason in {"broker_failed", "timeout"}
