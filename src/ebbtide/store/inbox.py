"""The inbox: accepted events, durable before anybody is told so, each once, in the order of their commits.

Readers follow it by number. A number is given inside a transaction that no other such transaction overlaps, so who has
read up to a number has missed nothing before it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, text, update

from ebbtide.store.database import Database
from ebbtide.store.tables import cursors, inbox, shops

SCORED = "scored"
"""The reader that scores the users whom events have touched."""
_ASKED_AT_ONCE = 5_000
_FORGOTTEN_AT_ONCE = 2_000
_READ_AT_ONCE = 10_000


@dataclass(frozen=True)
class Incoming:
    """An event on its way in: `fields` are its canonical fields without nulls and without `ingested_at`."""

    shop_id: str
    event_id: str
    user_id: str
    fields: Mapping[str, Any]

    @property
    def key(self) -> bytes:
        """What makes it the same event when it comes again."""
        return hashlib.blake2b(f"{self.shop_id}\x1f{self.event_id}".encode(), digest_size=16).digest()


@dataclass(frozen=True)
class Stored:
    """An event as it lies in the inbox; `fields` holds `event_id` and `ingested_at` too, times in UTC microseconds."""

    seq: int
    user_id: str
    fields: dict[str, Any]


class Inbox:
    """The inbox of a database, for all shops."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, events: Sequence[Incoming], now_us: int) -> list[bool]:
        """Store the events that are new, as one transaction; says of each whether it was.

        All get one `ingested_at`: `now_us`, or the latest that was ever given in their shop if the clock ran back.
        Raises RetryError if the database refuses; then nothing was stored.
        """
        with self._database.write(in_order=True) as connection:
            return self.add_within(connection, events, now_us)

    def add_within(self, connection: Connection, events: Sequence[Incoming], now_us: int) -> list[bool]:
        """`add` as a part of an `in_order` transaction of the caller's."""
        keys = [event.key for event in events]
        known, fresh = _known(connection, keys), list[bool]()
        for key in keys:
            fresh.append(key not in known)
            known.add(key)
        moments = {shop: _tick(connection, shop, now_us) for shop in sorted({event.shop_id for event in events})}
        rows = [
            (e.shop_id, key, e.user_id, moments[e.shop_id], orjson.dumps({**e.fields, "event_id": e.event_id}))
            for e, key, new in zip(events, keys, fresh, strict=True)
            if new
        ]
        if rows:
            self._insert(connection, rows)
        return fresh

    def _insert(self, connection: Connection, rows: list[tuple[Any, ...]]) -> None:
        """Rows go to the driver as they are: the most frequent statement of all, and they need no translation."""
        if self._database.is_embedded:
            connection.exec_driver_sql(f"insert into inbox ({_COLUMNS}) values (?, ?, ?, ?, ?)", rows)
        else:
            connection.exec_driver_sql(_FROM_ARRAYS, tuple(map(list, zip(*rows, strict=True))))

    def after(self, shop_id: str, seq: int, limit: int, *, until: int | None = None) -> list[Stored]:
        """The next events of a shop behind number `seq`, at most `limit`, up to and with number `until`.

        They are read in parts: a reader that holds on to one moment for long keeps the embedded store's log from beginning anew.
        """
        found: list[Stored] = []
        while len(found) < limit:
            asked = min(_READ_AT_ONCE, limit - len(found))
            part = self._part(shop_id, seq, asked, until)
            found += part
            if len(part) < asked:
                break
            seq = part[-1].seq
        return found

    def _part(self, shop_id: str, seq: int, limit: int, until: int | None) -> list[Stored]:
        wanted = select(*_READ).where(inbox.c.shop_id == shop_id, inbox.c.seq > seq).order_by(inbox.c.seq).limit(limit)
        if until is not None:
            wanted = wanted.where(inbox.c.seq <= until)
        with self._database.read() as connection:
            rows = connection.execute(wanted).all()
        return [_stored(row) for row in rows]

    def of_users(self, shop_id: str, users: Sequence[str], after: int) -> list[Stored]:
        """The events of these users behind number `after`."""
        found: list[Stored] = []
        with self._database.read() as connection:
            for start in range(0, len(users), _ASKED_AT_ONCE):
                part = users[start : start + _ASKED_AT_ONCE]
                found += [
                    _stored(row)
                    for row in connection.execute(_OF_USERS, {"shop": shop_id, "users": part, "after": after})
                ]
        return found

    def of_user(self, shop_id: str, user: str, after: int) -> list[Stored]:
        """The events of one user behind number `after`."""
        rows = self._database.rows(_OF_USER, (shop_id, user, after))
        return [Stored(seq, user, {**orjson.loads(body), "ingested_at": us}) for seq, us, body in rows]

    def touched(self, shop_id: str, after: int, limit: int) -> tuple[list[str], int]:
        """The users of the next `limit` events behind `after`, and the number of the last of these events."""
        rows = select(inbox.c.seq, inbox.c.user_id).where(inbox.c.shop_id == shop_id, inbox.c.seq > after)
        with self._database.read() as connection:
            found = connection.execute(rows.order_by(inbox.c.seq).limit(limit)).all()
        return list(dict.fromkeys(row.user_id for row in found)), found[-1].seq if found else after

    def continue_behind(self, number: int) -> None:
        """Let numbers go on behind `number`, if they have not come so far.

        A store that was lost, or brought back from a backup, would give numbers again that the lake counts as landed.
        """
        with self._database.write(in_order=True) as connection:
            if self._database.is_embedded:
                given = connection.exec_driver_sql("select seq from sqlite_sequence where name = 'inbox'").scalar()
                if number > (given or 0):
                    connection.exec_driver_sql("delete from sqlite_sequence where name = 'inbox'")
                    connection.exec_driver_sql("insert into sqlite_sequence (name, seq) values ('inbox', ?)", (number,))
            elif number > 0:
                connection.execute(_GO_ON, {"number": number})

    def newest(self, shop_id: str) -> int:
        """The number of the newest event of a shop, 0 if there is none."""
        with self._database.read() as connection:
            return int(connection.scalar(select(func.max(inbox.c.seq)).where(inbox.c.shop_id == shop_id)) or 0)

    def count(self, shop_id: str, after: int) -> int:
        """How many events of a shop lie behind number `after`."""
        wanted = select(func.count()).where(inbox.c.shop_id == shop_id, inbox.c.seq > after)
        with self._database.read() as connection:
            return int(connection.scalar(wanted) or 0)

    def prune(self, shop_id: str, *, up_to: int, before_us: int, most: int = 100_000) -> int:
        """Forget the oldest events up to number `up_to` that came before `before_us`, about `most`; says how many.

        Their ids are known to the lake only from then on. Done in pieces, between which other writers have their turn.
        """
        forgotten, pause = 0, 0.0
        while forgotten < most:
            time.sleep(pause)
            wanted = select(inbox.c.seq, inbox.c.ingested_us).where(inbox.c.shop_id == shop_id, inbox.c.seq <= up_to)
            with self._database.read() as connection:
                oldest = connection.execute(wanted.order_by(inbox.c.seq).limit(_FORGOTTEN_AT_ONCE)).all()
            old = [row.seq for row in oldest if row.ingested_us < before_us]
            if not old:
                break
            piece = delete(inbox).where(
                inbox.c.shop_id == shop_id, inbox.c.seq <= old[-1], inbox.c.ingested_us < before_us
            )
            with self._database.write() as connection:
                started = time.monotonic()
                forgotten += int(connection.execute(piece).rowcount)
            pause = time.monotonic() - started
        return forgotten


def _tick(connection: Connection, shop_id: str, now_us: int) -> int:
    """The shop's clock: never earlier than it ever was."""
    before = connection.scalar(select(shops.c.clock_us).where(shops.c.shop_id == shop_id))
    moment = max(now_us, before or 0)
    if before is not None and moment != before:
        connection.execute(update(shops).where(shops.c.shop_id == shop_id).values(clock_us=moment))
    return moment


def _known(connection: Connection, keys: Sequence[bytes]) -> set[bytes]:
    found: set[bytes] = set()
    for start in range(0, len(keys), _ASKED_AT_ONCE):
        found.update(connection.scalars(_KNOWN, {"keys": keys[start : start + _ASKED_AT_ONCE]}))
    return found


def _stored(row: Row[Any]) -> Stored:
    seq, user, ingested_us, body = row
    fields = orjson.loads(body)
    fields["ingested_at"] = ingested_us
    return Stored(seq, user, fields)


_COLUMNS = "shop_id, event_key, user_id, ingested_us, body"
_FROM_ARRAYS = (
    f"insert into inbox ({_COLUMNS}) select a, b, c, d, e from "
    "unnest(%s::text[], %s::bytea[], %s::text[], %s::bigint[], %s::bytea[]) with ordinality as t(a, b, c, d, e, n) order by n"
)
_GO_ON = text(
    "select setval(s.name, :number) from (select pg_get_serial_sequence('inbox', 'seq') as name) s "
    "where :number > coalesce(pg_sequence_last_value(s.name::regclass), 0)"
)
_READ = (inbox.c.seq, inbox.c.user_id, inbox.c.ingested_us, inbox.c.body)
_KNOWN = select(inbox.c.event_key).where(inbox.c.event_key.in_(bindparam("keys", expanding=True)))
_OF_USER = "select seq, ingested_us, body from inbox where shop_id = {} and user_id = {} and seq > {}"
_OF_USERS = select(*_READ).where(
    inbox.c.shop_id == bindparam("shop"),
    inbox.c.user_id.in_(bindparam("users", expanding=True)),
    inbox.c.seq > bindparam("after"),
)


class Cursors:
    """How far each reader of the inbox has come, by shop and name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def position(self, shop_id: str, name: str) -> int:
        """The number of the last event that the reader has done with; 0 at first."""
        found = self._database.first("select position from cursors where shop_id = {} and name = {}", (shop_id, name))
        return int(found[0]) if found else 0

    @staticmethod
    def move(connection: Connection, shop_id: str, name: str, position: int, now_us: int) -> None:
        """Move a cursor, as a part of the transaction that holds what the reader did."""
        here = (cursors.c.shop_id == shop_id) & (cursors.c.name == name)
        values = {"position": position, "at_us": now_us}
        if not connection.execute(update(cursors).where(here).values(**values)).rowcount:
            connection.execute(insert(cursors).values(shop_id=shop_id, name=name, **values))
