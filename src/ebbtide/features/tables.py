"""Reference tables: what is known of items from all users, week by week.

An item table counts, for each item and week, the events that became known in that week and their unit prices. A row at
as_of reads only weeks that were complete by then (and by the table's own end), so a table fitted at the end of training
tells an earlier training row nothing that was not known at that row's moment: no refit per moment is needed. Prices are
summed as whole millionths of a logarithm, so that the table does not depend on how users are split into shards.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.ids import hash_texts
from ebbtide.features.columns import ItemHistory, frozen
from ebbtide.features.kernels.items import WEEK_US

_FORMAT = 1
_FEW_EVENTS = 20_000
_SCHEMA = {
    "item_id": pl.String(), "week": pl.Int32(), "events": pl.Int64(), "priced": pl.Int64(), "log_price": pl.Int64(),
}  # fmt: skip
_ITEM_EVENTS = ("order", "product_view", "cart_add", "wishlist_add")


@dataclass(frozen=True)
class ItemTable:
    """Weekly totals of I items, as running totals within each item.

    item (I,) the items' stable hashes, ascending; start (I + 1,) spans of each item's weeks; week, events, priced,
    log_price as in `columns.ItemHistory`; known_week: weeks before it are complete.
    """

    item: NDArray[np.uint64]
    start: NDArray[np.int64]
    week: NDArray[np.int32]
    events: NDArray[np.int64]
    priced: NDArray[np.int64]
    log_price: NDArray[np.int64]
    known_week: int

    def look_up(self, item_ids: pl.Series) -> ItemHistory:
        """The history of each event's item; unknown and null items have none."""
        if len(item_ids) < _FEW_EVENTS:
            row = self._rows(item_ids)
        else:  # hash each name once
            names = item_ids.unique(maintain_order=False).drop_nulls()
            places = pl.DataFrame({"item_id": names, "row": self._rows(names)})
            events = pl.DataFrame({"item_id": item_ids})
            row = events.join(places, on="item_id", how="left", maintain_order="left")["row"].fill_null(-1).to_numpy()
        return frozen(
            ItemHistory(row, self.start, self.week, self.events, self.priced, self.log_price, self.known_week)
        )

    def _rows(self, names: pl.Series) -> NDArray[np.int32]:
        """The place of each item, -1 for one that the table does not have."""
        if not len(self.item):
            return np.full(len(names), -1, np.int32)
        hashed = hash_texts(names)
        at = np.minimum(np.searchsorted(self.item, hashed), len(self.item) - 1)
        found = self.item[at] == hashed
        if names.null_count():
            found &= names.is_not_null().to_numpy()
        return np.where(found, at, -1).astype(np.int32)

    def save(self, folder: Path) -> None:
        """Write `items.npz` and `items.json`."""
        np.savez_compressed(
            folder / "items.npz",
            item=self.item,
            start=self.start,
            week=self.week,
            events=self.events,
            priced=self.priced,
            log_price=self.log_price,
        )
        (folder / "items.json").write_text(json.dumps({"format": _FORMAT, "known_week": self.known_week}))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        about = json.loads((folder / "items.json").read_text())
        with np.load(folder / "items.npz", allow_pickle=False) as arrays:
            return cls(**{name: arrays[name] for name in arrays.files}, known_week=int(about["known_week"]))


class ItemCounter:
    """Gathers an item table shard by shard; shards may come in any order, and counters of parts `merge`."""

    def __init__(self, known_until_us: int) -> None:
        self._known_week = known_until_us // WEEK_US
        self._parts: list[pl.DataFrame] = []

    def add(self, shard: pl.DataFrame) -> None:
        """Count a shard's events that became known in the complete weeks before `known_until`."""
        week = pl.max_horizontal("occurred_at", "ingested_at").to_physical() // WEEK_US
        price = pl.col("unit_price")
        counted = (
            shard.lazy()
            .filter(pl.col("item_id").is_not_null(), pl.col("type").is_in(_ITEM_EVENTS))
            .select(
                "item_id",
                week.alias("week").cast(pl.Int32),
                pl.when(price > 0).then((price.log() * 1e6).round().cast(pl.Int64)).alias("log_price"),
            )
            .filter(pl.col("week") < self._known_week)
            .group_by("item_id", "week")
            .agg(
                events=pl.len().cast(pl.Int64),
                priced=pl.col("log_price").count().cast(pl.Int64),
                log_price=pl.col("log_price").sum(),
            )
            .collect()
        )
        self._parts.append(counted)

    def merge(self, other: ItemCounter) -> None:
        """Add what another counter has gathered."""
        self._parts += other._parts

    def table(self) -> ItemTable:
        """The table of everything added."""
        frame = pl.concat([pl.DataFrame(schema=_SCHEMA), *self._parts]).group_by("item_id", "week").agg(pl.all().sum())
        names = frame["item_id"].unique()
        hashes = pl.DataFrame({"item_id": names, "item": hash_texts(names)})
        frame = frame.join(hashes, on="item_id").sort("item", "item_id", "week")
        totals = frame.select(pl.col("events", "priced", "log_price").cum_sum().over("item", order_by="week"))
        item, first = np.unique(frame["item"].to_numpy(), return_index=True)
        return ItemTable(
            item=item.astype(np.uint64),
            start=np.append(first, len(frame)).astype(np.int64),
            week=frame["week"].to_numpy().astype(np.int32),
            events=totals["events"].to_numpy().astype(np.int64),
            priced=totals["priced"].to_numpy().astype(np.int64),
            log_price=totals["log_price"].to_numpy().astype(np.int64),
            known_week=int(self._known_week),
        )
