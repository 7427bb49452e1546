"""Answers kept by Idempotency-Key, so that a call that is sent again is answered and not done again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, insert, select

from ebbtide.core.errors import InputError
from ebbtide.store.database import Database
from ebbtide.store.tables import idempotency


@dataclass(frozen=True)
class Answer:
    """What a call was answered; `counts`: what became of its events, empty for an answer from memory."""

    status: int
    response: bytes
    counts: Mapping[str, int] = field(default_factory=dict, compare=False)


class Answers:
    """The answers of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, shop_id: str, key: str, request: bytes) -> Answer | None:
        """The answer to the same call, None if there was none. Raises InputError if the key came with another body."""
        with self._database.read() as connection:
            return self.find_within(connection, shop_id, key, request)

    @staticmethod
    def find_within(connection: Connection, shop_id: str, key: str, request: bytes) -> Answer | None:
        """`find` as a part of the caller's transaction."""
        here = (idempotency.c.shop_id == shop_id) & (idempotency.c.key == key)
        row = connection.execute(select(idempotency).where(here)).first()
        if row is not None and row.request != hashlib.sha256(request).digest():
            raise InputError(
                "this Idempotency-Key was used for another body: use a new key for a new call",
                "该 Idempotency-Key 已用于其他请求内容：新的调用请使用新的键",
            )
        return None if row is None else Answer(row.status, row.response)

    @staticmethod
    def keep_within(
        connection: Connection, shop_id: str, key: str, request: bytes, answer: Answer, now_us: int
    ) -> None:
        """Keep an answer, as a part of the transaction that did what was asked."""
        values = {"request": hashlib.sha256(request).digest(), "status": answer.status, "response": answer.response}
        connection.execute(insert(idempotency).values(shop_id=shop_id, key=key, at_us=now_us, **values))

    def prune(self, before_us: int) -> int:
        """Forget answers older than that."""
        with self._database.write() as connection:
            return int(connection.execute(delete(idempotency).where(idempotency.c.at_us < before_us)).rowcount)
