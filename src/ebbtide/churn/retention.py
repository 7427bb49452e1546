"""Retention by cohort: of the users whose first order fell into a week or month, who ordered again in the k-th after?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import polars as pl

Unit = Literal["week", "month"]
_MONDAY = date(1969, 12, 29)
_CELLS = {"cohort": pl.Int64(), "period": pl.Int64(), "users": pl.UInt32()}


@dataclass(frozen=True)
class RetentionRow:
    """Users whose first order fell into the week or month that begins at `start`.

    active[k]: how many of them ordered in the k-th period after it (k = 0: the period itself, everybody); null while
    that period is not over. shares: active / users.
    """

    start: date
    users: int
    active: tuple[int | None, ...]

    @property
    def shares(self) -> tuple[float | None, ...]:
        """The active as shares of the users."""
        return tuple(None if n is None else n / self.users for n in self.active)


@dataclass(frozen=True)
class RetentionTable:
    """Cohorts, oldest first. Every row reaches to the newest period, so rows get shorter by one."""

    unit: Unit
    rows: tuple[RetentionRow, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        rows = [asdict(r) | {"start": r.start.isoformat(), "shares": list(r.shares)} for r in self.rows]
        return {"unit": self.unit, "rows": rows}


def count_retention(events: pl.DataFrame, until: datetime, unit: Unit, zone: ZoneInfo) -> pl.DataFrame:
    """The cells of one shard: how many users of each cohort are active in each period.

    Columns in: user_id, occurred_at of the orders; any order; events after `until` are left out. Periods are calendar
    ones of `zone`, weeks begin on Monday. Out: cohort, period (numbers of periods), users.
    """
    local = pl.col("occurred_at").dt.convert_time_zone(zone.key)
    known = events.filter(pl.col("occurred_at") <= until)
    active = known.select("user_id", period=_number(local, unit)).unique()
    cohorts = active.with_columns(cohort=pl.col("period").min().over("user_id"))
    return cohorts.group_by("cohort", "period").agg(users=pl.len()).select(pl.col(c).cast(t) for c, t in _CELLS.items())


def retention_table(cells: Iterable[pl.DataFrame], until: datetime, unit: Unit, zone: ZoneInfo) -> RetentionTable:
    """Add up the cells of all shards. A period is over when `until` lies in a later one."""
    total = pl.concat([pl.DataFrame(schema=_CELLS), *cells]).group_by("cohort", "period").agg(pl.col("users").sum())
    counted = {(c, p): int(n) for c, p, n in total.iter_rows()}
    local = pl.Series([until.astimezone(zone).replace(tzinfo=None)])
    current = int(pl.select(_number(pl.lit(local), unit)).item())
    rows = []
    for cohort in sorted({c for c, _ in counted}):
        users = counted[cohort, cohort]
        later = [None if p >= current else counted.get((cohort, p), 0) for p in range(cohort + 1, current + 1)]
        rows.append(RetentionRow(_start(cohort, unit), users, (users, *later)))
    return RetentionTable(unit, tuple(rows))


def _number(moment: pl.Expr, unit: Unit) -> pl.Expr:
    if unit == "month":
        return moment.dt.year().cast(pl.Int64) * 12 + moment.dt.month() - 1
    return (moment.dt.date().cast(pl.Int32).cast(pl.Int64) - (_MONDAY - date(1970, 1, 1)).days) // 7


def _start(number: int, unit: Unit) -> date:
    if unit == "month":
        return date(number // 12, number % 12 + 1, 1)
    return _MONDAY + timedelta(weeks=number)
