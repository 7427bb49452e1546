"""From a log to lessons: what was known at earlier moments, and what was bought in the window after each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.actions.recommend.evidence import FROM_EACH, Candidates, candidates_of
from ebbtide.actions.recommend.factors import AlsConfig
from ebbtide.actions.recommend.interactions import BOUGHT, Interactions, meetings_of
from ebbtide.actions.recommend.lesson import Lesson
from ebbtide.actions.recommend.tables import ItemTables, items_of

Read = Callable[[], Iterable[pl.DataFrame]]
"""Gives the log's shards, each time from the start; the columns `interactions.READS`."""
BLOCK_CELLS = 4_000_000
_MOST_USERS = 20_000


@dataclass(frozen=True)
class Known:
    """The meetings and the item tables of one moment."""

    meetings: Interactions
    tables: ItemTables


def known_at(read: Read, as_of: datetime, als: AlsConfig | None, *, seed: int) -> Known:
    """Fit the item tables on what was known at `as_of`."""
    met = meetings_of(read(), as_of)
    about = items_of(met)
    meetings = Interactions.of(met, about["item_id"], as_of)
    return Known(meetings, ItemTables.fit(meetings, about, als, seed=seed))


def blocks(meetings: Interactions) -> Iterable[Interactions]:
    """Users in blocks whose dense scores fit into a few megabytes."""
    size = max(1, min(1024, BLOCK_CELLS // max(len(meetings.items), 1)))
    for first in range(0, len(meetings), size):
        yield meetings.block(first, min(first + size, len(meetings)))


def wanted_after(read: Read, as_of: datetime, until: datetime, known: Interactions) -> tuple[NDArray[np.int64], ...]:
    """What each known user bought in `(as_of, until]`, as known at `until`: start (U + 1,), wanted (W,).

    Items that nobody had met by `as_of` are numbered from I on: they were wanted too, and no list could hold them.
    """
    bought = meetings_of(read(), until).filter(pl.col("kind") == BOUGHT, pl.col("at") > known.as_of_us)
    pairs = bought.select("user_id", "item_id").unique()
    names = pl.concat(
        [known.items, pairs["item_id"].filter(~pairs["item_id"].is_in(known.items.implode())).unique().sort()]
    )
    places = pl.DataFrame({"item_id": names, "item": np.arange(len(names), dtype=np.int64)})
    people = pl.DataFrame({"user_id": known.users, "user": np.arange(len(known), dtype=np.int64)})
    rows = pairs.join(people, on="user_id").join(places, on="item_id").sort("user", "item")
    start = np.searchsorted(rows["user"].to_numpy(), np.arange(len(known) + 1)).astype(np.int64)
    return start, rows["item"].to_numpy()


def lesson_of(
    known: Known, start: NDArray[np.int64], wanted: NDArray[np.int64], *, repeats: bool, from_each: int = FROM_EACH
) -> Lesson:
    """The candidates of the users who bought something, at most 20,000 of them, evenly spread."""
    buyers = np.flatnonzero(np.diff(start))
    buyers = buyers[np.unique(np.linspace(0, len(buyers) - 1, min(len(buyers), _MOST_USERS)).astype(np.int64))]
    allowed = np.ones(len(known.tables), np.bool_)
    parts, first = [], 0
    for block in blocks(known.meetings.of_users(buyers)):
        found = candidates_of(block, known.tables, allowed, from_each=from_each)
        found = Candidates(buyers[found.user + first], found.item, found.X)
        parts.append(found.take(repeats | (found.column("bought") == 0)))
        first += len(block)
    return Lesson(Candidates.joined(parts), start, wanted, len(known.tables))


def earlier_moments(first: datetime, as_of: datetime, window: timedelta, most: int) -> list[datetime]:
    """Moments one window apart whose windows had closed by `as_of`, newest first, each with a window of history.

    >>> d = datetime
    >>> [m.day for m in earlier_moments(d(2024, 1, 1), d(2024, 1, 31), timedelta(days=10), 3)]
    [21, 11]
    """
    moments = (as_of - window * k for k in range(1, most + 1))
    return [moment for moment in moments if moment - first >= window]
