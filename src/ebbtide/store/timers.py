"""Timers: of whom a rule must look again and when, so that "did A and not B" needs no walk over all users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, func, select, tuple_

from ebbtide.store.database import Database, upserting
from ebbtide.store.tables import timers

_TAKEN_AT_ONCE = 500
_due_alone = timers.c.due_us + 0
"""`due_us` where the index by it must not be used: PostgreSQL would walk over all timers of the shop for each customer."""


@dataclass(frozen=True)
class Timer:
    """A rule must look at a user again at `due_us`, because of what they did at `since_us`."""

    rule: str
    user_id: str
    since_us: int
    due_us: int


class Timers:
    """The timers of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @staticmethod
    def set_within(connection: Connection, shop_id: str, rows: Sequence[Timer]) -> None:
        """Set timers. One of the same rule and user that is not due yet when a newer one begins gives way to it."""
        if not rows:
            return
        newer = (timers.c.since_us < bindparam("moment")) & (_due_alone >= bindparam("moment"))
        _remove(connection, shop_id, newer, [(row.rule, row.user_id, row.since_us) for row in rows])
        added = upserting(connection, timers).on_conflict_do_nothing()
        connection.execute(added, [{"shop_id": shop_id, **_values(row)} for row in rows])

    @staticmethod
    def stop_within(connection: Connection, shop_id: str, rule: str, moments: Sequence[tuple[str, int]]) -> None:
        """Stop the timers of a rule whose users did what it waits for, from the timer's moment until it is due."""
        in_time = (timers.c.since_us <= bindparam("moment")) & (_due_alone >= bindparam("moment"))
        _remove(connection, shop_id, in_time, [(rule, user, moment) for user, moment in moments])

    def due(self, shop_id: str, now_us: int, limit: int) -> list[Timer]:
        """The timers that are due, the longest waiting first."""
        wanted = select(timers).where(timers.c.shop_id == shop_id, timers.c.due_us <= now_us)
        with self._database.read() as connection:
            return [_timer(row) for row in connection.execute(wanted.order_by(timers.c.due_us).limit(limit))]

    def next_due_us(self, shop_id: str) -> int | None:
        """When the next timer is due; None if there is none."""
        with self._database.read() as connection:
            found = connection.scalar(select(func.min(timers.c.due_us)).where(timers.c.shop_id == shop_id))
        return None if found is None else int(found)

    @staticmethod
    def take_within(connection: Connection, shop_id: str, rows: Sequence[Timer]) -> list[Timer]:
        """Remove these timers; gives back those that were still there as they are here."""
        taken = []
        key = tuple_(timers.c.rule, timers.c.user_id, timers.c.since_us)
        for start in range(0, len(rows), _TAKEN_AT_ONCE):
            part = [(row.rule, row.user_id, row.since_us) for row in rows[start : start + _TAKEN_AT_ONCE]]
            gone = delete(timers).where(timers.c.shop_id == shop_id, key.in_(part)).returning(timers)
            taken += [_timer(row) for row in connection.execute(gone)]
        return taken


def _remove(
    connection: Connection, shop_id: str, which: ColumnElement[bool], rows: Sequence[tuple[str, str, int]]
) -> None:
    """Remove the timers of these rules and users for which `which` holds of the moment."""
    here = (timers.c.shop_id == shop_id, timers.c.rule == bindparam("of_rule"), timers.c.user_id == bindparam("user"))
    if rows:
        told = [{"of_rule": rule, "user": user, "moment": moment} for rule, user, moment in rows]
        connection.execute(delete(timers).where(*here, which), told)


def _values(timer: Timer) -> dict[str, Any]:
    return {"rule": timer.rule, "user_id": timer.user_id, "since_us": timer.since_us, "due_us": timer.due_us}


def _timer(row: Row[Any]) -> Timer:
    return Timer(row.rule, row.user_id, row.since_us, row.due_us)
