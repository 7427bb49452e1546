"""What is known of items from everybody: fitted once at a moment, then frozen. Nothing in it is about a person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.actions.recommend.factors import AlsConfig, ItemFactors
from ebbtide.actions.recommend.interactions import BOUGHT, VIEW, Interactions
from ebbtide.actions.recommend.neighbours import Neighbours
from ebbtide.actions.recommend.popularity import popularity
from ebbtide.actions.recommend.rhythm import Rhythm

Floats = NDArray[np.float64]
HALF_LIVES = (7.0, 30.0, 120.0)


@dataclass(frozen=True)
class ItemTables:
    """I items. category (I,): a code, -1 unknown. log_price (I,): of the latest sale, NaN unknown. sold (3, I): decayed
    purchases with each of `HALF_LIVES`; looked_at (I,): decayed views. age_days (I,): since the first meeting.
    together: bought in one basket; shared: met by one customer. factors None: without matrix factorisation.
    """

    items: pl.Series
    category: NDArray[np.int64]
    log_price: Floats
    sold: Floats
    looked_at: Floats
    age_days: Floats
    rhythm: Rhythm
    together: Neighbours
    shared: Neighbours
    factors: ItemFactors | None

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def fit(cls, known: Interactions, about: pl.DataFrame, als: AlsConfig | None, *, seed: int) -> ItemTables:
        """From all that was known. `about`: item_id, category, price, in the order of `known.items`; `als` None: no
        factorisation."""
        count, bought = len(known.items), known.kind == BOUGHT
        first = np.full(count, np.inf)
        np.minimum.at(first, known.item, known.at_us.astype(np.float64))
        price = about["price"].to_numpy().astype(np.float64)
        return cls(
            items=known.items,
            category=_codes(about["category"]),
            log_price=np.log(np.where(price > 0, price, np.nan)),
            sold=np.stack([popularity(known, half_life) for half_life in HALF_LIVES]),
            looked_at=popularity(known, HALF_LIVES[0], kind=VIEW),
            age_days=np.where(np.isfinite(first), (known.as_of_us - first) / 86_400_000_000, 0.0),
            rhythm=Rhythm.fit(known),
            together=Neighbours.fit(known.basket[bought], known.item[bought], count),
            shared=Neighbours.fit(known.user, known.item, count),
            factors=ItemFactors.fit(known, als, seed=seed) if als else None,
        )


def items_of(meetings: pl.DataFrame) -> pl.DataFrame:
    """The items that were met at least once: item_id, category and price as of the latest meeting that tells them."""
    told = meetings.sort("at", "user_id", "basket").group_by("item_id").agg(
        pl.col("category", "price").drop_nulls().last()
    )  # fmt: skip
    return told.sort("item_id")


def _codes(names: pl.Series) -> NDArray[np.int64]:
    return (names.rank("dense").cast(pl.Int64) - 1).fill_null(-1).to_numpy()
