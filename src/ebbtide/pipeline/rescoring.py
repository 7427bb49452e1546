"""Re-scoring: users whom events have touched, a few at a time, and everybody now and then, since silence alone raises risk.

What follows from new scores (alerts) is decided inside the transaction that stores them and moves the cursor on: after a
crash both have happened or neither has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from sqlalchemy import Connection

from ebbtide.core.windows import to_us
from ebbtide.pipeline.live_shop import EVERYBODY, LiveShop, stored_scores
from ebbtide.store.inbox import SCORED, Cursors
from ebbtide.store.scores import StoredScore

CURSOR = SCORED


@dataclass(frozen=True)
class Change:
    """Scores before and after, by user; a user without a score was, or is, not eligible.

    `touched`: users of new events, which are those of the inbox behind number `since`, up to and with `up_to`.
    """

    shop: LiveShop
    as_of: datetime
    before: Mapping[str, StoredScore]
    after: Mapping[str, StoredScore]
    touched: Sequence[str]
    since: int = 0
    up_to: int = 0


React = Callable[[Connection, Change], None]
"""Called within the transaction that stores the scores."""


@dataclass(frozen=True)
class Rescored:
    """How many users were looked at and how many have a score; `up_to`: number of the last event taken into account."""

    users: int
    scored: int
    up_to: int


def ignore(connection: Connection, change: Change) -> None:
    """Nothing follows from new scores."""


def rescore_touched(shop: LiveShop, *, react: React = ignore, limit: int = 20_000) -> Rescored:
    """Score the users of the next events in the inbox, at most `limit` events, and remember that it was done."""
    position = Cursors(shop.database).position(shop.shop_id, CURSOR)
    users, up_to = shop.inbox.touched(shop.shop_id, position, limit)
    if not users:
        return Rescored(0, 0, position)
    as_of = shop.now()
    scored = shop.score(users, as_of=as_of, reasons="none")
    _store(shop, scored, users, as_of, react, (position, up_to))
    return Rescored(len(users), scored.height, up_to)


def rescore_everybody(shop: LiveShop, *, react: React = ignore) -> Rescored:
    """Score all eligible users now, store their scores, and forget those of users who are no longer eligible."""
    as_of, users, position = shop.now(), 0, Cursors(shop.database).position(shop.shop_id, CURSOR)
    for scored in shop.score_everybody(as_of):
        _store(shop, scored, scored["user_id"].to_list(), as_of, react, None)
        users += scored.height
    shop.scores.forget_before(shop.shop_id, to_us(as_of))
    with shop.database.write() as connection:
        Cursors.move(connection, shop.shop_id, EVERYBODY, to_us(as_of), to_us(as_of))
    shop.serve(shop.served.bundle)
    return Rescored(users, users, position)


def _store(
    shop: LiveShop, scored: pl.DataFrame, users: Sequence[str], as_of: datetime, react: React,
    events: tuple[int, int] | None,
) -> None:  # fmt: skip
    """`events`: numbers between which the events lie that touched the users; None if it was not events."""
    rows = stored_scores(scored, shop.served)
    before = shop.scores.of_users(shop.shop_id, users)
    after = {row.user_id: row for row in rows}
    since, up_to = events or (0, 0)
    with shop.database.write() as connection:
        shop.scores.put_within(connection, shop.shop_id, rows)
        shop.scores.remove_within(connection, shop.shop_id, [u for u in users if u in before and u not in after])
        react(connection, Change(shop, as_of, before, after, users if events else (), since, up_to))
        if events:
            Cursors.move(connection, shop.shop_id, CURSOR, up_to, to_us(as_of))
