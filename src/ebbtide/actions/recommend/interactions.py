"""Who bought or looked at what, and when: the events of a log that say something about items, as flat arrays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.windows import to_us

KINDS = ("order", "cart_add", "wishlist_add", "product_view")
"""The event types that count: a purchase first, then signs of interest from strong to weak."""
BOUGHT, CART, WISH, VIEW = range(len(KINDS))
READS = (
    "user_id", "occurred_at", "ingested_at", "type", "item_id", "order_id", "session_id", "category", "unit_price",
)  # fmt: skip
"""The columns of an event frame that are read."""

Ints = NDArray[np.int64]
_SCHEMA = {
    "user_id": pl.String(), "item_id": pl.String(), "kind": pl.Int8(), "basket": pl.String(), "at": pl.Int64(),
    "times": pl.Int32(), "category": pl.String(), "price": pl.Float64(),
}  # fmt: skip


@dataclass(frozen=True)
class Interactions:
    """E meetings of U users with I items, user after user, each user's in the order of time.

    users (U,) and items (I,): ids. start (U + 1,): user u owns the rows `start[u]:start[u + 1]`. item, kind, at_us (E,).
    basket (E,): number of the order, or of the session or day of a sign of interest, unique over all users. times (E,):
    how often within that basket. `as_of_us`: the moment of knowledge.
    """

    users: pl.Series
    items: pl.Series
    start: Ints
    item: Ints
    kind: NDArray[np.int8]
    at_us: Ints
    basket: Ints
    times: NDArray[np.float64]
    as_of_us: int

    def __len__(self) -> int:
        return len(self.users)

    @classmethod
    def of(cls, meetings: pl.DataFrame, items: pl.Series, as_of: datetime) -> Self:
        """The meetings (from `meetings_of`, of whole users) with these items; others are left out, their users stay."""
        users = meetings["user_id"].unique().sort()
        places = pl.DataFrame({"item_id": items, "item": np.arange(len(items), dtype=np.int64)})
        people = pl.DataFrame({"user_id": users, "user": np.arange(len(users), dtype=np.int64)})
        rows = meetings.join(places, on="item_id").join(people, on="user_id").sort("user", "at", "kind", "item")
        basket = rows.select(pl.struct("user", "kind", "basket").rank("dense").cast(pl.Int64) - 1).to_series()
        return cls(
            users=users,
            items=items,
            start=np.searchsorted(rows["user"].to_numpy(), np.arange(len(users) + 1)).astype(np.int64),
            item=rows["item"].to_numpy(),
            kind=rows["kind"].to_numpy(),
            at_us=rows["at"].to_numpy(),
            basket=basket.to_numpy(),
            times=rows["times"].cast(pl.Float64).to_numpy(),
            as_of_us=to_us(as_of),
        )

    @property
    def user(self) -> Ints:
        """The user of each row, (E,)."""
        return np.repeat(np.arange(len(self.users)), np.diff(self.start))

    @property
    def age_days(self) -> NDArray[np.float64]:
        """How long before as_of each meeting was, (E,)."""
        return (self.as_of_us - self.at_us) / 86_400_000_000

    def block(self, first: int, last: int) -> Interactions:
        """The users in the places `first` to `last - 1` only."""
        return self.of_users(np.arange(first, last))

    def of_users(self, places: Ints) -> Interactions:
        """The users in these places only, in the order given."""
        size = np.diff(self.start)[places]
        start = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
        rows = np.repeat(self.start[:-1][places] - start[:-1], size) + np.arange(start[-1])
        columns = {name: getattr(self, name)[rows] for name in ("item", "kind", "at_us", "basket", "times")}
        return replace(self, users=self.users.gather(places), start=start, **columns)


def meetings_of(shards: Iterable[pl.DataFrame], as_of: datetime) -> pl.DataFrame:
    """One row a user, kind, basket and item that was known at `as_of`; the columns of an event frame that `READS` names.

    A purchase without an order id belongs to the basket of its day (UTC), a sign of interest to that of its session,
    else its day. Lines of one item in one basket are one row, with the time of the first.
    """
    return pl.concat([pl.DataFrame(schema=_SCHEMA), *(_met(shard, as_of) for shard in shards)])


def _met(shard: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    kind = pl.col("type").replace_strict({name: code for code, name in enumerate(KINDS)}, return_dtype=pl.Int8)
    day = pl.col("occurred_at").dt.strftime("%Y-%m-%d")
    given = pl.when(pl.col("type") == "order").then("order_id").otherwise("session_id")
    return (
        shard.lazy()
        .filter(
            (pl.col("occurred_at") <= as_of) & (pl.col("ingested_at") <= as_of),
            pl.col("type").is_in(KINDS),
            pl.col("item_id").is_not_null(),
        )
        .sort("occurred_at")
        .with_columns(kind=kind, basket=pl.coalesce(given, day), at=pl.col("occurred_at").dt.epoch("us"))
        .group_by("user_id", "item_id", "kind", "basket")
        .agg(
            at=pl.col("at").min(),
            times=pl.len().cast(pl.Int32),
            category=pl.col("category").drop_nulls().last(),
            price=pl.col("unit_price").drop_nulls().last(),
        )
        .select(_SCHEMA.keys())
        .collect()
    )
