"""The stream: events from a message broker into the inbox, each once, and what cannot enter into the dead letters.

    message -> micro-batch -> `read_events` -> `Inbox.add`, one transaction -> acknowledged

A message is acknowledged only when its events are durable. Killed before that, the worker leaves it to be given again; killed
behind it, what comes again is known by its id. So an event counts once, and from its arrival on: `ingested_at` is the moment
of the transaction, however late the event is.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import compress
from typing import Any

import orjson

from ebbtide.core.errors import EbbtideError, RetryError
from ebbtide.core.settings import ShopConfig
from ebbtide.core.stream_settings import StreamConfig
from ebbtide.core.windows import to_us
from ebbtide.events.live_event import EventRules, LiveEvent, Refusal, read_events
from ebbtide.events.validate import Reason, latest_us
from ebbtide.serve.brokers.link import LOG, Link, Message, Reading, open_link
from ebbtide.serve.letter import FIELD, REASON, REFUSED_AT, TOPIC, original_headers
from ebbtide.store.database import Database
from ebbtide.store.inbox import SCORED, Cursors, Inbox, Incoming

Clock = Callable[[], datetime]
_LONGEST_PAUSE_SECONDS = 10.0


def system_clock() -> datetime:
    """The machine's time, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Lag:
    """How far what is known trails behind what has happened.

    `messages`: in the broker, not acknowledged; `occurred_seconds`: from event to arrival, median of the newest micro-batch;
    `unscored`: events in the inbox whose users wait for a new score; `unscored_seconds`: how long the oldest has waited.
    """

    messages: int | None
    occurred_seconds: float | None
    unscored: int
    unscored_seconds: float


@dataclass
class Tally:
    """What came of the messages since the start."""

    messages: int = 0
    batches: int = 0
    accepted: int = 0
    duplicates: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    occurred_seconds: float | None = None


class StreamHandler:
    """The one handler for all brokers. `refuse` takes dead letters; `stored` hears how many new events are in the inbox."""

    def __init__(
        self, inbox: Inbox, shop_id: str, shop: ShopConfig, *, topic: str, refuse: Callable[[Sequence[Message]], Any],
        clock: Clock = system_clock, stored: Callable[[Sequence[float]], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.tally = Tally()
        self._inbox, self._shop_id, self._shop, self._topic = inbox, shop_id, shop, topic
        self._refuse, self._clock, self._stored = refuse, clock, stored
        self._failures = 0

    async def take(self, messages: Sequence[Message]) -> None:
        """Store the events of a micro-batch; when it returns they are durable, and the refused ones are dead letters.

        Raises RetryError, after a pause that grows, if store or broker refuses: then the messages have to come again.
        """
        now = self._clock()
        events, letters, reasons = self._sorted(messages, now)
        try:
            fresh = await asyncio.to_thread(self._inbox.add, events, to_us(now)) if events else []
            if letters:
                await self._refuse(letters)
        except RetryError as fault:
            self._failures += 1
            LOG.warning("a micro-batch of %d messages waits: %s", len(messages), fault)
            await asyncio.sleep(min(_LONGEST_PAUSE_SECONDS, 0.1 * 2 ** min(self._failures, 10)))
            raise
        self._failures = 0
        self._count(messages, events, fresh, reasons, now)
        ages = (to_us(now) - event.fields["occurred_at"] for event in compress(events, fresh))
        self._stored([max(0.0, age / 1e6) for age in ages])

    def _sorted(self, messages: Sequence[Message], now: datetime) -> tuple[list[Incoming], list[Message], Counter[str]]:
        """The events that may enter, and a letter for each that may not.

        Every message is read alone, so that ids that are made do not depend on what comes with it.
        """
        rules = EventRules(latest_us(now), self._shop.timezone, self._shop.currency)
        events, letters, reasons = list[Incoming](), list[Message](), Counter[str]()
        for message in messages:
            raw = _events_of(message.body)
            found = [Refusal(Reason.BAD_JSON)] if raw is None else read_events(raw, rules)
            for place, event in enumerate(found):
                if isinstance(event, LiveEvent):
                    events.append(Incoming(self._shop_id, event.event_id, event.user_id, event.fields))
                    continue
                alone = raw is None or len(found) == 1
                letters.append(self._letter(message, message.body if alone else orjson.dumps(raw[place]), event, now))  # type: ignore[index]
                reasons[event.reason.value] += 1
        return events, letters, reasons

    def _letter(self, message: Message, body: bytes, refusal: Refusal, now: datetime) -> Message:
        """The payload as it came, its headers, and why it was refused."""
        about = {REASON: refusal.reason.value, TOPIC: self._topic, REFUSED_AT: now.astimezone(UTC).isoformat()}
        named = {FIELD: refusal.field} if refusal.field else {}
        return Message(body, {**original_headers(message.headers), **about, **named})

    def _count(
        self, messages: Sequence[Message], events: Sequence[Incoming], fresh: Sequence[bool], reasons: Counter[str],
        now: datetime,
    ) -> None:  # fmt: skip
        tally = self.tally
        tally.messages += len(messages)
        tally.batches += 1
        tally.accepted += sum(fresh)
        tally.duplicates += len(fresh) - sum(fresh)
        tally.refused.update(reasons)
        if events:
            middle = statistics.median(event.fields["occurred_at"] for event in events)
            tally.occurred_seconds = (to_us(now) - middle) / 1e6


class Stream:
    """A worker that reads the stream of one shop, beside others of its group here or elsewhere."""

    def __init__(
        self, stream: StreamConfig, shop: ShopConfig, shop_id: str, database: Database, *, clock: Clock = system_clock,
        stored: Callable[[Sequence[float]], None] = lambda _: None,
    ) -> None:  # fmt: skip
        """Raises ConfigError, MissingExtraError."""
        self._link: Link = open_link(stream)
        self._shop_id, self._clock = shop_id, clock
        self._inbox, self._cursors = Inbox(database), Cursors(database)
        self._handler = StreamHandler(
            self._inbox, shop_id, shop, topic=stream.topic, refuse=self._bury, clock=clock, stored=stored
        )
        self._reading: Reading | None = None

    @property
    def tally(self) -> Tally:
        """What came of the messages since the start."""
        return self._handler.tally

    @property
    def is_alive(self) -> bool:
        """Whether it reads; false also if the broker has lost the group, after which it must be started anew."""
        return self._reading is not None and self._reading.is_alive

    async def start(self) -> None:
        """Connect and begin to read. Raises RetryError if the broker does not answer."""
        try:
            await self._link.open()
            self._reading = await self._link.subscribe(self._handler.take)
            await self._reading.start()
        except EbbtideError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Finish the micro-batch in hand, then disconnect."""
        if self._reading is not None:
            await self._reading.stop()
            self._reading = None
        await self._link.close()

    async def lag(self) -> Lag:
        """How far behind the stream is; `messages` is None while the broker does not answer."""
        try:
            waiting: int | None = await self._link.behind()
        except RetryError:
            waiting = None
        unscored, seconds = await asyncio.to_thread(self._unscored)
        return Lag(waiting, self.tally.occurred_seconds, unscored, seconds)

    async def _bury(self, letters: Sequence[Message]) -> None:
        await self._link.send(letters, dead=True)

    def _unscored(self) -> tuple[int, float]:
        position = self._cursors.position(self._shop_id, SCORED)
        oldest = self._inbox.after(self._shop_id, position, 1)
        if not oldest:
            return 0, 0.0
        waited = (to_us(self._clock()) - oldest[0].fields["ingested_at"]) / 1e6
        return self._inbox.count(self._shop_id, position), max(0.0, waited)


def _events_of(body: bytes) -> list[Any] | None:
    """The events of a message: an object, a list of them, or `{"events": [...]}` as the API takes it; None: no JSON."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if isinstance(found, dict) and isinstance(found.get("events"), list) and "user_id" not in found:
        return list(found["events"])
    return found if isinstance(found, list) else [found]
