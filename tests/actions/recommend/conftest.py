"""A made shop: some items come again after ten days, two come in one basket, tastes part customers into two kinds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from ebbtide.actions.recommend.interactions import READS
from ebbtide.actions.recommend.recommender import Recommender
from ebbtide.core.outreach_settings import RecommendConfig
from ebbtide.events.schema import TIME

START = datetime(2024, 1, 1, tzinfo=UTC)
AS_OF = START + timedelta(days=150)
MakeEvents = Callable[..., pl.DataFrame]


def events_of(*rows: tuple[str, str, str, float], known_after: float = 0.0, **columns: Any) -> pl.DataFrame:
    """Events (user, type, item, day); each order of a user and day is one basket."""
    user, kind, item, day = zip(*rows, strict=True)
    at = [START + timedelta(days=d) for d in day]
    told = {
        "user_id": user,
        "occurred_at": at,
        "ingested_at": [moment + timedelta(days=known_after) for moment in at],
        "type": kind,
        "item_id": item,
        "order_id": [None] * len(rows),
        "session_id": [None] * len(rows),
        "category": [i[0] for i in item],
        "unit_price": [10.0] * len(rows),
        **columns,
    }
    schema = {name: TIME if name.endswith("_at") else pl.String() for name in READS} | {"unit_price": pl.Float64()}
    return pl.DataFrame(told, schema=schema).select(READS)


def made_log(users: int = 120, *, seed: int = 0) -> pl.DataFrame:
    """180 days. Everybody buys coffee of the own kind (a0 or b0) every ten days, and now and then another item of it;
    filters (a1, b1) always come with coffee machines (a2, b2)."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, str, str, float]] = []
    for user in range(users):
        kind, first = "ab"[user % 2], rng.uniform(0, 10)
        name = f"u{user:03}"
        rows += [(name, "order", f"{kind}0", day) for day in np.arange(first, 180, 10.0)]
        for day in np.sort(rng.uniform(0, 180, 6)):
            item = f"{kind}{rng.integers(2, 15)}"
            rows += [(name, "product_view", item, day - 0.5), (name, "order", item, day)]
            if item[1:] == "2":
                rows.append((name, "order", f"{kind}1", day))
    return events_of(*[(u, t, i, float(d)) for u, t, i, d in rows if d >= 0])


@pytest.fixture(scope="session")
def log() -> pl.DataFrame:
    return made_log()


@pytest.fixture(scope="session")
def made(log: pl.DataFrame) -> Recommender:
    """Fitted at AS_OF, without factorisation."""
    return Recommender.fit(lambda: [log], AS_OF, RecommendConfig(), seed=0, with_als=False)
