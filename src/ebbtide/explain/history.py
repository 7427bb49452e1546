"""One user's history, compact: the newest events, and how much happened week by week."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from ebbtide.core.windows import DAY_US
from ebbtide.events.schema import TIME


@dataclass(frozen=True)
class History:
    """What was known of one user.

    recent: occurred_at, type, lines, value; oldest first. The lines of one order (and type) are one row: the earliest
    time, the number of lines, the total value (null where no line has one).
    weeks: from_at, until_at, type, events, value; one row a week and type, the windows `(from_at, until_at]` counted
    back from as_of; lines of one order count once; weeks without events have no row.
    """

    as_of: datetime
    first_at: datetime | None
    recent: pl.DataFrame
    weeks: pl.DataFrame

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields; times in ISO format."""
        return {
            "as_of": self.as_of.isoformat(),
            "first_at": self.first_at and self.first_at.isoformat(),
            "recent": _rows(self.recent),
            "weeks": _rows(self.weeks),
        }


def history_of(events: pl.DataFrame, *, as_of: datetime, at_most: int = 20, weeks: int = 26) -> History:
    """The history of the one user whose events these are, as known at `as_of`: later or later-known events are ignored.

    At most `at_most` rows of newest events, and the last `weeks` weeks.
    """
    acts = _acts(events.filter((pl.col("occurred_at") <= as_of) & (pl.col("ingested_at") <= as_of)))
    age_us = (pl.lit(as_of, TIME) - pl.col("occurred_at")).dt.total_microseconds()
    week = (age_us // (7 * DAY_US)).alias("week")
    by_week = (
        acts.with_columns(week)
        .filter(pl.col("week") < weeks)
        .group_by("week", "type")
        .agg(events=pl.len(), value=_total("value"))
        .with_columns(until_at=pl.lit(as_of, TIME) - pl.duration(days=7 * pl.col("week")))
        .with_columns(from_at=pl.col("until_at") - pl.duration(days=7))
        .select("from_at", "until_at", "type", "events", "value")
        .sort("until_at", "type")
    )
    return History(as_of, acts["occurred_at"].min(), acts.tail(at_most), by_week)  # type: ignore[arg-type]


def _acts(known: pl.DataFrame) -> pl.DataFrame:
    """Events with the lines of an order joined, oldest first."""
    single = pl.coalesce("order_id", "event_id").alias("act")
    return (
        known.sort("occurred_at", "event_id")
        .group_by("type", single, maintain_order=True)
        .agg(occurred_at=pl.col("occurred_at").min(), lines=pl.len(), value=_total("value"))
        .sort("occurred_at", "type", "act")
        .select("occurred_at", "type", "lines", "value")
    )


def _total(column: str) -> pl.Expr:
    """The sum, null where nothing is known."""
    return pl.when(pl.col(column).count() > 0).then(pl.col(column).sum())


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    times = [name for name, dtype in frame.schema.items() if dtype == TIME]
    return frame.with_columns(pl.col(times).dt.strftime("%Y-%m-%dT%H:%M:%SZ")).to_dicts()
