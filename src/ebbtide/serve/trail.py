"""The trail: audit entries of calls, written together by one thread, at most a moment after the answer.

A process that is killed loses the entries of its last moment (`FLUSH_SECONDS`) and nothing else.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ebbtide.core.errors import RetryError
from ebbtide.serve.access import Caller
from ebbtide.serve.fuse import Fuse
from ebbtide.store.audit import Audit, Entry
from ebbtide.store.database import Database
from ebbtide.store.shops import Shops

log = logging.getLogger("ebbtide.serve")
FLUSH_SECONDS = 0.1
_MOST = 100_000


class Trail:
    """Takes entries from any thread."""

    def __init__(self, database: Database, *, now_us: Callable[[], int], fuse: Fuse | None = None) -> None:
        self._audit, self._shops, self._now_us = Audit(database), Shops(database), now_us
        self._waiting: list[tuple[Caller, str, str, str, Mapping[str, Any] | None, int]] = []
        self._salts: dict[str, bytes] = {}
        self._wake = threading.Condition()
        self._closed = False
        work = (fuse or Fuse()).guard
        self._thread = threading.Thread(target=work, args=("trail", self._run), name="ebbtide-trail", daemon=True)
        self._thread.start()

    def note(
        self, caller: Caller, action: str, *, user_id: str = "", request_id: str = "",
        detail: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Note that the caller read a person or changed something. Waits if the store cannot follow."""
        with self._wake:
            while len(self._waiting) >= _MOST and not self._closed:
                self._wake.wait(1.0)
            self._waiting.append((caller, action, user_id, request_id, detail, self._now_us()))

    def close(self) -> None:
        """Write what waits, then stop."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                if not self._closed:
                    self._wake.wait(FLUSH_SECONDS)
                taken, closed = self._waiting[:_MOST], self._closed
            if taken:
                try:
                    self._audit.add([self._entry(*entry) for entry in taken])
                except RetryError as fault:
                    log.warning("the audit could not be written yet: %s", fault)
                    if closed:
                        return
                    continue
                with self._wake:
                    del self._waiting[: len(taken)]
                    self._wake.notify_all()
            elif closed:
                return

    def _entry(
        self, caller: Caller, action: str, user_id: str, request_id: str, detail: Mapping[str, Any] | None, at_us: int
    ) -> Entry:
        subject = self._shops.pseudonym(caller.shop_id, user_id) if user_id else ""
        return Entry(caller.shop_id, at_us, caller.key_id, action, subject, request_id, detail)
