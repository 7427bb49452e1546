"""How many events a second one worker takes from each broker into the store, and how long one alone takes.

    python benchmarks/stream.py [--events 20000] [--redis URL --nats URL --rabbitmq URL]

Events lie in the broker, one a message; the worker starts, and the clock runs from its first micro-batch to the last
acknowledged one. Kafka is the cluster that librdkafka itself plays, in this process. The store is SQLite with every
transaction on disk. Topics and queues are the benchmark's own and are not removed from the broker.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Producer

from ebbtide.core.settings import ShopConfig
from ebbtide.core.stream_settings import StreamConfig
from ebbtide.serve.brokers.link import Message, open_link
from ebbtide.serve.stream import Stream
from ebbtide.store.database import Database
from ebbtide.store.inbox import Inbox
from ebbtide.store.shops import Shops
from machine import machine_line

ALONE = 100


def message(number: int) -> Message:
    at = datetime.now(UTC) - timedelta(seconds=number)
    event = {
        "event_id": f"e{number}", "user_id": f"u{number % 5000}", "type": "product_view", "occurred_at": at.isoformat(),
        "item_id": f"i{number % 997}", "category": "c", "unit_price": 9.9, "channel": "web",
    }  # fmt: skip
    return Message(orjson.dumps(event), user=str(event["user_id"]))


async def measured(config: StreamConfig, count: int) -> str:
    with tempfile.TemporaryDirectory(prefix="ebbtide-stream-") as folder:
        store = Database.open(f"sqlite:///{Path(folder) / 'service.db'}")
        Shops(store).register("shop")
        link = open_link(config)
        await link.open()
        for start in range(0, count, 2_000):
            await link.send([message(k) for k in range(start, min(count, start + 2_000))])
        worker = Stream(config, ShopConfig(), "shop", store)
        await worker.start()
        while worker.tally.messages == 0:
            await asyncio.sleep(0.005)
        before, started, cpu = worker.tally.messages, time.perf_counter(), time.process_time()
        while worker.tally.messages < count:
            await asyncio.sleep(0.02)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        alone = []
        for number in range(count, count + ALONE):
            sent = time.perf_counter()
            await link.send([message(number)])
            while worker.tally.messages <= number:
                await asyncio.sleep(0.001)
            alone.append(time.perf_counter() - sent)
        await worker.stop()
        await link.close()
        assert Inbox(store).count("shop", 0) == count + ALONE
        store.close()
    taken = count - before
    alone.sort()
    return (
        f"{taken / seconds:9,.0f} events/s; {1e6 * cpu / taken:5.0f} us CPU an event; one alone, from sending to stored: "
        f"median {1e3 * alone[ALONE // 2]:.0f} ms, 95 % {1e3 * alone[int(0.95 * ALONE)]:.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--redis", default="redis://127.0.0.1:6379")
    parser.add_argument("--nats", default="nats://127.0.0.1:4222")
    parser.add_argument("--rabbitmq", default="amqp://guest:guest@127.0.0.1:5672/")
    asked = parser.parse_args()
    cluster = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
    hosts = ",".join(f"{b.host}:{b.port}" for b in cluster.list_topics(timeout=10).brokers.values())
    print(machine_line())
    kinds: dict[Any, str] = {
        "redis": asked.redis, "nats": asked.nats, "rabbitmq": asked.rabbitmq, "kafka": f"kafka://{hosts}",
    }  # fmt: skip
    for kind, url in kinds.items():
        config = StreamConfig(broker=kind, url=url, topic=f"ebbtide-bench-{uuid.uuid4().hex[:8]}", wait_ms=20)
        print(f"{kind:9} {asyncio.run(measured(config, asked.events))}")


if __name__ == "__main__":
    main()
