"""Delivery: messages go from the outbox to their channels, each at least once, whatever is killed, slow or dead.

Every channel has a loop of its own, so one receiver that hangs delays nobody else. What has arrived is written down
together with the next claim; who is killed in between sends again, with the same id.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy import Connection

from ebbtide.core.config import Config
from ebbtide.core.errors import EbbtideError
from ebbtide.core.windows import to_us
from ebbtide.pipeline.alert_rules import span_us
from ebbtide.pipeline.live_shop import Clock, system_clock
from ebbtide.serve.sending import Outcome, Sender
from ebbtide.store.database import Database
from ebbtide.store.destinations import FAILURES, Destinations, Standing
from ebbtide.store.outbox import Message, Outbox

LOG = logging.getLogger("ebbtide.alerts")
Withdrawn = Callable[[str, Sequence[str], datetime], set[str]]
"""Of users, those who have not consented to a purpose (any more)."""
Told = Callable[[Message, Outcome], None]
"""Hears what became of every sending, for metrics."""
Finished = tuple[Message, Outcome]

_POLL_SECONDS = 0.1
_FIRST_SECONDS, _LONGEST_SECONDS = 1.0, 900.0
_LEAST_SECONDS = 0.05
_UNTIL_RETRY_SECONDS = 1.0
_LEASE_MARGIN_SECONDS = 5.0


def ignore_outcome(message: Message, outcome: Outcome) -> None:
    """Nobody counts."""


def retry_seconds(attempts: int, luck: random.Random) -> float:
    """How long to wait after so many attempts: exponential with full jitter (Brooker, AWS Architecture Blog 2015).

    >>> max(retry_seconds(3, random.Random(k)) for k in range(999)) <= 4.0
    True
    """
    ceiling = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(attempts - 1, 30))
    return max(_LEAST_SECONDS, luck.uniform(0.0, ceiling))


@dataclass(frozen=True)
class Terms:
    """Of one channel: messages on their way at once, how long a claim lasts, how long sending is tried."""

    parallel: int
    lease_us: int
    retry_for_us: int


class Outlet:
    """The loop of one channel of one shop."""

    def __init__(
        self, database: Database, shop_id: str, channel: str, sender: Sender, terms: Terms, *,
        withdrawn: Withdrawn, told: Told, clock: Clock, luck: random.Random,
    ) -> None:  # fmt: skip
        self._database, self._channel, self._sender, self._terms = database, channel, sender, terms
        self._outbox, self._places = Outbox(database, shop_id), Destinations(database, shop_id)
        self._withdrawn, self._told, self._clock, self._luck = withdrawn, told, clock, luck
        self._trials: set[int] = set()
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix=f"ebbtide-{channel}"
        )  # name look-ups may fill the usual one

    async def run(self, stop: asyncio.Event, wake: asyncio.Event) -> None:
        """Deliver until `stop`, then write down what has arrived of what was under way."""
        under_way: dict[asyncio.Task[Outcome], Message] = {}
        finished: list[Finished] = []
        while not stop.is_set():
            claimed = await self._settled(finished, self._terms.parallel - len(under_way))
            for message in claimed:
                under_way[asyncio.create_task(self._sender.send(message))] = message
            finished += await self._next(under_way, wake)
        if under_way:
            await asyncio.wait(under_way)
            finished += [_outcome(task, message) for task, message in under_way.items()]
        await self._settled(finished, 0)
        await self._sender.close()
        self._thread.shutdown(wait=False)

    async def _settled(self, finished: list[Finished], free: int) -> list[Message]:
        """One turn; `finished` is emptied when it is written down, and kept while the store does not answer."""
        try:
            turn = partial(self._turn, tuple(finished), free)
            claimed = await asyncio.get_running_loop().run_in_executor(self._thread, turn)
        except EbbtideError as fault:
            LOG.warning("channel %s: %s", self._channel, fault)
            await asyncio.sleep(_UNTIL_RETRY_SECONDS)
            return []
        finished.clear()
        return claimed

    async def _next(self, under_way: dict[asyncio.Task[Outcome], Message], wake: asyncio.Event) -> list[Finished]:
        """Wait until a sending has ended, somebody wakes the loop, or it is time to look again."""
        waking = asyncio.create_task(wake.wait())
        await asyncio.wait({*under_way, waking}, timeout=_POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        waking.cancel()
        wake.clear()
        ended = [task for task in under_way if task.done()]
        return [_outcome(task, under_way.pop(task)) for task in ended]

    def _turn(self, finished: Sequence[Finished], free: int) -> list[Message]:
        """Write down what has ended and claim what is due, in one transaction; in none if there is nothing to do."""
        now = self._clock()
        if not finished and not self._has_work(to_us(now), free):
            return []
        with self._database.write() as connection:
            was = self._places.standing_within(connection, self._channel)
            standing = self._settle(connection, finished, was, to_us(now))
            claimed = self._claim(connection, standing, now, free)
            if claimed and standing.failures >= FAILURES:
                self._trials = {message.seq for message in claimed}
                standing = Standing(standing.failures, to_us(now) + self._terms.lease_us)
            if standing != was:
                self._places.put_within(connection, self._channel, standing)
        for message, outcome in finished:
            self._told(message, outcome)
        return claimed

    def _has_work(self, now_us: int, free: int) -> bool:
        due = self._outbox.next_due_us(self._channel) if free else None
        return due is not None and due <= now_us and self._places.standing(self._channel).allows(now_us, free) > 0

    def _claim(self, connection: Connection, standing: Standing, now: datetime, free: int) -> list[Message]:
        """Claim what is due and may be sent now; what is not to be sent any more is dropped."""
        allowed = standing.allows(to_us(now), free) if free else 0
        if not allowed:
            return []
        terms = self._terms
        claimed = self._outbox.claim_within(connection, self._channel, to_us(now), allowed, terms.lease_us)
        by_purpose: dict[str, list[str]] = {}
        for message in claimed:
            if message.consent:
                by_purpose.setdefault(message.consent, []).append(message.user_id)
        gone = {purpose: self._withdrawn(purpose, users, now) for purpose, users in by_purpose.items()}
        dropped = [m for m in claimed if m.consent and m.user_id in gone[m.consent]]
        self._outbox.drop_within(connection, dropped, "no_consent", to_us(now))
        return [m for m in claimed if m not in dropped]

    def _settle(
        self, connection: Connection, finished: Sequence[Finished], standing: Standing, now_us: int
    ) -> Standing:
        """Write outcomes down; the standing of the channel afterwards."""
        arrived = [message for message, outcome in finished if outcome.has_arrived]
        for message, outcome in finished:
            was_trial = message.seq in self._trials
            self._trials.discard(message.seq)
            if not outcome.has_arrived:
                self._put_off(connection, message, outcome, now_us)
                standing = standing.after_failure(now_us, was_trial=was_trial)
        self._outbox.sent_within(connection, arrived, now_us)
        return Standing() if arrived else standing

    def _put_off(self, connection: Connection, message: Message, outcome: Outcome, now_us: int) -> None:
        """Try again later, or never: when it is of no use, or has been tried for long enough."""
        if outcome.is_final or now_us - message.since_us >= self._terms.retry_for_us:
            self._outbox.bury_within(connection, message, outcome.reason)
            return
        seconds = max(retry_seconds(message.attempts, self._luck), outcome.wait_seconds)
        self._outbox.retry_within(connection, message, now_us + round(seconds * 1e6), outcome.reason)


class Delivery:
    """All channels of one shop, in a thread of their own."""

    def __init__(
        self, config: Config, database: Database, shop_id: str, senders: Mapping[str, Sender], *, withdrawn: Withdrawn,
        told: Told = ignore_outcome, clock: Clock = system_clock, luck: random.Random | None = None,
    ) -> None:  # fmt: skip
        by_name = {channel.name: channel for channel in config.channel}
        self._outlets = []
        for name, sender in senders.items():
            lease_us = span_us(by_name[name].timeout) + round(_LEASE_MARGIN_SECONDS * 1e6)
            terms = Terms(by_name[name].parallel, lease_us, span_us(config.alerts.retry_for))
            self._outlets.append(
                Outlet(
                    database, shop_id, name, sender, terms, withdrawn=withdrawn, told=told, clock=clock,
                    luck=luck or random.SystemRandom(),
                )
            )  # fmt: skip
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wakes: list[asyncio.Event] = []
        self._thread = threading.Thread(target=self._run, name="ebbtide-delivery", daemon=True)
        self._stopping: asyncio.Event | None = None
        self._ready = threading.Event()

    def start(self) -> None:
        """Begin."""
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Let what is under way end, write it down, then stop."""
        if self._stopping is not None:
            self._call(self._stopping)
        self.wake()
        self._thread.join()

    def wake(self) -> None:
        """Look at the outbox now: call it after alerts were raised. From any thread."""
        for wake in self._wakes:
            self._call(wake)

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`, for callers that have a loop of their own."""
        self._loop, self._stopping = asyncio.get_running_loop(), stop
        self._wakes = [asyncio.Event() for _ in self._outlets]
        self._ready.set()
        async with asyncio.TaskGroup() as group:
            for outlet, wake in zip(self._outlets, self._wakes, strict=True):
                group.create_task(outlet.run(stop, wake))

    def _run(self) -> None:
        asyncio.run(self.run(asyncio.Event()))

    def _call(self, event: asyncio.Event) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(event.set)


def _outcome(task: asyncio.Task[Outcome], message: Message) -> Finished:
    """What a sending came to; one that raised is a defect of ours, and is tried again like any failure."""
    if task.cancelled():
        return message, Outcome("cancelled")
    fault = task.exception()
    if fault is not None:
        LOG.error("message %s: %s in its channel", message.message_id, type(fault).__name__)
        return message, Outcome("defect")
    return message, task.result()
