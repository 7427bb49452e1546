"""Use case: a real log drives a running service, as fast as it was lived or many times faster."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
import numpy as np
import orjson

from ebbtide.core.json_file import read_json_file, write_json_file
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.sections import Readable, Section
from ebbtide.core.stream_settings import StreamConfig
from ebbtide.pipeline.log_events import EventLog, as_sent
from ebbtide.serve.brokers.link import Link, Message, open_link
from ebbtide.serve.client import Client

AT_ONCE = 1_000
"""Events of one call."""
_LONGEST_NAP = 1.0
_ATTEMPTS = 12
_NOTE_SECONDS = 1.0
_SENDING = Text("sending events", "发送事件")


@dataclass(frozen=True)
class Outcome:
    """What a target said of the events of one call; a broker knows only that it has them."""

    accepted: int = 0
    duplicate: int = 0
    rejected: int = 0

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(self.accepted + other.accepted, self.duplicate + other.duplicate, self.rejected + other.rejected)


@dataclass(frozen=True)
class ReplayReport(Readable):
    """`events` of the log, of which `before` were sent by an earlier run; the others by this one, in `seconds`."""

    target: str
    events: int
    before: int
    sent: int
    accepted: int
    duplicate: int
    rejected: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)

    def sections(self) -> tuple[Section, ...]:
        """How many went out and what became of them."""
        told = Text(
            "{sent:,} of {events:,} events sent to {target} in {seconds:,.1f} s; {before:,} had been sent before",
            "已向 {target} 发送 {sent:,} / {events:,} 个事件，用时 {seconds:,.1f} 秒；此前已发送 {before:,} 个",
        ).format(**asdict(self))
        became = Text(
            "{accepted:,} accepted, {duplicate:,} known already, {rejected:,} rejected",
            "接受 {accepted:,}，已知 {duplicate:,}，拒绝 {rejected:,}",
        ).format(**asdict(self))
        return (Section(lines=(told, became) if self.accepted + self.duplicate + self.rejected else (told,)),)


class Target(Protocol):
    """Where events go. `send` returns when they are durable there, and raises RetryError if they are not."""

    @property
    def name(self) -> str: ...

    def send(self, events: Sequence[dict[str, object]]) -> Outcome: ...

    def close(self) -> None: ...


class ApiTarget:
    """The HTTP API of a running service."""

    def __init__(self, url: str, key: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self.name = url
        self._client = Client(url, key, attempts=_ATTEMPTS, transport=transport)

    def send(self, events: Sequence[dict[str, object]]) -> Outcome:
        """One call; made again when the service says that it has too much to do, after as long as it asks for."""
        told = self._client.send(events)
        return Outcome(told.accepted, told.duplicate, told.rejected)

    def close(self) -> None:
        """Disconnect."""
        self._client.close()


class BrokerTarget:
    """The broker of `[stream]`. Raises ConfigError, MissingExtraError, RetryError when it is made."""

    def __init__(self, stream: StreamConfig) -> None:
        self.name = f"{stream.broker} {stream.topic}"
        self._runner = asyncio.Runner()
        self._link: Link = open_link(stream)
        self._runner.run(self._link.open())

    def send(self, events: Sequence[dict[str, object]]) -> Outcome:
        """One message an event."""
        messages = [Message(orjson.dumps(event), user=str(event["user_id"])) for event in events]
        self._runner.run(self._link.send(messages))
        return Outcome()

    def close(self) -> None:
        """Disconnect."""
        self._runner.run(self._link.close())
        self._runner.close()


class Pace:
    """Which events are due: those of the log's first `speed` seconds after one second, and so on; 0: all, always."""

    def __init__(
        self, first_us: int, speed: float, *, clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._first, self._speed, self._clock, self._sleep = first_us, speed, clock, sleep
        self._started = clock()

    def wait_for(self, moments: np.ndarray[Any, np.dtype[np.int64]]) -> int:
        """Sleep until the first of these ascending moments is due; says how many are."""
        if self._speed == 0:
            return len(moments)
        while True:
            reached = self._first + (self._clock() - self._started) * self._speed * 1e6
            due = int(np.searchsorted(moments, reached, side="right"))
            if due:
                return due
            self._sleep(min(_LONGEST_NAP, (float(moments[0]) - reached) / self._speed / 1e6 + 0.001))


class Progressed:
    """How many events of a log a target has got, kept on disk, so that an interrupted replay goes on where it was."""

    def __init__(self, folder: Path, log: EventLog, target: Target) -> None:
        key = hashlib.sha256(f"{log.fingerprint}\x1f{target.name}".encode()).hexdigest()[:16]
        self._file, self._noted = folder / f"{key}.json", time.monotonic()

    def read(self) -> int:
        """The number; 0 at first."""
        return int(read_json_file(self._file)["sent"]) if self._file.is_file() else 0

    def note(self, sent: int) -> None:
        """Keep the number, once a second: what is sent again after a kill counts once all the same."""
        if time.monotonic() - self._noted >= _NOTE_SECONDS:
            write_json_file(self._file, {"sent": sent})
            self._noted = time.monotonic()

    def end(self, sent: int, *, done: bool) -> None:
        """Keep the number, or forget it if all is sent, so that the next replay begins anew."""
        if done:
            self._file.unlink(missing_ok=True)
        else:
            write_json_file(self._file, {"sent": sent})


def replay_log(
    log: EventLog, target: Target, folder: Path, *, speed: float, restart: bool = False, progress: Progress = silent,
    make_pace: Callable[[int, float], Pace] = Pace,
) -> ReplayReport:  # fmt: skip
    """Send the events of a log in the order in which they became known, `speed` times as fast as they did (0: no pauses).

    What an interrupted run has sent is not sent again, unless `restart`; events carry their ids, so that what is sent
    twice counts once. `folder`: where the place is kept. Raises RetryError if the target does not take them.
    """
    place, started, told, pace = Progressed(folder, log, target), time.monotonic(), Outcome(), None
    before = sent = 0 if restart else min(place.read(), log.rows)
    try:
        for chunk in log.chunks(before):
            moments = chunk["ingested_at"].dt.epoch("us").to_numpy()
            pace = pace or make_pace(int(moments[0]), speed)
            at = 0
            while at < chunk.height:
                part = chunk.slice(at, min(AT_ONCE, pace.wait_for(moments[at:])))
                told += target.send(as_sent(part))
                at += part.height
                sent += part.height
                place.note(sent)
                progress(_SENDING, sent, log.rows)
    finally:
        place.end(sent, done=sent == log.rows)
    seconds = time.monotonic() - started
    return ReplayReport(target.name, log.rows, before, sent - before, **asdict(told), seconds=seconds)
