"""A load generator for the benchmarks of the service; run by them in a process of its own, over loopback.

    python benchmarks/serve_load.py --port 8000 --seconds 60 --rate 100 --connections 16 --batch 100     # POST /v1/events
    python benchmarks/serve_load.py --port 8000 --seconds 60 --path '/v1/users/{user}/risk'              # GET

With `--rate`, calls are due at fixed moments whether or not earlier ones were answered, and a call's time counts from
when it was due (so a slow answer is not hidden by calls that were never made); without, each connection calls again at
once. Prints JSON; `--out F.npy` gets every call's seconds. Events carry the time of their sending and ids of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np


@dataclass
class Load:
    """What to send, and what came of it."""

    asked: argparse.Namespace
    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    accepted: int = 0
    late: float = 0.0
    number: int = 0
    names: list[str] = field(default_factory=list)

    async def run(self) -> dict[str, object]:
        queue: asyncio.Queue[float | None] = asyncio.Queue()
        workers = [asyncio.create_task(self._connection(queue)) for _ in range(self.asked.connections)]
        started = time.perf_counter()
        if self.asked.rate:
            await self._due(queue, started)
        else:
            await asyncio.sleep(self.asked.seconds)
        self._over = True
        for _ in workers:
            queue.put_nowait(None)
        await asyncio.gather(*workers)
        spent = time.perf_counter() - started
        return {
            "calls": len(self.seconds), "seconds": spent, "accepted": self.accepted, "statuses": dict(self.statuses),
            "generator_late_ms": 1000 * self.late,
        }  # fmt: skip

    _over = False

    async def _due(self, queue: asyncio.Queue[float | None], started: float) -> None:
        """Puts each call's moment when it has come; notes how late the generator itself ever was."""
        for k in range(int(self.asked.seconds * self.asked.rate)):
            due = started + k / self.asked.rate
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            self.late = max(self.late, time.perf_counter() - due)
            queue.put_nowait(due)

    async def _connection(self, queue: asyncio.Queue[float | None]) -> None:
        reader, writer = await asyncio.open_connection(self.asked.host, self.asked.port)
        while True:
            due: float | None = time.perf_counter()
            if self.asked.rate:
                due = await queue.get()
            elif self._over:
                due = None
            if due is None:
                break
            writer.write(self._call())
            status, body = await self._answer(reader)
            self.seconds.append(time.perf_counter() - due)
            self.statuses[status] += 1
            if status == 202:
                self.accepted += int(body[12 : body.index(b",")])  # {"accepted":N,...
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(x[15:]) for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:"))
        return int(head[9:12]), await reader.readexactly(length)

    def _call(self) -> bytes:
        asked = self.asked
        auth = f"Authorization: Bearer {asked.key}\r\n" if asked.key else ""
        if not asked.batch:
            path = asked.path.replace("{user}", self._user())
            return f"GET {path} HTTP/1.1\r\nHost: x\r\n{auth}\r\n".encode()
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        body = f'{{"events":[{",".join([self._event(now) for _ in range(asked.batch)])}]}}'.encode()
        head = f"POST /v1/events HTTP/1.1\r\nHost: x\r\n{auth}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def _user(self) -> str:
        return random.choice(self.names) if self.names else f"u{random.randrange(self.asked.users):07d}"

    def _event(self, now: str) -> str:
        """One as JSON, put together as text, so that the generator is not what limits."""
        self.number += 1
        n = self.number
        return (
            f'{{"event_id":"{self.asked.prefix}-{n}","user_id":"{self._user()}","type":"product_view","occurred_at":"{now}",'
            f'"item_id":"i{n % 2000}","category":"c{n % 40}","unit_price":19.9,"device":"phone"}}'
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", default="")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=0.0, help="calls a second; 0: as many as are answered")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--batch", type=int, default=0, help="events a call; 0: GET")
    parser.add_argument("--path", default="/healthz")
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--names", default="", help="file of user ids, one a line, instead of `--users`")
    parser.add_argument("--prefix", default=f"l{time.time_ns():x}")
    parser.add_argument("--out", default="")
    load = Load(parser.parse_args())
    if load.asked.names:
        load.names = Path(load.asked.names).read_text(encoding="utf-8").split()
    told = asyncio.run(load.run())
    if load.asked.out:
        np.save(load.asked.out, np.asarray(load.seconds))
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
