"""The keeper of the embedded store: moves what the write-ahead log holds into the file, beside the writers and not within them.

Left to SQLite, whoever commits when the log is long moves all of it first, and callers wait for that. Here a thread does so every
moment, and while it does others write on. The log can begin anew only when all of it was moved and nobody reads it; where
writers never pause, the keeper holds them up for what was written during its last pass, once the log is long.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable

from ebbtide.store.database import Database

log = logging.getLogger("ebbtide.store")
LOOK_SECONDS = 1.0
LONG_PAGES = 16_384
"""Pages in the log (of 4 KiB) from which on the keeper makes it begin anew."""
_PASSES = 2


class Keeper:
    """Keeps the log of an embedded store short until it is closed. `guard` runs the work of its thread."""

    def __init__(self, database: Database, *, guard: Callable[[str, Callable[[], None]], None]) -> None:
        self._database = database
        self._end = threading.Event()
        self._thread = threading.Thread(target=guard, args=("keeper", self._run), name="ebbtide-keeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        with self._database.plain() as connection:
            connection.execute("pragma busy_timeout = 100")
            while not self._end.wait(LOOK_SECONDS):
                try:
                    shorten(connection)
                except sqlite3.OperationalError as fault:  # locked, or the disk is full: the log waits
                    log.warning("the store's log could not be moved into its file: %s", fault)


def shorten(connection: sqlite3.Connection, *, long: int = LONG_PAGES) -> bool:
    """Move the log into the file; says whether all of it was. With `long` pages or more it then begins anew."""
    pages = moved = 0
    for _ in range(_PASSES):
        _, pages, moved = connection.execute("pragma wal_checkpoint(passive)").fetchone()
        if pages < long:
            return bool(pages == moved)
    busy, pages, moved = connection.execute("pragma wal_checkpoint(restart)").fetchone()
    return bool(not busy and pages == moved)
