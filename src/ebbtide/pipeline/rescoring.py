"""Re-scoring: users whom events have touched, a few at a time, and everybody now and then, since silence alone raises risk.

What follows from new scores (alerts) is decided inside the transaction that stores them: after a crash both have happened or
neither has. Scores of many users are stored a part at a time, between which whoever brings events has a turn; the cursor moves on
with the last part, and who was stored before a crash is only scored once more.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from ebbtide.core.windows import to_us
from ebbtide.pipeline.live_shop import EVERYBODY, LiveShop, stored_scores
from ebbtide.pipeline.set_aside import Outcome
from ebbtide.store.inbox import SCORED, Cursors
from ebbtide.store.scores import StoredScore

CURSOR = SCORED
STORED_AT_ONCE = 3_000
"""Users whose scores one transaction stores: it keeps the store's one writer for some 30 ms."""


@dataclass(frozen=True)
class Change:
    """Scores before and after, by user; a user without a score was, or is, not eligible.

    `touched`: users of new events. The events themselves, those of the inbox behind number `since`, up to and with `up_to`, are
    named once, with the last part of their users; both numbers are 0 until then.
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
    """How many users were looked at and how many have a score; `up_to`: number of the last event taken into account.

    `aside`: by reason, users who could not be scored. They are tried again when there is something new of them.
    """

    users: int
    scored: int
    up_to: int
    aside: Mapping[str, int] = field(default_factory=dict)


def ignore(connection: Connection, change: Change) -> None:
    """Nothing follows from new scores."""


def rescore_touched(shop: LiveShop, *, react: React = ignore, limit: int = 20_000) -> Rescored:
    """Score the users of the next events in the inbox, at most `limit` events, and remember that it was done."""
    position = Cursors(shop.database).position(shop.shop_id, CURSOR)
    users, up_to = shop.inbox.touched(shop.shop_id, position, limit)
    if not users:
        return Rescored(0, 0, position)
    as_of = shop.now()
    found = shop.score_apart(users, as_of=as_of, reasons="none")
    _store(shop, found, users, as_of, react, (position, up_to))
    return Rescored(len(users), found.scored.height, up_to, found.counts())


def rescore_everybody(shop: LiveShop, *, react: React = ignore) -> Rescored:
    """Score all eligible users now, store their scores, and forget those of users who are no longer eligible."""
    as_of, users, position = shop.now(), 0, Cursors(shop.database).position(shop.shop_id, CURSOR)
    aside = Counter[str]()
    for found in shop.score_everybody(as_of):
        _store(shop, found, found.scored["user_id"].to_list(), as_of, react, None)
        users += found.scored.height
        aside += found.counts()
    shop.scores.forget_before(shop.shop_id, to_us(as_of))
    with shop.database.write() as connection:
        Cursors.move(connection, shop.shop_id, EVERYBODY, to_us(as_of), to_us(as_of))
    shop.serve(shop.served.bundle)
    return Rescored(users, users, position, aside)


def _store(
    shop: LiveShop, found: Outcome, users: Sequence[str], as_of: datetime, react: React,
    events: tuple[int, int] | None,
) -> None:  # fmt: skip
    """`events`: numbers between which the events lie that touched the users; None if it was not events.

    Who was set aside keeps the last score until the next full run.
    """
    known, pause = {row.user_id: row for row in stored_scores(found.scored, shop.served)}, 0.0
    for start in range(0, max(len(users), 1), STORED_AT_ONCE):
        part = users[start : start + STORED_AT_ONCE]
        before, after = shop.scores.of_users(shop.shop_id, part), {user: known[user] for user in part if user in known}
        is_last = start + STORED_AT_ONCE >= len(users)
        since, up_to = events if events and is_last else (0, 0)
        gone = [u for u in part if u in before and u not in after and u not in found.aside]
        time.sleep(pause)
        with shop.database.write() as connection:
            started = time.monotonic()
            shop.scores.put_within(connection, shop.shop_id, list(after.values()))
            shop.scores.remove_within(connection, shop.shop_id, gone)
            react(connection, Change(shop, as_of, before, after, part if events else (), since, up_to))
            if events and is_last:
                Cursors.move(connection, shop.shop_id, CURSOR, up_to, to_us(as_of))
        pause = (time.monotonic() - started) / 2
