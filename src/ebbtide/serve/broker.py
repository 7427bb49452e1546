"""Alerts as CloudEvents 1.0 on a topic of a message broker: structured JSON, durable when it has arrived.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import orjson

from ebbtide.core.alert_settings import ChannelConfig
from ebbtide.core.errors import RetryError
from ebbtide.core.stream_settings import BrokerKind, StreamConfig
from ebbtide.core.windows import parse_duration
from ebbtide.pipeline.alert_message import AlertMessage
from ebbtide.serve.brokers.link import Link, open_link
from ebbtide.serve.brokers.link import Message as BrokerMessage
from ebbtide.serve.sending import ARRIVED, Outcome
from ebbtide.store.outbox import Message

CONTENT_TYPE = "application/cloudevents+json"
_KINDS: dict[str, BrokerKind] = {
    "redis": "redis",
    "rediss": "redis",
    "nats": "nats",
    "tls": "nats",
    "amqp": "rabbitmq",
    "amqps": "rabbitmq",
    "kafka": "kafka",
}


class BrokerSender:
    """One topic of one broker. The connection is made at the first message, and anew after a failure."""

    def __init__(self, channel: ChannelConfig) -> None:
        kind = _KINDS[urlsplit(channel.url).scheme]
        self._stream = StreamConfig(broker=kind, url=channel.url, topic=channel.topic)
        self._seconds = parse_duration(channel.timeout).total_seconds()
        self._link: Link | None = None
        self._lock = asyncio.Lock()

    async def send(self, message: Message) -> Outcome:
        """Publish a message; it has arrived when the broker has confirmed it."""
        link: Link | None = None
        try:
            async with asyncio.timeout(self._seconds):
                link = await self._connected()
                await link.send([cloud_message(message)])
        except TimeoutError:
            await self._drop(link)
            return Outcome("timeout")
        except RetryError:
            await self._drop(link)
            return Outcome("broker_failed")
        return ARRIVED

    async def close(self) -> None:
        """Close the connection."""
        await self._drop(self._link)

    async def _connected(self) -> Link:
        async with self._lock:
            if self._link is None:
                link = open_link(self._stream)
                await link.open()
                self._link = link
            return self._link

    async def _drop(self, link: Link | None) -> None:
        """Give up a connection, unless another message has done so already."""
        if link is None or link is not self._link:
            return
        self._link = None
        try:
            async with asyncio.timeout(self._seconds):
                await link.close()
        except (TimeoutError, RetryError, OSError):
            pass  # it is broken; nothing is lost with it


def cloud_message(message: Message) -> BrokerMessage:
    """The message with the headers that brokers and readers know it by; NATS drops what it has seen under the same id."""
    headers = {"content-type": CONTENT_TYPE, "Nats-Msg-Id": message.message_id}
    return BrokerMessage(orjson.dumps(cloud_event(message)), headers, message.user_id)


def cloud_event(message: Message) -> dict[str, Any]:
    """The CloudEvent; sent again it has the same `source` and `id`, by which readers know it."""
    told = AlertMessage.read(message.body)
    return {
        "specversion": "1.0",
        "id": message.message_id,
        "source": f"/ebbtide/shops/{told.data['shop_id']}",
        "type": f"ebbtide.{told.kind}",
        "subject": str(told.data["rule"]),
        "time": told.at,
        "datacontenttype": "application/json",
        "data": dict(told.data),
    }
