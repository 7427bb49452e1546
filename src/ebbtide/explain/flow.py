"""The flow between two moments: who was in which stage then, and is in which now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

UNKNOWN = "unknown"
"""Not known yet at the earlier moment."""


@dataclass(frozen=True)
class Flow:
    """`users[then][now]`: how many moved; every user known at `after` is counted once, `unknown` among the earlier."""

    before: datetime
    after: datetime
    users: dict[str, dict[str, int]]

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {"before": self.before.isoformat(), "after": self.after.isoformat(), "users": self.users}


def flow_between(
    then: pl.DataFrame, now: pl.DataFrame, codes: Iterable[str], before: datetime, after: datetime
) -> Flow:
    """Columns in: user_id, stage. All pairs of codes stand in the result, zeros too."""
    listed = list(codes)
    moved = (
        now.select("user_id", now="stage")
        .join(then.select("user_id", then="stage"), on="user_id", how="left")
        .with_columns(pl.col("then").fill_null(UNKNOWN))
        .group_by("then", "now")
        .len()
    )
    found = {(row[0], row[1]): row[2] for row in moved.iter_rows()}
    users = {a: {b: found.get((a, b), 0) for b in listed} for a in (*listed, UNKNOWN)}
    return Flow(before, after, users)
