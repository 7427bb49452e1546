"""Small logs written by hand: day 0 is 2024-01-01."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from ebbtide.events.schema import TIME

START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="session")
def day() -> Callable[[float], datetime]:
    """The moment so many days after the start."""
    return lambda count: START + timedelta(days=count)


@pytest.fixture(scope="session")
def log() -> Callable[..., pl.DataFrame]:
    """Events from (user, day) or (user, day, type) or (user, day, type, day ingested)."""

    def make(*rows: tuple[object, ...]) -> pl.DataFrame:
        whole = [(*row, "order") if len(row) == 2 else row for row in rows]
        moments = [
            (u, START + timedelta(days=d), START + timedelta(days=(rest or [d])[0]), t) for u, d, t, *rest in whole
        ]
        schema = {"user_id": pl.String, "occurred_at": TIME, "ingested_at": TIME, "type": pl.String}
        return pl.DataFrame(moments, schema=schema, orient="row")

    return make
