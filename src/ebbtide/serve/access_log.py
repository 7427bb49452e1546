"""The access log: one JSON line a call, of the form of all lines of the service's log, written together.

A line holds the pattern of the address and never the address, which may name a person.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import BinaryIO

import orjson

from ebbtide.serve.batches import Batches
from ebbtide.serve.fuse import Fuse


class AccessLog:
    """Takes a line a call, from one thread, and writes them to `out`. Where nobody reads that any more, they are lost."""

    def __init__(self, out: BinaryIO, *, fuse: Fuse | None = None) -> None:
        self._out = out
        self._lines = Batches[str]("access log", self._write, fuse=fuse or Fuse())
        self._second, self._begin = -1, ""

    def note(self, message: str, request_id: str, trace_id: str, seconds: float) -> None:
        """Note a call. `message`: the `words` of it; `request_id` is one of ours or a plain word; `trace_id` may be ""."""
        now = time.time()
        if int(now) != self._second:
            self._second = int(now)
            self._begin = f'{{"at":"{datetime.fromtimestamp(self._second, UTC).isoformat()[:19]}.'
        trace = f'"trace_id":"{trace_id}",' if trace_id else ""
        self._lines.add(
            f'{self._begin}{int(now % 1 * 1000):03d}+00:00","level":"info","logger":"ebbtide.access","message":{message},'
            f'"request_id":"{request_id}",{trace}"milliseconds":{round(1000 * seconds, 2)}}}\n'
        )

    def close(self) -> None:
        """Write what waits, then stop."""
        self._lines.close()

    def _write(self, lines: Sequence[str]) -> None:
        try:
            self._out.write("".join(lines).encode())
            self._out.flush()
        except (OSError, ValueError):  # gone, or closed: the service goes on, as it does where `logging` cannot write
            return


def words(method: str, route: str, status: int) -> str:
    """What the line of a call says, as JSON."""
    return orjson.dumps(f"{method} {route} {status}").decode()
