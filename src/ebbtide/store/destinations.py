"""Destinations: a channel that fails again and again is left alone for a while, then tried with one message.

A circuit breaker that is kept in the store, so that a restart does not forget it and all workers share it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select

from ebbtide.store.database import Database, upserting
from ebbtide.store.tables import destinations

FAILURES = 5
"""Failures in a row after which a channel is left alone."""
_FIRST_US, _LONGEST_US = 5_000_000, 8_000_000
"""A trial is one small call. A longer pause would spare a dead receiver little, and keep one that is back waiting."""


@dataclass(frozen=True)
class Standing:
    """Failures in a row, and until when the channel is left alone."""

    failures: int = 0
    closed_until_us: int = 0

    def allows(self, now_us: int, wanted: int) -> int:
        """How many messages may be sent now: all, one as a trial, or none.

        >>> Standing().allows(0, 9), Standing(FAILURES, 5).allows(4, 9), Standing(FAILURES, 5).allows(5, 9)
        (9, 0, 1)
        """
        if self.failures < FAILURES:
            return wanted
        return 0 if now_us < self.closed_until_us else min(wanted, 1)

    def after_failure(self, now_us: int, *, was_trial: bool) -> Standing:
        """One more failure; those that were under way when the channel was closed do not count again.

        >>> Standing(FAILURES - 1).after_failure(0, was_trial=False).closed_until_us
        5000000
        >>> Standing(FAILURES, 9).after_failure(9, was_trial=True).closed_until_us
        8000009
        """
        if self.failures >= FAILURES and not was_trial:
            return self
        failures = self.failures + 1
        if failures < FAILURES:
            return Standing(failures, 0)
        pause = min(_LONGEST_US, _FIRST_US << min(failures - FAILURES, 16))
        return Standing(failures, now_us + pause)


class Destinations:
    """How the channels of a shop fare."""

    def __init__(self, database: Database, shop_id: str) -> None:
        self._database, self._shop_id = database, shop_id

    def standing(self, channel: str) -> Standing:
        """How a channel fares."""
        with self._database.read() as connection:
            return self.standing_within(connection, channel)

    def standing_within(self, connection: Connection, channel: str) -> Standing:
        """`standing` as a part of a transaction; on PostgreSQL the row is held until its end."""
        wanted = select(destinations.c.failures, destinations.c.closed_until_us).where(self._here(channel))
        row = connection.execute(wanted.with_for_update()).first()
        return Standing() if row is None else Standing(row.failures, row.closed_until_us)

    def put_within(self, connection: Connection, channel: str, standing: Standing) -> None:
        """Store how a channel fares; of one that fares well nothing is stored, so that its workers share no row."""
        if standing == Standing():
            connection.execute(delete(destinations).where(self._here(channel)))
            return
        values = {"failures": standing.failures, "closed_until_us": standing.closed_until_us}
        added = upserting(connection, destinations).values(shop_id=self._shop_id, channel=channel, **values)
        connection.execute(added.on_conflict_do_update(index_elements=["shop_id", "channel"], set_=values))

    def _here(self, channel: str) -> object:
        return (destinations.c.shop_id == self._shop_id) & (destinations.c.channel == channel)
