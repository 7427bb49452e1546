"""What the rules must remember: of each user, and of each day."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, delete, insert, select, text, update

from ebbtide.store.database import upserting
from ebbtide.store.tables import alert_counts, alert_memory

_ASKED_AT_ONCE = 5_000
_LOCK = 0x0EBB  # with the shop's number: an advisory lock that no other part of the store takes
ALL_RULES = ""
"""In counts of a day: all rules together."""


def lock_alerts(connection: Connection, shop_id: str) -> None:
    """From here to its end, this is the only transaction that raises alerts of the shop. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        number = zlib.crc32(shop_id.encode()) - (1 << 31)
        connection.execute(text("select pg_advisory_xact_lock(:a, :b)"), {"a": _LOCK, "b": number})


def memories_of(connection: Connection, shop_id: str, users: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What is remembered of these users; who has no memory is not in it."""
    wanted = select(alert_memory.c.user_id, alert_memory.c.state).where(
        alert_memory.c.shop_id == shop_id, alert_memory.c.user_id.in_(bindparam("users", expanding=True))
    )
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(users), _ASKED_AT_ONCE):
        rows = connection.execute(wanted, {"users": list(users[start : start + _ASKED_AT_ONCE])})
        found.update((user, orjson.loads(state)) for user, state in rows)
    return found


def remember(connection: Connection, shop_id: str, states: Mapping[str, Mapping[str, Any]]) -> None:
    """Replace what is remembered of these users; an empty memory is none."""
    kept = [{"shop_id": shop_id, "user_id": u, "state": orjson.dumps(s).decode()} for u, s in states.items() if s]
    empty = [user for user, state in states.items() if not state]
    if kept:
        added = upserting(connection, alert_memory)
        values = {"state": added.excluded.state}
        connection.execute(added.on_conflict_do_update(index_elements=["shop_id", "user_id"], set_=values), kept)
    gone = delete(alert_memory).where(
        alert_memory.c.shop_id == shop_id, alert_memory.c.user_id.in_(bindparam("users", expanding=True))
    )
    for start in range(0, len(empty), _ASKED_AT_ONCE):
        connection.execute(gone, {"users": empty[start : start + _ASKED_AT_ONCE]})


def counts_of_day(connection: Connection, shop_id: str, day: int) -> dict[str, int]:
    """Alerts raised on a day so far, by rule and for all rules together."""
    wanted = select(alert_counts.c.rule, alert_counts.c.count).where(
        alert_counts.c.shop_id == shop_id, alert_counts.c.day == day
    )
    return {rule: int(count) for rule, count in connection.execute(wanted)}


def set_counts(connection: Connection, shop_id: str, day: int, counts: Mapping[str, int]) -> None:
    """Replace the counts of a day, and forget those of days long ago."""
    connection.execute(delete(alert_counts).where(alert_counts.c.shop_id == shop_id, alert_counts.c.day < day - 7))
    for rule, count in counts.items():
        here = (alert_counts.c.shop_id == shop_id) & (alert_counts.c.day == day) & (alert_counts.c.rule == rule)
        if not connection.execute(update(alert_counts).where(here).values(count=count)).rowcount:
            connection.execute(insert(alert_counts).values(shop_id=shop_id, day=day, rule=rule, count=count))
