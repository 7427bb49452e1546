"""What a user is compared with: RFM quintiles, groups, prices of the whole shop, fitted once and kept.

Fitted in training on everybody known then, it makes one user's profile the same whether the user is asked about alone
or with all others, and makes movements between two dates movements of users, not of yardsticks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import numpy as np
import polars as pl

from ebbtide.core.nullable import nullable
from ebbtide.events.capabilities import capabilities_of, observed_facts
from ebbtide.explain.clusters import Clusters, fit_clusters
from ebbtide.explain.rfm import Rfm, fit_rfm

_GRID = 100
_NO_SCORES = ("recency_score", "frequency_score", "money_score", "segment")


@dataclass(frozen=True)
class Reference:
    """`abilities`: what the log tells, as capabilities and two of our own (`coupon_codes`: orders name their coupon,
    `resolutions`: support contacts say whether they were resolved); `prices`: 101 quantiles of buyers' mean prices."""

    abilities: frozenset[str]
    rfm: Rfm | None
    clusters: Clusters | None
    prices: tuple[float, ...]

    def compare(self, facts: pl.DataFrame) -> pl.DataFrame:
        """The facts with scores, segment, cluster and price level beside them."""
        scores = self.rfm.scores(facts) if self.rfm else _nothing(facts)
        cluster = self.clusters.number(facts) if self.clusters else pl.Series("cluster", [None] * len(facts), pl.Int64)
        return facts.hstack([*scores, cluster, self._price_level(facts["mean_price"]).alias("price_level")])

    def _price_level(self, prices: pl.Series) -> pl.Series:
        """The percentile of a price, the middle of the stretch of equal ones; null where unknown."""
        if not self.prices:
            return pl.Series([None] * len(prices), dtype=pl.Float64)
        known = prices.to_numpy()
        low, high = (np.searchsorted(self.prices, known, side=side) for side in ("left", "right"))
        level = np.clip((low + high - 1) / 2, 0, _GRID) * (100 / _GRID)
        return nullable(level, ~np.isnan(known))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "abilities": sorted(self.abilities),
            "rfm": self.rfm and self.rfm.to_json(),
            "clusters": self.clusters and self.clusters.to_json(),
            "prices": list(self.prices),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(
            frozenset(data["abilities"]),
            Rfm.from_json(data["rfm"]) if data["rfm"] else None,
            Clusters.from_json(data["clusters"]) if data["clusters"] else None,
            tuple(data["prices"]),
        )


def count_abilities(known: pl.DataFrame, as_of: datetime) -> Counter[str]:
    """What a shard's events show of the log's abilities; counters of shards add up."""
    counts = observed_facts(known, as_of)
    told = (pl.col("type") == "support") & pl.col("properties").str.contains('"resolved"', literal=True)
    counts["resolutions"] = int(known.select(told.sum()).item())
    return counts


def abilities_of(counts: Counter[str]) -> frozenset[str]:
    """What the counts show: the capabilities of the log, and `coupon_codes` and `resolutions`."""
    own = {"coupon_codes": counts["column:coupon"], "resolutions": counts["resolutions"]}
    return capabilities_of(counts) | {name for name, count in own.items() if count}


def fit_reference(facts: pl.DataFrame, counts: Counter[str], *, clusters: int) -> Reference:
    """The reference of all users whose facts these are; `counts` adds up `count_abilities` of their shards."""
    prices = facts["mean_price"].drop_nulls().to_numpy()
    grid = np.quantile(prices, np.linspace(0, 1, _GRID + 1), method="inverted_cdf") if len(prices) else np.empty(0)
    return Reference(abilities_of(counts), fit_rfm(facts), fit_clusters(facts, clusters), tuple(grid.tolist()))


def _nothing(facts: pl.DataFrame) -> pl.DataFrame:
    types = {name: pl.String() if name == "segment" else pl.Int64() for name in _NO_SCORES}
    return pl.DataFrame({name: pl.Series([None] * len(facts), dtype=t) for name, t in types.items()})
