"""The inbox: accepted events, durable before anybody is told so, each once, in the order of their commits.

Readers follow it by number. A number is given inside a transaction that no other such transaction overlaps, so who has
read up to a number has missed nothing before it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from sqlalchemy import Connection, delete, func, insert, select, text, update

from ebbtide.store.database import Database
from ebbtide.store.seen import AT_ONCE
from ebbtide.store.tables import cursors, inbox, shops

SCORED = "scored"
"""The reader that scores the users whom events have touched."""
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
        self.prepare({event.shop_id for event in events})
        with self._database.write(in_order=True) as connection:
            return self.adding(connection).add(events, now_us)

    def prepare(self, shop_ids: Iterable[str]) -> None:
        """Learn what the inbox holds, so that the next transaction that adds to it need not."""
        for shop_id in shop_ids:
            seen = self._database.seen.of(shop_id)
            if not seen.is_loaded:
                seen.follow(partial(self._keys, shop_id), partial(self._oldest, shop_id))

    def adding(self, connection: Connection) -> Adding:
        """`add` as a part of an `in_order` transaction of the caller's, who asks for it once a transaction."""
        return Adding(self._database, connection)

    def _keys(self, shop_id: str, start: int) -> Sequence[tuple[int, bytes]]:
        return self._database.rows(_KEYS, (shop_id, start, AT_ONCE))

    def _oldest(self, shop_id: str) -> int:
        return _number(self._database.first(_OLDEST, (shop_id,)))

    def after(self, shop_id: str, seq: int, limit: int, *, until: int | None = None) -> list[Stored]:
        """The next events of a shop behind number `seq`, at most `limit`, up to and with number `until`."""
        return [event for part in self.parts(shop_id, seq, limit, until=until) for event in part]

    def parts(self, shop_id: str, seq: int, limit: int, *, until: int | None = None) -> Iterator[list[Stored]]:
        """`after` in parts, of which none is empty.

        A reader that holds on to one moment for long keeps the embedded store's log from beginning anew.
        """
        while limit > 0:
            asked = min(_READ_AT_ONCE, limit)
            part = self._part(shop_id, seq, asked, until)
            if part:
                yield part
            if len(part) < asked:
                break
            seq, limit = part[-1].seq, limit - len(part)

    def _part(self, shop_id: str, seq: int, limit: int, until: int | None) -> list[Stored]:
        wanted = select(*_READ).where(inbox.c.shop_id == shop_id, inbox.c.seq > seq).order_by(inbox.c.seq).limit(limit)
        if until is not None:
            wanted = wanted.where(inbox.c.seq <= until)
        with self._database.read() as connection:
            rows = connection.execute(wanted).all()
        return [_stored(row) for row in rows]

    def at(self, numbers: Sequence[int]) -> list[Stored]:
        """The events of these numbers, in any order; without those that were pruned."""
        if self._database.is_embedded:
            return [_stored(row) for row in self._database.rows(_AT_JSON, (orjson.dumps(numbers).decode(),))]
        return [_stored(row) for row in self._database.rows(_AT_ARRAY, (list(numbers),))]

    def touches(self, shop_id: str, start: int, limit: int) -> list[tuple[int, str]]:
        """Number and user of the next `limit` events of a shop, from number `start` on."""
        return self._database.rows(_TOUCHES, (shop_id, start, limit))

    def touched(self, shop_id: str, after: int, limit: int) -> tuple[list[str], int]:
        """The users of the next `limit` events behind `after`, and the number of the last of these events."""
        found = self.touches(shop_id, after + 1, limit)
        return list(dict.fromkeys(user for _, user in found)), found[-1][0] if found else after

    def last_before(self, shop_id: str, us: int) -> int:
        """The number up to which all events of a shop came before a moment."""
        low, high = 0, self.newest(shop_id) + 1
        while high - low > 1:
            middle = (low + high) // 2
            row = self._database.first(_FROM, (shop_id, middle))
            low, high = (int(row[0]), high) if row and row[1] < us else (low, middle)
        return low

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


def _number(row: tuple[Any, ...] | None) -> int:
    """The one number of a row; 0 if there is none."""
    return int(row[0] or 0) if row else 0


def _stored(row: Sequence[Any]) -> Stored:
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
_KEYS = "select seq, event_key from inbox where shop_id = {} and seq >= {} order by seq limit {}"
_OLDEST = "select min(seq) from inbox where shop_id = {}"
_FROM = "select seq, ingested_us from inbox where shop_id = {} and seq >= {} order by seq limit 1"
_TOUCHES = "select seq, user_id from inbox where shop_id = {} and seq >= {} order by seq limit {}"
_AT_JSON = "select seq, user_id, ingested_us, body from inbox where seq in (select value from json_each({}))"
_AT_ARRAY = "select seq, user_id, ingested_us, body from inbox where seq = any({})"


class Adding:
    """Events on their way into the inbox within one `in_order` transaction."""

    def __init__(self, database: Database, connection: Connection) -> None:
        self._database, self._connection = database, connection
        self._looked: set[str] = set()
        self._own: set[bytes] = set()

    def add(self, events: Sequence[Incoming], now_us: int) -> list[bool]:
        """As `Inbox.add`."""
        shop_ids, keys = sorted({event.shop_id for event in events}), [event.key for event in events]
        known, fresh = self._known(shop_ids, keys), list[bool]()
        for key in keys:
            fresh.append(key not in known)
            known.add(key)
        moments = {shop_id: _tick(self._connection, shop_id, now_us) for shop_id in shop_ids}
        rows = [
            (e.shop_id, key, e.user_id, moments[e.shop_id], orjson.dumps({**e.fields, "event_id": e.event_id}))
            for e, key, new in zip(events, keys, fresh, strict=True)
            if new
        ]
        self._own.update(row[1] for row in rows)
        if rows:
            self._insert(rows)
        return fresh

    def _known(self, shop_ids: Sequence[str], keys: Sequence[bytes]) -> set[bytes]:
        """Keys of events that were here before this transaction or came with it. The last look at a shop is taken before
        anything of it is written: what is learnt must not be undone."""
        known = self._own.intersection(keys)
        for shop_id in shop_ids:
            seen = self._database.seen.of(shop_id)
            if shop_id not in self._looked:
                seen.follow(partial(self._keys, shop_id), partial(self._oldest, shop_id))
                self._looked.add(shop_id)
            known |= seen.known(keys)
        return known

    def _keys(self, shop_id: str, start: int) -> Sequence[tuple[int, bytes]]:
        return self._database.rows_within(self._connection, _KEYS, (shop_id, start, AT_ONCE))

    def _oldest(self, shop_id: str) -> int:
        return _number(self._database.rows_within(self._connection, _OLDEST, (shop_id,))[0])

    def _insert(self, rows: list[tuple[Any, ...]]) -> None:
        """Rows go to the driver as they are: the most frequent statement of all, and they need no translation."""
        if self._database.is_embedded:
            self._connection.exec_driver_sql(f"insert into inbox ({_COLUMNS}) values (?, ?, ?, ?, ?)", rows)
        else:
            self._connection.exec_driver_sql(_FROM_ARRAYS, tuple(map(list, zip(*rows, strict=True))))


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
