"""Reading with FastStream: its broker with subscribers, what runs beside it, and how a refused micro-batch goes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from faststream.exceptions import NackMessage

from ebbtide.core.errors import RetryError
from ebbtide.serve.brokers.link import Message, Take, broker_errors


def returning(take: Take) -> Take:
    """`take`, whose refusal gives the messages back to the broker; it was logged where it arose."""

    async def take_or_return(messages: Sequence[Message]) -> None:
        try:
            await take(messages)
        except RetryError:
            raise NackMessage from None

    return take_or_return


class FastStreamReading:
    """A FastStream broker with its subscribers, and tasks that run beside it."""

    def __init__(
        self, broker: Any, failures: Sequence[type[BaseException]], *,
        beside: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
    ) -> None:  # fmt: skip
        self._broker, self._failures, self._beside = broker, failures, beside
        self._subscribers = list(broker.subscribers)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def is_alive(self) -> bool:
        """Whether everything that was started still runs."""
        return all(s.running for s in self._subscribers) and not any(t.done() for t in self._tasks)

    async def start(self) -> None:
        """Begin to read."""
        with broker_errors(*self._failures):
            await self._broker.start()
        self._tasks = [asyncio.create_task(job()) for job in self._beside]

    async def stop(self) -> None:
        """Finish the micro-batches in hand, then end."""
        await self._broker.stop()
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._tasks = []


class Gather:
    """Makes micro-batches of messages that come one by one: `size` at most, none waiting longer than `wait_ms`."""

    def __init__(self, take: Take, *, size: int, wait_ms: int) -> None:
        self._take, self._size, self._wait = take, size, wait_ms / 1000
        self._waiting: list[tuple[Message, asyncio.Future[None]]] = []
        self._full = asyncio.Event()

    async def add(self, message: Message) -> None:
        """Returns when the micro-batch of the message was taken; raises what taking it raised."""
        taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((message, taken))
        if len(self._waiting) >= self._size:
            self._full.set()
        await taken

    async def run(self) -> None:
        """Hand micro-batches over until it is cancelled."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), self._wait)
            batch, self._waiting = self._waiting[: self._size], self._waiting[self._size :]
            if len(self._waiting) < self._size:
                self._full.clear()
            if batch:
                await self._hand_over(batch)

    async def _hand_over(self, batch: list[tuple[Message, asyncio.Future[None]]]) -> None:
        fault: RetryError | None = None
        try:
            await self._take([message for message, _ in batch])
        except RetryError as raised:
            fault = raised
        for _, taken in batch:
            if taken.cancelled():
                continue
            if fault is None:
                taken.set_result(None)
            else:
                taken.set_exception(fault)
