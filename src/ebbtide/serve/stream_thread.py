"""The stream beside a service: read in a thread with an event loop of its own, connected anew when the broker was away."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from ebbtide.core.errors import EbbtideError
from ebbtide.serve.brokers.link import LOG
from ebbtide.serve.stream import Lag, Stream, Tally

_LOOK_SECONDS = 5.0
_PAUSE_SECONDS = 2.0


class StreamThread:
    """Starts and stops like the other loops of a service. `make` makes a new worker, for each time that it connects.

    `told` hears the lag each time that it is looked at; None while the broker is not connected.
    """

    def __init__(
        self, make: Callable[[], Stream], *, look_seconds: float = _LOOK_SECONDS, pause_seconds: float = _PAUSE_SECONDS,
        told: Callable[[Lag | None], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.name = "stream"
        self._make, self._look, self._pause, self._told = make, look_seconds, pause_seconds, told
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._worker: Stream | None = None
        self._before = Tally()
        self._lag: Lag | None = None
        self._thread = threading.Thread(target=self._run, name="ebbtide-stream", daemon=True)

    @property
    def lag(self) -> Lag | None:
        """How far behind the stream was when it was last looked at; None before that, and while it is not connected."""
        return self._lag

    @property
    def tally(self) -> Tally:
        """What came of all messages since the start, over all connections."""
        worker = self._worker
        return self._before if worker is None else _sum(self._before, worker.tally)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the micro-batch in hand, then stop."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._read()
            except EbbtideError as fault:
                LOG.warning("the stream pauses: %s", fault)
            self._tell(None)
            await self._wait(self._pause)

    async def _read(self) -> None:
        """One connection, until it ends by itself or is to stop."""
        worker = self._make()
        await worker.start()
        self._worker = worker
        try:
            while worker.is_alive and not self._stopping.is_set():
                self._tell(await worker.lag())
                await self._wait(self._look)
        finally:
            await worker.stop()
            self._before, self._worker = self.tally, None

    def _tell(self, lag: Lag | None) -> None:
        self._lag = lag
        self._told(lag)

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return


def _sum(one: Tally, other: Tally) -> Tally:
    return replace(
        other, messages=one.messages + other.messages, batches=one.batches + other.batches,
        accepted=one.accepted + other.accepted, duplicates=one.duplicates + other.duplicates,
        refused=Counter(one.refused) + other.refused,
        occurred_seconds=one.occurred_seconds if other.occurred_seconds is None else other.occurred_seconds,
    )  # fmt: skip
