"""The intake: calls that bring events are stored together, as few transactions as there is time for, and answered after.

One thread writes. While it waits for the disk, the next calls gather and share the next transaction, so the more comes in,
the fewer times the disk is asked for each event. What waits is bounded: beyond that, callers are told to come again.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import orjson
from sqlalchemy import Connection

from ebbtide.core.errors import DefectError, EbbtideError, InputError
from ebbtide.core.language import Text
from ebbtide.events.live_event import LiveEvent, Refusal
from ebbtide.serve.problems import ProblemError
from ebbtide.store.answers import Answer, Answers
from ebbtide.store.database import Database
from ebbtide.store.inbox import Adding, Inbox, Incoming

log = logging.getLogger("ebbtide.serve")
_TOGETHER = 4_000
"""Events of one transaction, about: a call is never split."""


@dataclass
class Call:
    """Events of one call, checked; `idempotency`: key and body, where the caller gave a key; `came_us`: when it came."""

    shop_id: str
    events: Sequence[LiveEvent | Refusal]
    given_ids: Sequence[object]
    idempotency: tuple[str, bytes] | None = None
    came_us: int = 0
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def incoming(self) -> list[Incoming]:
        """The events that may enter."""
        return [
            Incoming(self.shop_id, e.event_id, e.user_id, e.fields) for e in self.events if isinstance(e, LiveEvent)
        ]


class Intake:
    """Takes calls from any event loop. `now_us` is the clock; `told` hears each answer."""

    def __init__(
        self, database: Database, *, now_us: Callable[[], int], max_waiting: int = 20_000,
        told: Callable[[Call, Answer | EbbtideError], None] = lambda *_: None,
    ) -> None:  # fmt: skip
        self._database, self._inbox, self._answers = database, Inbox(database), Answers(database)
        self._now_us, self._max_waiting, self._told = now_us, max_waiting, told
        self._waiting: deque[Call] = deque()
        self._held = 0
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ebbtide-intake", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Events that wait to be stored."""
        return self._held

    async def accept(self, call: Call) -> Answer:
        """Store the events of a call; the answer comes when they are durable.

        Raises ProblemError (503) if too many wait, RetryError if the store refuses; then nothing of the call was stored.
        """
        with self._wake:
            if self._closed or self._held + len(call.events) > max(self._max_waiting, len(call.events)):
                raise ProblemError(
                    "unavailable",
                    Text("more events come in than can be stored: send again later", "事件到达过快：请稍后重发"),
                    {"Retry-After": "1"},
                )
            self._waiting.append(call)
            self._held += len(call.events)
            self._wake.notify()
        return await call.answer

    def close(self) -> None:
        """Store what waits, then stop."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while calls := self._next():
            for call, answer in zip(calls, self._answers_to(calls), strict=True):
                with suppress(RuntimeError):  # the caller's loop was closed meanwhile
                    call.loop.call_soon_threadsafe(_settle, call.answer, answer)

    def _answers_to(self, calls: Sequence[Call]) -> Sequence[Answer | EbbtideError]:
        """What each call is answered. One that cannot be stored for a reason that nobody foresaw spoils no other."""
        try:
            return self._store(calls)
        except EbbtideError as fault:
            return [fault] * len(calls)
        except Exception as fault:
            if len(calls) > 1:
                return [answer for call in calls for answer in self._answers_to([call])]
            log.error("a call could not be stored: %s", type(fault).__name__, exc_info=fault)
            return [DefectError("these events could not be stored", "这些事件无法存储")]

    def _next(self) -> list[Call]:
        with self._wake:
            while not self._waiting and not self._closed:
                self._wake.wait()
            taken, count = list[Call](), 0
            while self._waiting and (not taken or count + len(self._waiting[0].events) <= _TOGETHER):
                taken.append(self._waiting.popleft())
                count += len(taken[-1].events)
            self._held -= count
            return taken

    def _store(self, calls: Sequence[Call]) -> list[Answer | EbbtideError]:
        """All calls in one transaction. Calls without an Idempotency-Key go in together, the others one by one, since an
        earlier one may have brought the same key."""
        answers: list[Answer | EbbtideError] = []
        together = [call for call in calls if call.idempotency is None]
        self._inbox.prepare({call.shop_id for call in calls})
        with self._database.write(in_order=True) as connection:
            adding = self._inbox.adding(connection)
            fresh = iter(self._add(adding, together))
            for call in calls:
                is_plain = call.idempotency is None
                answers.append(_answer(call, fresh) if is_plain else self._once(connection, adding, call))
        for call, answer in zip(calls, answers, strict=True):
            self._told(call, answer)
        return answers

    def _add(self, adding: Adding, calls: Sequence[Call]) -> list[bool]:
        return adding.add([e for call in calls for e in call.incoming()], self._now_us())

    def _once(self, connection: Connection, adding: Adding, call: Call) -> Answer | EbbtideError:
        key, body = call.idempotency or ("", b"")
        try:
            kept = self._answers.find_within(connection, call.shop_id, key, body)
        except InputError as fault:
            return fault
        if kept is not None:
            return kept
        answer = _answer(call, iter(self._add(adding, [call])))
        self._answers.keep_within(connection, call.shop_id, key, body, answer, self._now_us())
        return answer


def _answer(call: Call, fresh: Iterator[bool]) -> Answer:
    """What a call is told: one result an event, in its order, and their counts."""
    results: list[dict[str, object]] = []
    counts = dict.fromkeys(("accepted", "duplicate", "rejected"), 0)
    for event, given in zip(call.events, call.given_ids, strict=True):
        if isinstance(event, Refusal):
            status = "rejected"
            result = {"event_id": given, "status": status, "reason": event.reason.value, "field": event.field}
        else:
            status = "accepted" if next(fresh) else "duplicate"
            result = {"event_id": event.event_id, "status": status}
        counts[status] += 1
        results.append(result)
    return Answer(202, orjson.dumps({**counts, "results": results}), counts)


def _settle(future: asyncio.Future[Answer], answer: Answer | EbbtideError) -> None:
    if future.cancelled():
        return  # the caller has gone; the events are stored, and known as duplicates when they come again
    if isinstance(answer, EbbtideError):
        future.set_exception(answer)
    else:
        future.set_result(answer)
