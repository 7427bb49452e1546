"""The newest score of each user: written by whoever scores, read by whoever asks or lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, bindparam, delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

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
        if not rows:
            return
        dialect = sqlite if self._database.is_embedded else postgresql
        added = dialect.insert(scores)
        newer = {c.name: added.excluded[c.name] for c in scores.c if c.name not in ("shop_id", "user_id")}
        upsert = added.on_conflict_do_update(
            index_elements=["shop_id", "user_id"], set_=newer, where=scores.c.as_of_us <= added.excluded.as_of_us
        )
        connection.execute(upsert, [{"shop_id": shop_id, **asdict(row)} for row in rows])

    def remove_within(self, connection: Connection, shop_id: str, users: Sequence[str]) -> None:
        """Forget the scores of users who are no longer eligible."""
        gone = delete(scores).where(
            scores.c.shop_id == shop_id, scores.c.user_id.in_(bindparam("users", expanding=True))
        )
        for start in range(0, len(users), _ASKED_AT_ONCE):
            connection.execute(gone, {"users": list(users[start : start + _ASKED_AT_ONCE])})

    def of_users(self, shop_id: str, users: Sequence[str]) -> dict[str, StoredScore]:
        """The scores of those users who have one."""
        wanted = select(scores).where(
            scores.c.shop_id == shop_id, scores.c.user_id.in_(bindparam("users", expanding=True))
        )
        found: dict[str, StoredScore] = {}
        with self._database.read() as connection:
            for start in range(0, len(users), _ASKED_AT_ONCE):
                rows = connection.execute(wanted, {"users": list(users[start : start + _ASKED_AT_ONCE])})
                found.update((row.user_id, _score(row)) for row in rows)
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
        wanted = select(scores).where(scores.c.shop_id == shop_id).order_by(p.desc(), user).limit(limit)
        if bands:
            wanted = wanted.where(scores.c.band.in_(bands))
        if after is not None:
            wanted = wanted.where(
                or_(p < after.churn_probability, (p == after.churn_probability) & (user > after.user_id))
            )
        with self._database.read() as connection:
            return [_score(row) for row in connection.execute(wanted)]

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


_OF_USER = f"select {', '.join(StoredScore.__dataclass_fields__)} from scores where shop_id = {{}} and user_id = {{}}"


def _score(row: Row[Any]) -> StoredScore:
    return StoredScore(**{name: getattr(row, name) for name in StoredScore.__dataclass_fields__})
