"""The audit: who read a person or changed something, in a chain in which no entry can be altered or left out unnoticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from ebbtide.store.database import Database
from ebbtide.store.tables import audit

_FIRST = bytes(32)
_AT_ONCE = 5_000
_INSERT = (
    "insert into audit (shop_id, at_us, actor, action, subject, request_id, detail, digest) "
    "values ({}, {}, {}, {}, {}, {}, {}, {})"
)
_quoted = json.encoder.encode_basestring_ascii


@dataclass(frozen=True)
class Entry:
    """One entry. `actor`: id of a key, or `cli`; `subject`: pseudonym of a user, or ""; `detail`: no personal data."""

    shop_id: str
    at_us: int
    actor: str
    action: str
    subject: str = ""
    request_id: str = ""
    detail: Mapping[str, Any] | None = None

    def digest(self, before: bytes) -> bytes:
        """What binds it to the entry before: SHA-256 of that one's and of the fields as a JSON list."""
        shop, actor, action, subject, request, detail = map(
            _quoted, (self.shop_id, self.actor, self.action, self.subject, self.request_id, self.told)
        )
        told = f"[{shop}, {int(self.at_us)}, {actor}, {action}, {subject}, {request}, {detail}]"
        return hashlib.sha256(before + told.encode()).digest()

    @property
    def told(self) -> str:
        """The detail as it is stored."""
        return json.dumps(dict(self.detail), sort_keys=True) if self.detail else "{}"


class Audit:
    """The audit of a database, one chain for all shops."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, entries: Sequence[Entry]) -> None:
        """Append entries, durable when this returns."""
        if not entries:
            return
        with self._database.write(in_order=True) as connection:
            before = connection.scalar(select(audit.c.digest).order_by(audit.c.seq.desc()).limit(1)) or _FIRST
            rows = []
            for e in entries:
                before = e.digest(before)
                rows.append((e.shop_id, e.at_us, e.actor, e.action, e.subject, e.request_id, e.told, before))
            self._database.insert_many(connection, _INSERT, rows)

    def entries(self, shop_id: str, *, limit: int = 100, before_seq: int | None = None) -> list[tuple[int, Entry]]:
        """The newest entries of a shop with their numbers, the newest first."""
        wanted = select(audit).where(audit.c.shop_id == shop_id).order_by(audit.c.seq.desc()).limit(limit)
        if before_seq is not None:
            wanted = wanted.where(audit.c.seq < before_seq)
        with self._database.read() as connection:
            return [(row.seq, _entry(row)) for row in connection.execute(wanted)]

    def first_broken(self) -> int | None:
        """The number of the first entry that does not follow from the one before; None if the chain is whole."""
        before, number = _FIRST, 0
        while rows := self._after(number):
            for row in rows:
                if row.digest != (before := _entry(row).digest(before)):
                    return int(row.seq)
            number = rows[-1].seq
        return None

    def _after(self, number: int) -> Sequence[Row[Any]]:
        wanted = select(audit).where(audit.c.seq > number).order_by(audit.c.seq).limit(_AT_ONCE)
        with self._database.read() as connection:
            return list(connection.execute(wanted))


def _entry(row: Row[Any]) -> Entry:
    return Entry(row.shop_id, row.at_us, row.actor, row.action, row.subject, row.request_id, json.loads(row.detail))
