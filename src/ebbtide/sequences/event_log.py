"""The event log of some users as flat columns: what sequence models read before anything is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.ids import hash_texts
from ebbtide.events.schema import EVENT_TYPES

READS = (
    "user_id", "occurred_at", "ingested_at", "event_id", "type", "item_id", "category", "channel", "quantity",
    "unit_price", "value", "rating",
)  # fmt: skip
"""The columns of an event frame that a log is made of."""
_CUSTOM = EVENT_TYPES.index("custom")


@dataclass(frozen=True)
class EventLog:
    """E events of U users, user after user, each user's in the order (time, event_id).

    start (U + 1,): user u owns the events `start[u]:start[u + 1]`. time, known (E,): occurred and ingested, UTC
    microseconds. type (E,): place in `EVENT_TYPES`. item, category, channel (E,): stable hashes, 0 = none.
    price, quantity, rating (E,): NaN = unknown; `price` is the unit price, else the value of a unit.
    """

    start: NDArray[np.int64]
    time: NDArray[np.int64]
    known: NDArray[np.int64]
    type: NDArray[np.uint8]
    item: NDArray[np.uint64]
    category: NDArray[np.uint64]
    channel: NDArray[np.uint64]
    price: NDArray[np.float32]
    quantity: NDArray[np.float32]
    rating: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.start) - 1

    @classmethod
    def of(cls, events: pl.DataFrame, start: NDArray[np.int64]) -> Self:
        """The log of an event frame (columns `READS`) that is sorted by user, time and event_id; `start` as above."""
        price = pl.coalesce("unit_price", pl.col("value") / pl.col("quantity"), "value")
        found = events.select(
            pl.col("occurred_at", "ingested_at").to_physical(),
            pl.col("type").cast(pl.Enum(EVENT_TYPES), strict=False).to_physical().fill_null(_CUSTOM).cast(pl.UInt8),
            price.cast(pl.Float32).fill_null(np.nan).alias("price"),
            pl.col("quantity", "rating").cast(pl.Float32).fill_null(np.nan),
        )
        return cls(
            start=np.asarray(start, np.int64),
            time=found["occurred_at"].to_numpy(),
            known=found["ingested_at"].to_numpy(),
            type=found["type"].to_numpy(),
            item=_hashed(events["item_id"]),
            category=_hashed(events["category"]),
            channel=_hashed(events["channel"]),
            price=found["price"].to_numpy(),
            quantity=found["quantity"].to_numpy(),
            rating=found["rating"].to_numpy(),
        )

    def of_users(self, users: NDArray[np.int64]) -> EventLog:
        """The log of these users only, in the order given, each at most once."""
        count = np.diff(self.start)[users]
        start = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
        rows = np.repeat(self.start[:-1][users] - start[:-1], count) + np.arange(start[-1])
        return replace(self, start=start, **{name: getattr(self, name)[rows] for name in _COLUMNS})

    @staticmethod
    def joined(parts: Sequence[EventLog]) -> EventLog:
        """Several logs as one, users numbered on. An empty list gives the log of nobody."""
        if not parts:
            return _NOBODY
        offsets = np.cumsum([0, *(part.start[-1] for part in parts)])
        starts = [part.start[:-1] + offset for part, offset in zip(parts, offsets, strict=False)]
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
        return EventLog(start=np.concatenate([*starts, [offsets[-1]]]).astype(np.int64), **columns)


@dataclass(frozen=True)
class Sequences:
    """For each of N rows, the events of one user that were known at one moment.

    user (N,): place in `log`; at_us (N,): the moment. An event belongs to a row if it occurred and was ingested at or
    before the row's moment; the log itself may hold later ones.
    """

    log: EventLog
    user: NDArray[np.int64]
    at_us: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.user)

    def take(self, index: NDArray[np.bool_] | NDArray[np.int64]) -> Sequences:
        """The rows at `index`, a mask or positions; the log is shared."""
        return replace(self, user=self.user[index], at_us=self.at_us[index])

    def narrowed(self) -> Sequences:
        """The same rows over a log of their own users only."""
        users, place = np.unique(self.user, return_inverse=True)
        return replace(self, log=self.log.of_users(users), user=place.astype(np.int64))

    def visible(self) -> NDArray[np.bool_]:
        """Which events of the log belong to any row, (E,)."""
        latest = np.full(len(self.log), np.iinfo(np.int64).min)
        np.maximum.at(latest, self.user, self.at_us)
        limit = np.repeat(latest, np.diff(self.log.start))
        return np.asarray((self.log.time <= limit) & (self.log.known <= limit))


def _hashed(texts: pl.Series) -> NDArray[np.uint64]:
    """Hashes, 0 for null; each distinct text is hashed once."""
    if texts.null_count() == len(texts):
        return np.zeros(len(texts), np.uint64)
    names = texts.drop_nulls().unique()
    hashes = pl.DataFrame({"text": names, "hash": hash_texts(names)})
    found = texts.to_frame("text").join(hashes, on="text", how="left", maintain_order="left")["hash"]
    return found.fill_null(0).to_numpy()


_COLUMNS = tuple(f.name for f in fields(EventLog) if f.name != "start")
_NOBODY = EventLog(
    start=np.zeros(1, np.int64),
    time=np.zeros(0, np.int64),
    known=np.zeros(0, np.int64),
    type=np.zeros(0, np.uint8),
    item=np.zeros(0, np.uint64),
    category=np.zeros(0, np.uint64),
    channel=np.zeros(0, np.uint64),
    price=np.zeros(0, np.float32),
    quantity=np.zeros(0, np.float32),
    rating=np.zeros(0, np.float32),
)
