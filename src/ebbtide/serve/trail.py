"""The trail: audit entries of calls, written together at most a moment after the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ebbtide.serve.access import Caller
from ebbtide.serve.batches import Batches
from ebbtide.serve.fuse import Fuse
from ebbtide.store.audit import Audit, Entry
from ebbtide.store.database import Database
from ebbtide.store.shops import Shops

_Noted = tuple[Caller, str, str, str, Mapping[str, Any] | None, int]


class Trail:
    """Takes entries from any thread."""

    def __init__(self, database: Database, *, now_us: Callable[[], int], fuse: Fuse | None = None) -> None:
        self._audit, self._shops, self._now_us = Audit(database), Shops(database), now_us
        self._noted = Batches[_Noted]("audit", self._write, fuse=fuse or Fuse())

    def note(
        self, caller: Caller, action: str, *, user_id: str = "", request_id: str = "",
        detail: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        """Note that the caller read a person or changed something. Waits if the store cannot follow."""
        self._noted.add((caller, action, user_id, request_id, detail, self._now_us()))

    def close(self) -> None:
        """Write what waits, then stop."""
        self._noted.close()

    def _write(self, noted: Sequence[_Noted]) -> None:
        self._audit.add([self._entry(*entry) for entry in noted])

    def _entry(
        self, caller: Caller, action: str, user_id: str, request_id: str, detail: Mapping[str, Any] | None, at_us: int
    ) -> Entry:
        subject = self._shops.pseudonym(caller.shop_id, user_id) if user_id else ""
        return Entry(caller.shop_id, at_us, caller.key_id, action, subject, request_id, detail)
