"""Workers are killed at random moments: every event that a broker took ends in the inbox once, none is lost."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.serve.stream.conftest import SHOP
from tests.serve.stream.test_stream import event, linked, message

from ebbtide.core.stream_settings import StreamConfig
from ebbtide.store.database import Database
from ebbtide.store.inbox import Inbox

EVENTS, KILLS, PATIENCE_SECONDS = 5_000, 2, 120


def test_killed_workers_lose_and_double_nothing(stream: StreamConfig, store: Database, tmp_path: Path) -> None:
    """Each kill falls on a worker that has just stored something, so micro-batches are in hand."""
    inbox, rng, busy = Inbox(store), random.Random(stream.broker), stream.model_copy(update={"prefetch": 400})
    kills = KILLS if stream.broker != "kafka" else 1  # a group waits six seconds for a member that is gone

    async def send() -> None:
        async with linked(busy) as link:
            await link.send([message(event(k)) for k in range(EVENTS)])

    asyncio.run(send())
    worker, until = _start(busy, tmp_path), time.monotonic() + PATIENCE_SECONDS
    try:
        for kill in range(kills):
            _wait_for(lambda: inbox.newest(SHOP) > 0 and inbox.newest(SHOP) >= EVENTS * kill // (kills + 2), until)  # noqa: B023
            time.sleep(rng.uniform(0, 0.05))
            worker.kill()
            worker.wait()
            assert inbox.count(SHOP, 0) < EVENTS, "the worker was too quick to be killed at work"
            worker = _start(busy, tmp_path)
        _wait_for(lambda: inbox.count(SHOP, 0) == EVENTS and asyncio.run(_behind(busy)) == 0, until)
    finally:
        worker.kill()
        worker.wait()
    found = [stored.fields["event_id"] for stored in inbox.after(SHOP, 0, 2 * EVENTS)]
    assert len(found) == EVENTS
    assert set(found) == {f"e{k}" for k in range(EVENTS)}


async def _behind(config: StreamConfig) -> int:
    async with linked(config) as link:
        return await link.behind()


def _start(config: StreamConfig, folder: Path) -> subprocess.Popen[bytes]:
    url = f"sqlite:///{folder}/service.db"
    return subprocess.Popen([sys.executable, "-m", "tests.serve.stream.worker", config.model_dump_json(), url, SHOP])


def _wait_for(holds: Callable[[], bool], until: float) -> None:
    while not holds():
        assert time.monotonic() < until, "not done in time"
        time.sleep(0.05)
