"""The keeper moves the log into the file without losing anything, whoever reads or writes meanwhile."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebbtide.serve.fuse import Fuse
from ebbtide.store import keeper
from ebbtide.store.database import Database
from ebbtide.store.inbox import Inbox, Incoming
from ebbtide.store.keeper import Keeper, shorten
from ebbtide.store.shops import Shops


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(f"sqlite:///{tmp_path}/service.db")
    Shops(opened).register("a")
    yield opened
    opened.close()


def add(database: Database, start: int, count: int = 50) -> None:
    Inbox(database).add([Incoming("a", str(start + k), "u", {"text": "x" * 200}) for k in range(count)], start)


def pages_left(connection: sqlite3.Connection) -> int:
    """Pages of the log that are not in the file yet."""
    _, pages, moved = connection.execute("pragma wal_checkpoint(passive)").fetchone()
    return int(pages - moved)


def test_the_log_is_moved_and_begins_anew_when_it_is_long(embedded: Database) -> None:
    log = Path(f"{embedded.engine.url.database}-wal")
    add(embedded, 0)
    with embedded.plain() as connection:
        assert shorten(connection)
        assert pages_left(connection) == 0
        long = log.stat().st_size
        for k in range(1, 20):
            add(embedded, 1000 * k, 5)
            assert shorten(connection, long=1)
        assert log.stat().st_size == long, "it began anew each time"
    assert len(Inbox(embedded).after("a", 0, 10_000)) == 50 + 19 * 5


def test_a_reader_keeps_its_state_and_the_log_waits_for_it(embedded: Database) -> None:
    add(embedded, 0)
    with embedded.plain() as connection, embedded.read() as reader:
        connection.execute("pragma busy_timeout = 0")
        before = reader.exec_driver_sql("select count(*) from inbox").scalar()
        add(embedded, 1000)
        assert not shorten(connection, long=1)
        assert reader.exec_driver_sql("select count(*) from inbox").scalar() == before == 50
    with embedded.plain() as connection:
        assert shorten(connection, long=1)
    assert len(Inbox(embedded).after("a", 0, 10_000)) == 100


def test_writers_and_the_keeper_side_by_side_lose_nothing(embedded: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(keeper.shorten, "__kwdefaults__", {"long": 20})
    fuse = Fuse()
    kept = Keeper(embedded, guard=fuse.guard)
    writers = [
        threading.Thread(target=lambda w=w: [add(embedded, 100_000 * w + 100 * k, 20) for k in range(15)])  # type: ignore[misc]
        for w in range(1, 4)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    time.sleep(0.01)
    kept.close()
    assert not fuse.is_blown
    assert len(Inbox(embedded).after("a", 0, 10_000)) == 3 * 15 * 20
    with embedded.read() as connection:
        assert connection.exec_driver_sql("pragma integrity_check").scalar() == "ok"
