"""One pass over the log for `check`: counts that add up over shards, whatever the number of shards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.windows import DAY_US, from_us
from ebbtide.events.capabilities import capabilities_of, observed_facts
from ebbtide.events.schema import EVENT_COLUMNS

COPY_KEY = ("user_id", "occurred_at", "type", "item_id", "order_id", "quantity", "value", "query")
_LONGEST_DELAY_DAYS = 3650
_FAR = from_us(2**53)


@dataclass
class LogFacts:
    """What the whole lake holds, known early or late. `days`: events a UTC day since 1970; `months`: (month, what) ->
    count with month as "2024-05" and what in events, users, outcomes; `delays`: events by whole days between
    `occurred_at` and `ingested_at`; `order_columns`: filled values a column among orders; `copies`: rows that repeat
    another in everything that says what happened; `largest_user`: events of the busiest user.
    """

    events: int = 0
    users: int = 0
    facts: Counter[str] = field(default_factory=Counter)
    days: Counter[int] = field(default_factory=Counter)
    months: Counter[tuple[str, str]] = field(default_factory=Counter)
    delays: Counter[int] = field(default_factory=Counter)
    order_columns: Counter[str] = field(default_factory=Counter)
    copies: int = 0
    free_orders: int = 0
    largest_user: int = 0

    def add(self, shard: pl.DataFrame, definition: ChurnDefinition) -> None:
        """Count one shard; shards hold disjoint users and all canonical columns."""
        if not len(shard):
            return
        self.events += len(shard)
        self.facts += observed_facts(shard, _FAR)
        by_user = shard["user_id"].value_counts()["count"]
        self.users += len(by_user)
        self.largest_user = max(self.largest_user, int(np.max(by_user.to_numpy())))
        self.copies += len(shard) - shard.select(pl.struct(COPY_KEY).n_unique()).item()
        self._add_times(shard, definition)
        self._add_orders(shard.filter(pl.col("type") == "order"))

    @property
    def capabilities(self) -> frozenset[str]:
        """What the log can tell."""
        return capabilities_of(self.facts)

    @property
    def by_type(self) -> dict[str, int]:
        """Events of each type, most frequent first."""
        counts = {name.removeprefix("type:"): n for name, n in self.facts.items() if name.startswith("type:")}
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    @property
    def by_month(self) -> dict[str, dict[str, int]]:
        """Events, active users and outcome events of each month with any, in order."""
        months = sorted({month for month, _ in self.months})
        return {m: {what: self.months[m, what] for what in ("events", "users", "outcomes")} for m in months}

    @property
    def first_day(self) -> int:
        """The first active day, in days since 1970."""
        return min(self.days)

    @property
    def last_day(self) -> int:
        """The last active day, in days since 1970."""
        return max(self.days)

    def delay_days(self, share: float) -> int:
        """The delay in whole days that `share` of the events do not exceed."""
        below = 0
        for delay in sorted(self.delays):
            below += self.delays[delay]
            if below >= share * self.events:
                return delay
        return 0

    def filled(self, column: str) -> float:
        """Share of events with a value in the column."""
        return self.facts[f"column:{column}"] / self.events

    def filled_in_orders(self, column: str) -> float | None:
        """Share of order events with a value in the column; null without orders."""
        orders = self.facts["type:order"]
        return self.order_columns[column] / orders if orders else None

    def _add_times(self, shard: pl.DataFrame, definition: ChurnDefinition) -> None:
        occurred = pl.col("occurred_at")
        late = (pl.col("ingested_at") - occurred).dt.total_microseconds() // DAY_US
        times = shard.select(
            "user_id",
            day=occurred.dt.epoch("us") // DAY_US,
            month=occurred.dt.strftime("%Y-%m"),
            delay=late.clip(0, _LONGEST_DELAY_DAYS),
            outcome=definition.is_outcome(),
        )
        self.days.update(dict(times["day"].value_counts().iter_rows()))
        self.delays.update(dict(times["delay"].value_counts().iter_rows()))
        months = times.group_by("month").agg(
            events=pl.len(), users=pl.col("user_id").n_unique(), outcomes=pl.col("outcome").sum()
        )
        for row in months.iter_rows(named=True):
            month = row.pop("month")
            self.months.update({(month, what): count for what, count in row.items()})

    def _add_orders(self, orders: pl.DataFrame) -> None:
        filled = orders.select(pl.col(c).is_not_null().sum() for c in EVENT_COLUMNS if c in orders.columns)
        self.order_columns.update(dict(zip(filled.columns, filled.row(0), strict=True)))
        self.free_orders += orders.select((pl.col("value") <= 0).sum()).item()
