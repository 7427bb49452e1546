"""RFM: how recently, how often and for how much each user bought, scored 1 to 5, and segments with names.

Scores compare with quintiles that are fitted once on all buyers and kept: a score is 1 plus the number of quintile
edges that the value exceeds (for recency, that it stays below: 5 is the most recent fifth). Equal values get equal
scores, so that with many one-time buyers a score may be empty. The segment reads recency against the mean of
frequency and money, rounded up from the half; where the log has no money, against frequency alone. Without an order
there is no segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.language import Text
from ebbtide.core.nullable import nullable, table_of

SEGMENTS: dict[str, Text] = {
    "champions": Text("champions", "冠军顾客"),
    "loyal": Text("loyal", "忠诚顾客"),
    "potential_loyal": Text("potentially loyal", "潜在忠诚顾客"),
    "newcomers": Text("newcomers", "新来顾客"),
    "promising": Text("promising", "有前景的顾客"),
    "needs_attention": Text("needs attention", "需要关注"),
    "about_to_sleep": Text("about to sleep", "即将沉睡"),
    "slipping": Text("slipping away", "正在流失的好顾客"),
    "cannot_lose": Text("cannot lose", "不能失去的顾客"),
    "hibernating": Text("hibernating", "沉睡顾客"),
    "lost": Text("lost", "已失去"),
}
"""Code -> name, from the best to the worst."""

_TABLE = (
    # frequency and money 1, 2, 3, 4, 5; one row a recency score, 1 first
    ("lost", "lost", "slipping", "slipping", "cannot_lose"),
    ("hibernating", "hibernating", "slipping", "slipping", "slipping"),
    ("about_to_sleep", "about_to_sleep", "needs_attention", "loyal", "loyal"),
    ("promising", "potential_loyal", "potential_loyal", "loyal", "loyal"),
    ("newcomers", "potential_loyal", "potential_loyal", "champions", "champions"),
)
_SHARES = (0.2, 0.4, 0.6, 0.8)
_INPUTS = {"recency": "days_since_order", "frequency": "orders", "money": "spent"}


@dataclass(frozen=True)
class Rfm:
    """The quintile edges, four each: days since the last order, number of orders, money spent (None without money)."""

    recency: tuple[float, ...]
    frequency: tuple[float, ...]
    money: tuple[float, ...] | None

    def scores(self, facts: pl.DataFrame) -> pl.DataFrame:
        """recency_score, frequency_score, money_score (1-5, null where unknown) and segment, in the order of `facts`.

        Columns in: days_since_order, orders, spent.
        """
        days, orders, spent = (_floats(facts[column]) for column in _INPUTS.values())
        recency, frequency = _score(days, self.recency), _score(orders, self.frequency)
        money = np.zeros(len(facts), np.int64) if self.money is None else _score(spent, self.money)
        recency = np.where(recency > 0, 6 - recency, 0)
        both = np.where(money > 0, (frequency + money + 1) // 2, frequency)
        bought = (recency > 0) & (orders > 0)
        names = np.array(_TABLE)[np.maximum(recency, 1) - 1, np.maximum(both, 1) - 1]
        return table_of(
            {
                "recency_score": nullable(recency, bought),
                "frequency_score": nullable(frequency, bought),
                "money_score": nullable(money, bought & (money > 0)),
                "segment": pl.Series([n if b else None for n, b in zip(names, bought, strict=True)], dtype=pl.String),
            }
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "recency": list(self.recency),
            "frequency": list(self.frequency),
            "money": None if self.money is None else list(self.money),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        money = None if data["money"] is None else tuple(data["money"])
        return cls(tuple(data["recency"]), tuple(data["frequency"]), money)


def fit_rfm(facts: pl.DataFrame) -> Rfm | None:
    """The quintiles of all who ever ordered; None if nobody has. Columns in: days_since_order, orders, spent."""
    bought = facts.filter(pl.col("orders") > 0)
    if not len(bought):
        return None
    edges = {name: _edges(bought[column]) for name, column in _INPUTS.items()}
    return Rfm(edges["recency"] or (), edges["frequency"] or (), edges["money"])


def _edges(values: pl.Series) -> tuple[float, ...] | None:
    known = values.drop_nulls().to_numpy().astype(np.float64)
    return tuple(float(e) for e in np.quantile(known, _SHARES, method="inverted_cdf")) if len(known) else None


def _floats(values: pl.Series) -> NDArray[np.float64]:
    return values.to_numpy().astype(np.float64)


def _score(known: NDArray[np.float64], edges: tuple[float, ...]) -> NDArray[np.int64]:
    """1 to 5: one more than the edges below the value; 0 where it is unknown."""
    return np.where(np.isnan(known), 0, 1 + np.searchsorted(edges, np.nan_to_num(known), side="left")).astype(np.int64)
