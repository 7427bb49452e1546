"""The newest score of each user: written by whoever scores, read by whoever asks or lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, delete, func, or_, select

from ebbtide.store.database import Database
from ebbtide.store.tables import scores

_ASKED_AT_ONCE = 5_000


@dataclass(frozen=True)
class StoredScore:
    """A score; `reasons`: JSON list in every language of the shop's pages, None if nobody needed them yet."""

    user_id: str
    as_of_us: int
    churn_probability: float
    percentile: float | None
    band: str
    expected_orders: float | None
    value_at_risk: float | None
    reasons: str | None
    model: str


@dataclass(frozen=True)
class Page:
    """Where a list goes on: behind this probability and user."""

    churn_probability: float
    user_id: str


class Scores:
    """The scores of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, shop_id: str, rows: Sequence[StoredScore]) -> None:
        """Write scores, each over the user's older one; a score that is older than the stored one is left out."""
        with self._database.write() as connection:
            self.put_within(connection, shop_id, rows)

    def put_within(self, connection: Connection, shop_id: str, rows: Sequence[StoredScore]) -> None:
        """`put` as a part of the caller's transaction. No user twice in `rows`."""
        self._database.insert_many(connection, _UPSERT, [(shop_id, *_values(row)) for row in rows])

    def remove_within(self, connection: Connection, shop_id: str, users: Sequence[str]) -> None:
        """Forget the scores of users who are no longer eligible."""
        gone = delete(scores).where(
            scores.c.shop_id == shop_id, scores.c.user_id.in_(bindparam("users", expanding=True))
        )
        for start in range(0, len(users), _ASKED_AT_ONCE):
            connection.execute(gone, {"users": list(users[start : start + _ASKED_AT_ONCE])})

    def of_users(self, shop_id: str, users: Sequence[str]) -> dict[str, StoredScore]:
        """The scores of those users who have one."""
        wanted = select(*_OWN).where(
            scores.c.shop_id == shop_id, scores.c.user_id.in_(bindparam("users", expanding=True))
        )
        found: dict[str, StoredScore] = {}
        with self._database.read() as connection:
            for start in range(0, len(users), _ASKED_AT_ONCE):
                rows = connection.execute(wanted, {"users": list(users[start : start + _ASKED_AT_ONCE])})
                found.update((row[0], StoredScore(*row)) for row in rows)
        return found

    def of_user(self, shop_id: str, user_id: str) -> StoredScore | None:
        """The score of one user."""
        row = self._database.first(_OF_USER, (shop_id, user_id))
        return None if row is None else StoredScore(*row)

    def at_risk(
        self, shop_id: str, *, limit: int, bands: Sequence[str] = (), after: Page | None = None
    ) -> list[StoredScore]:
        """The users most at risk, first the largest probability, ties by user id; `after`: the last row of the page before."""
        p, user = scores.c.churn_probability, scores.c.user_id
        wanted = select(*_OWN).where(scores.c.shop_id == shop_id).order_by(p.desc(), user).limit(limit)
        if bands:
            wanted = wanted.where(scores.c.band.in_(bands))
        if after is not None:
            wanted = wanted.where(
                or_(p < after.churn_probability, (p == after.churn_probability) & (user > after.user_id))
            )
        with self._database.read() as connection:
            return [StoredScore(*row) for row in connection.execute(wanted)]

    def probabilities(self, shop_id: str, model: str) -> NDArray[np.float64]:
        """The probabilities of all users that this model has scored, in no order."""
        wanted = select(scores.c.churn_probability).where(scores.c.shop_id == shop_id, scores.c.model == model)
        with self._database.read() as connection:
            return np.fromiter(connection.scalars(wanted), np.float64)

    def forget_before(self, shop_id: str, as_of_us: int) -> int:
        """Forget scores from before a moment: those of users who were no longer scored then. Says how many."""
        old = delete(scores).where(scores.c.shop_id == shop_id, scores.c.as_of_us < as_of_us)
        with self._database.write() as connection:
            return int(connection.execute(old).rowcount)

    def counts(self, shop_id: str) -> dict[str, int]:
        """How many users stand in each band."""
        wanted = select(scores.c.band, func.count()).where(scores.c.shop_id == shop_id).group_by(scores.c.band)
        with self._database.read() as connection:
            return {band: int(count) for band, count in connection.execute(wanted)}


_FIELDS = tuple(StoredScore.__dataclass_fields__)
_OWN = tuple(scores.c[name] for name in _FIELDS)
_values = attrgetter(*_FIELDS)
_OF_USER = f"select {', '.join(_FIELDS)} from scores where shop_id = {{}} and user_id = {{}}"
_UPSERT = (
    f"insert into scores (shop_id, {', '.join(_FIELDS)}) values ({{}}, {', '.join(['{}'] * len(_FIELDS))}) "
    f"on conflict (shop_id, user_id) do update set {', '.join(f'{n} = excluded.{n}' for n in _FIELDS[1:])} "
    "where scores.as_of_us <= excluded.as_of_us"
)
