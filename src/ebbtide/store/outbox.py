"""The outbox: messages stored by the transaction that caused them, and sent, each at least once, by whoever claims them.

A claim is a lease: `due_us` moves to its end, so the message of a worker that was killed comes back by itself. Two
workers never wait for each other, because rows that another one is claiming are skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, or_, select, update

from ebbtide.store.database import Database, upserting
from ebbtide.store.tables import outbox

STATES: tuple[str, ...] = ("waiting", "sent", "dead", "dropped")
_DONE = ("sent", "dropped")
_ASKED_AT_ONCE = 500


@dataclass(frozen=True)
class NewMessage:
    """A message to store. `message_id`: the same each time it is sent; `consent`: purpose that must still hold, or ""."""

    channel: str
    message_id: str
    due_us: int
    since_us: int
    user_id: str
    consent: str
    body: bytes


@dataclass(frozen=True)
class Message:
    """A claimed message; `due_us`: end of the lease, `attempts`: this one included, `since_us`: when trying began."""

    seq: int
    channel: str
    message_id: str
    due_us: int
    since_us: int
    attempts: int
    user_id: str
    consent: str
    body: bytes


class Outbox:
    """The outbox of one shop."""

    def __init__(self, database: Database, shop_id: str) -> None:
        self._database, self._shop_id = database, shop_id

    def add_within(self, connection: Connection, rows: Sequence[NewMessage]) -> None:
        """Store messages, as a part of the transaction that causes them; one that is there stays as it is."""
        fresh = {"shop_id": self._shop_id, "state": "waiting", "attempts": 0, "reason": ""}
        if rows:
            added = upserting(connection, outbox).on_conflict_do_nothing()
            connection.execute(added, [{**row.__dict__, **fresh} for row in rows])

    def next_due_us(self, channel: str) -> int | None:
        """When the next message of a channel is due; None if none waits."""
        wanted = select(func.min(outbox.c.due_us)).where(self._waiting(), outbox.c.channel == channel)
        with self._database.read() as connection:
            found = connection.scalar(wanted)
        return None if found is None else int(found)

    def claim_within(
        self, connection: Connection, channel: str, now_us: int, limit: int, lease_us: int
    ) -> list[Message]:
        """Lease the messages of a channel that are due, the longest waiting first."""
        due = (
            select(outbox.c.seq)
            .where(self._waiting(), outbox.c.channel == channel, outbox.c.due_us <= now_us)
            .order_by(outbox.c.due_us, outbox.c.seq)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        numbers = list(connection.scalars(due))
        if not numbers:
            return []
        leased = update(outbox).where(outbox.c.seq.in_(numbers)).returning(outbox)
        rows = connection.execute(leased.values(due_us=now_us + lease_us, attempts=outbox.c.attempts + 1))
        return sorted((_message(row) for row in rows), key=lambda message: message.seq)

    @staticmethod
    def sent_within(connection: Connection, messages: Sequence[Message], now_us: int) -> None:
        """They have arrived, whoever has claimed them since. `due_us` becomes the moment at which that was known."""
        _finish(connection, messages, "sent", "", now_us)

    @staticmethod
    def drop_within(connection: Connection, messages: Sequence[Message], reason: str, now_us: int) -> None:
        """They must not go out any more."""
        _finish(connection, messages, "dropped", reason, now_us)

    @staticmethod
    def bury_within(connection: Connection, message: Message, reason: str) -> None:
        """Nobody tries any more until `revive`. Nothing happens if the lease has ended and another worker has it."""
        connection.execute(update(outbox).where(_ours(message)).values(state="dead", reason=reason))

    @staticmethod
    def retry_within(connection: Connection, message: Message, due_us: int, reason: str) -> None:
        """Try again at `due_us`. Nothing happens if the lease has ended and another worker has it."""
        connection.execute(update(outbox).where(_ours(message)).values(due_us=due_us, reason=reason))

    def drop_alerts_within(self, connection: Connection, message_ids: Sequence[str], reason: str) -> None:
        """The messages of these alerts that still wait, or are dead, must not go out any more."""
        for start in range(0, len(message_ids), _ASKED_AT_ONCE):
            these = outbox.c.message_id.in_(message_ids[start : start + _ASKED_AT_ONCE])
            left = and_(outbox.c.shop_id == self._shop_id, these, outbox.c.state.in_(("waiting", "dead")))
            connection.execute(update(outbox).where(left).values(state="dropped", reason=reason))

    def revive(self, now_us: int, *, channel: str = "") -> int:
        """Dead letters wait again, as if they were new; says how many. `channel`: only its own."""
        dead = and_(outbox.c.shop_id == self._shop_id, outbox.c.state == "dead")
        if channel:
            dead = and_(dead, outbox.c.channel == channel)
        fresh = {"state": "waiting", "due_us": now_us, "since_us": now_us, "attempts": 0}
        with self._database.write() as connection:
            return int(connection.execute(update(outbox).where(dead).values(**fresh)).rowcount)

    def counts(self) -> dict[tuple[str, str], int]:
        """How many messages, by channel and state."""
        by = (outbox.c.channel, outbox.c.state)
        wanted = select(*by, func.count()).where(outbox.c.shop_id == self._shop_id).group_by(*by).order_by(*by)
        with self._database.read() as connection:
            return {(row[0], row[1]): int(row[2]) for row in connection.execute(wanted)}

    def dead(self, *, limit: int = 100) -> list[tuple[str, str, str]]:
        """The newest dead letters: channel, message id and reason."""
        wanted = select(outbox.c.channel, outbox.c.message_id, outbox.c.reason).where(
            outbox.c.shop_id == self._shop_id, outbox.c.state == "dead"
        )
        with self._database.read() as connection:
            rows = connection.execute(wanted.order_by(outbox.c.seq.desc()).limit(limit))
            return [(row[0], row[1], row[2]) for row in rows]

    def prune_within(self, connection: Connection, *, done_before_us: int, dead_before_us: int) -> int:
        """Forget messages that were sent or dropped before a moment, and dead letters from before another."""
        old = or_(
            and_(outbox.c.state.in_(_DONE), outbox.c.due_us < done_before_us),
            and_(outbox.c.state == "dead", outbox.c.since_us < dead_before_us),
        )
        return int(connection.execute(delete(outbox).where(outbox.c.shop_id == self._shop_id, old)).rowcount)

    def _waiting(self) -> Any:
        return and_(outbox.c.shop_id == self._shop_id, outbox.c.state == "waiting")


def _finish(connection: Connection, messages: Sequence[Message], state: str, reason: str, now_us: int) -> None:
    numbers = [message.seq for message in messages]
    if numbers:
        done = {"state": state, "reason": reason, "due_us": now_us}
        connection.execute(update(outbox).where(outbox.c.seq.in_(numbers)).values(**done))


def _ours(message: Message) -> Any:
    return and_(outbox.c.seq == message.seq, outbox.c.state == "waiting", outbox.c.due_us == message.due_us)


def _message(row: Row[Any]) -> Message:
    return Message(**{name: getattr(row, name) for name in Message.__dataclass_fields__})
