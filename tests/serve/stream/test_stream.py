"""The exam of the stream: every broker, the same laws."""

from __future__ import annotations

import asyncio
import math
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from tests.serve.stream.conftest import SHOP

from ebbtide.core.errors import ConfigError, RetryError
from ebbtide.core.settings import ShopConfig
from ebbtide.core.stream_settings import StreamConfig
from ebbtide.core.windows import to_us
from ebbtide.serve.brokers.link import Link, Message, open_link, topics_of
from ebbtide.serve.letter import FIELD, REASON
from ebbtide.serve.metrics import Metrics
from ebbtide.serve.stream import Lag, Stream, StreamHandler
from ebbtide.serve.stream_thread import StreamThread
from ebbtide.store.database import Database
from ebbtide.store.inbox import Inbox

NOW = datetime(2024, 6, 1, tzinfo=UTC)


def event(number: int, **fields: Any) -> dict[str, Any]:
    at = NOW - timedelta(minutes=number)
    return {
        "event_id": f"e{number}", "user_id": f"u{number % 7}", "type": "order", "occurred_at": at.isoformat(), **fields,
    }  # fmt: skip


def message(*events: Any, **headers: str) -> Message:
    body = events[0] if len(events) == 1 else list(events)
    user = str(events[0].get("user_id", "")) if isinstance(events[0], dict) else ""
    return Message(orjson.dumps(body), headers, user)


@asynccontextmanager
async def linked(config: StreamConfig) -> AsyncIterator[Link]:
    link = open_link(config)
    await link.open()
    try:
        yield link
    finally:
        await link.close()


@asynccontextmanager
async def working(config: StreamConfig, store: Database, **options: Any) -> AsyncIterator[Stream]:
    worker = Stream(config, ShopConfig(), SHOP, store, **{"clock": lambda: NOW, **options})
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


async def until(holds: Callable[[], bool | Awaitable[bool]], seconds: float = 30.0) -> None:
    """Wait for something to become true; fails if it does not."""
    async with asyncio.timeout(seconds):
        while True:
            found = holds()
            if found if isinstance(found, bool) else await found:
                return
            await asyncio.sleep(0.02)


def ids(store: Database) -> list[str]:
    return [stored.fields["event_id"] for stored in Inbox(store).after(SHOP, 0, 10**6)]


def test_every_event_arrives_once_however_often_it_is_sent_and_what_cannot_enter_is_a_dead_letter(
    stream: StreamConfig, store: Database
) -> None:
    """Sent before anybody read, sent while somebody reads, sent twice, sent in lists, refused in two ways."""

    async def play() -> None:
        rng = random.Random(1)
        early = [message(event(k)) for k in range(60)]
        late = [message(event(k), event(k + 1), event(k + 2)) for k in range(60, 120, 3)]
        bad = [
            message(event(500, colour="red"), trace="t1"),
            Message(b"\xff no json", {"trace": "t2"}),
            message(event(130), event(131, unit_price=-1.0)),
        ]
        async with linked(stream) as link:
            await link.send(early)
            async with working(stream, store) as worker:
                mixed = late + bad + early[:30]
                rng.shuffle(mixed)
                await link.send(mixed)
                await until(lambda: worker.tally.messages >= len(early) + len(mixed))
                await until(lambda: _is(link.behind(), 0))
                assert worker.is_alive
                assert worker.tally.accepted == 121
                assert worker.tally.duplicates == 30
                assert worker.tally.refused == {"unknown_field": 1, "bad_json": 1, "negative_price": 1}
                lag = await worker.lag()
                assert (lag.messages, lag.unscored) == (0, 121)
            letters = await link.letters()
        found = {letter.message.headers[REASON]: letter.message for letter in letters}
        assert len(letters) == 3
        assert found["bad_json"].body == b"\xff no json"
        assert found["bad_json"].headers["trace"] == "t2"
        assert found["unknown_field"].body == bad[0].body
        assert found["unknown_field"].headers[FIELD] == "colour"
        assert orjson.loads(found["negative_price"].body)["event_id"] == "e131"

    asyncio.run(play())
    assert sorted(ids(store)) == sorted(f"e{k}" for k in [*range(120), 130])


async def _is(asked: Awaitable[int], wanted: int) -> bool:
    return await asked == wanted


def test_what_a_worker_took_and_did_not_acknowledge_goes_to_another(stream: StreamConfig, store: Database) -> None:
    """The first worker's store refuses; the message is not lost, not acknowledged, and arrives with the second."""

    async def play() -> None:
        async with linked(stream) as link:
            refused = asyncio.Event()

            async def refuse(messages: Sequence[Message]) -> None:
                refused.set()
                raise RetryError("no", "否")

            first = await link.subscribe(refuse)
            await first.start()
            await link.send([message(event(k)) for k in range(5)])
            await asyncio.wait_for(refused.wait(), 20)
            await first.stop()
            assert await link.behind() >= 1
            async with working(stream, store):
                await until(lambda: len(ids(store)) == 5)
                await until(lambda: _is(link.behind(), 0))

    asyncio.run(play())
    assert sorted(ids(store)) == [f"e{k}" for k in range(5)]


def test_what_is_in_hand_is_not_acknowledged_with_what_was_before(kafka_url: str, store: Database) -> None:
    """A commit that names no offsets would take those of the next micro-batch as well."""
    stream = StreamConfig(
        broker="kafka", url=kafka_url, topic=f"ebbtide-test-{uuid.uuid4().hex[:10]}", group="ahead", batch=20
    )
    total, lost = 1_000, list[int]()

    async def go() -> None:
        async with linked(stream) as link:
            await link.send([message(event(k)) for k in range(total)])
            taken = 0

            async def take(messages: Sequence[Message]) -> None:
                nonlocal taken
                await asyncio.sleep(0.01)
                if await link.behind() < total - taken:
                    lost.append(taken)
                taken += len(messages)

            reading = await link.subscribe(take)
            await reading.start()
            await until(lambda: taken == total)
            await reading.stop()
            assert await link.behind() == 0

    asyncio.run(go())
    assert not lost


def test_letters_stay_until_they_are_settled(stream: StreamConfig) -> None:
    async def play() -> None:
        async with linked(stream) as link:
            assert await link.letters() == []
            await link.send([message({"n": k}, n=str(k)) for k in range(4)], dead=True)
            assert len(await link.letters()) == 4
        async with linked(stream) as link:
            letters = await link.letters()
            done = [x for x in letters if x.message.headers["n"] in "02"]
            await link.settle(done, [x for x in letters if x not in done])
        async with linked(stream) as link:
            assert sorted(x.message.headers["n"] for x in await link.letters()) == ["1", "3"]

    asyncio.run(play())


def test_users_are_spread_over_partitions_and_each_worker_reads_its_own(stream: StreamConfig, store: Database) -> None:
    spread = stream.model_copy(update={"partitions": 4})
    if stream.broker == "kafka":  # it deals out partitions of its own
        assert topics_of(spread) == [stream.topic]
        return

    async def play() -> None:
        async with linked(spread) as link:
            await link.send([message(event(k)) for k in range(70)])
        async with working(spread.model_copy(update={"read": [0, 2]}), store) as worker:
            await until(lambda: _lag(worker, 0))
            half = {e.user_id for e in Inbox(store).after(SHOP, 0, 100)}
        async with working(spread.model_copy(update={"read": [1, 3]}), store) as worker:
            await until(lambda: len(ids(store)) == 70)
        assert 0 < len(half) < 7
        assert sum(e.user_id in half for e in Inbox(store).after(SHOP, 0, 100)) == 10 * len(half)

    asyncio.run(play())


async def _lag(worker: Stream, wanted: int) -> bool:
    return worker.tally.messages > 0 and (await worker.lag()).messages == wanted


def test_a_thread_connects_anew_and_counts_over_all_connections(store: Database, kafka_url: str) -> None:
    """Twice the broker is not there, then it is; the group is lost once in between."""
    there = StreamConfig(
        broker="kafka", url=kafka_url, topic=f"t{uuid.uuid4().hex}", group="g", wait_ms=50, retry_seconds=1
    )
    nowhere = StreamConfig(broker="redis", url="redis://127.0.0.1:1")
    plans, made = [nowhere, nowhere, there, there], list[Stream]()

    def make() -> Stream:
        made.append(Stream(plans[len(made)], ShopConfig(), SHOP, store, clock=lambda: NOW))
        return made[-1]

    async def send(*numbers: int) -> None:
        async with linked(there) as link:
            await link.send([message(event(k)) for k in numbers])

    thread = StreamThread(make, look_seconds=0.05, pause_seconds=0.05)
    thread.start()
    try:
        asyncio.run(send(1, 2))
        asyncio.run(until(lambda: thread.tally.accepted == 2))
        made[-1]._reading._subscribers[0].running = False  # type: ignore[union-attr]  # as after the loss of its group
        asyncio.run(send(2, 3))
        asyncio.run(until(lambda: thread.tally.accepted == 3))
        asyncio.run(until(lambda: thread.lag is not None and thread.lag.messages == 0))
    finally:
        thread.stop()
    assert (len(made), thread.tally.duplicates, thread.lag) == (4, 1, None)
    assert sorted(ids(store)) == ["e1", "e2", "e3"]


class Kept:
    """Takes dead letters down."""

    def __init__(self) -> None:
        self.letters: list[Message] = []

    async def __call__(self, letters: Sequence[Message]) -> None:
        self.letters += letters


def handler(store: Database, refuse: Any, clock: Callable[[], datetime] = lambda: NOW) -> StreamHandler:
    return StreamHandler(Inbox(store), SHOP, ShopConfig(), topic="t", refuse=refuse, clock=clock)


def test_a_late_event_is_known_from_its_arrival_on(store: Database) -> None:
    moments = iter([NOW, NOW + timedelta(days=1)])
    taking = handler(store, Kept(), lambda: next(moments))
    asyncio.run(taking.take([message(event(1))]))
    asyncio.run(taking.take([message(event(60 * 24 * 30))]))
    first, late = Inbox(store).after(SHOP, 0, 10)
    assert late.fields["occurred_at"] < first.fields["occurred_at"]
    assert late.fields["ingested_at"] == to_us(NOW + timedelta(days=1))


def test_made_ids_do_not_depend_on_what_comes_together(store: Database) -> None:
    """The same message alone and in company is the same event; equal events of one message stay two."""
    click = {k: v for k, v in event(1).items() if k != "event_id"}
    taking = handler(store, Kept())
    asyncio.run(taking.take([message(click), message(click), message(click, click)]))
    asyncio.run(taking.take([message(click)]))
    assert len(ids(store)) == 2


def test_the_body_of_the_api_is_a_message_too(store: Database) -> None:
    asyncio.run(handler(store, Kept()).take([message({"events": [event(1), event(2)]})]))
    assert ids(store) == ["e1", "e2"]


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"7", b'"x"', b"[[]]", b'{"events": 3}', b"[" * 5000])
def test_no_body_stops_the_stream(store: Database, body: bytes) -> None:
    kept = Kept()
    asyncio.run(handler(store, kept).take([Message(body), message(event(1))]))
    assert ids(store) == ["e1"]
    assert len(kept.letters) == (0 if body == b"[]" else 1)


def test_a_letter_that_was_replayed_and_refused_again_says_the_newest_reason(store: Database) -> None:
    kept = Kept()
    asyncio.run(
        handler(store, kept).take([message(event(1, unit_price=-1.0), **{REASON: "bad_json", FIELD: "x", "a": "b"})])
    )
    assert kept.letters[0].headers[REASON] == "negative_price"
    assert kept.letters[0].headers["a"] == "b"


def test_dead_letters_that_cannot_be_written_bring_the_messages_back_and_nothing_is_doubled(store: Database) -> None:
    async def refuse(_: Sequence[Message]) -> None:
        raise RetryError("no", "否")

    mixed = [message(event(1)), Message(b"?")]
    with pytest.raises(RetryError):
        asyncio.run(handler(store, refuse).take(mixed))
    kept = Kept()
    asyncio.run(handler(store, kept).take(mixed))
    assert ids(store) == ["e1"]
    assert len(kept.letters) == 1


def test_all_that_is_missing_is_said_at_once_and_no_password_is_shown() -> None:
    with pytest.raises(ConfigError, match="name a broker"):
        open_link(StreamConfig())
    with pytest.raises(ConfigError, match="SECRET is not set") as caught:
        open_link(StreamConfig(broker="redis", url="redis://:${SECRET}@host", partitions=2, read=[2]))
    assert len(caught.value.problems) == 2
    assert "hunter2" not in repr(StreamConfig(broker="redis", url="redis://:hunter2@host"))


@pytest.mark.parametrize(
    ("broker", "url"),
    [
        ("redis", "redis://127.0.0.1:1"),
        ("rabbitmq", "amqp://guest:hunter2@127.0.0.1:1/"),
        ("kafka", "kafka://127.0.0.1:1"),
    ],
)
def test_a_broker_that_is_not_there_can_be_tried_again_and_its_address_stays_out(
    broker: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ebbtide.serve.brokers.kafka._ANSWER_SECONDS", 1.0)

    async def play() -> None:
        async with linked(StreamConfig(broker=broker, url=url)):
            pass

    with pytest.raises(RetryError, match="does not answer") as caught:
        asyncio.run(play())
    assert "127.0.0.1" not in str(caught.value)


def test_the_lag_is_told_to_prometheus_over_all_shops() -> None:
    metrics = Metrics()

    def figure(name: str) -> float | None:
        return metrics.registry.get_sample_value(f"ebbtide_stream_{name}")

    metrics.lagged("a", Lag(5, 1.5, 3, 0.2))
    metrics.lagged("b", Lag(2, None, 0, 0.7))
    assert (figure("lag_messages"), figure("lag_seconds"), figure("unscored_seconds")) == (7, 1.5, 0.7)
    metrics.lagged("b", None)
    assert math.isnan(figure("lag_messages") or 0.0)
    assert figure("lag_seconds") == 1.5
