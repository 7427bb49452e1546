"""A few events by hand, and a small shop's log as sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from ebbtide.core.windows import to_us
from ebbtide.events.schema import EVENT_COLUMNS
from ebbtide.sequences.event_log import EventLog, Sequences

START = datetime(2024, 1, 1, tzinfo=UTC)


def at_us(day: float) -> int:
    """UTC microseconds of a day after the start."""
    return to_us(START + timedelta(days=day))


@pytest.fixture(scope="session")
def make_log() -> Callable[[Sequence[dict[str, Any]]], EventLog]:
    """`make_log([{"user_id": "a", "day": 1, "type": "order", "arrives": 2}, ...])`: users in the order of their ids."""

    def make(events: Sequence[dict[str, Any]]) -> EventLog:
        rows = [
            {
                **{k: v for k, v in e.items() if k not in ("day", "arrives")},
                "occurred_at": START + timedelta(days=e["day"]),
                "ingested_at": START + timedelta(days=e.get("arrives", e["day"])),
                "event_id": str(i),
            }
            for i, e in enumerate(events)
        ]
        frame = pl.DataFrame(
            rows, schema_overrides={k: v for k, v in EVENT_COLUMNS.items() if any(k in r for r in rows)}
        )
        missing = [pl.lit(None, t).alias(c) for c, t in EVENT_COLUMNS.items() if c not in frame.columns]
        frame = frame.with_columns(missing).sort("user_id", "occurred_at", "event_id")
        _, start = np.unique(frame["user_id"].to_numpy(), return_index=True)
        return EventLog.of(frame, np.append(start, len(frame)))

    return make


@pytest.fixture(scope="session")
def make_sequences(make_log) -> Callable[..., Sequences]:
    """`users` users with random events over 100 days, `moments` rows each; a tenth of the events arrive 5 days late."""

    def make(users: int = 30, moments: int = 2, seed: int = 0) -> Sequences:
        rng = np.random.default_rng(seed)
        events = []
        for user in range(users):
            for day in np.sort(rng.uniform(0, 100, rng.integers(1, 40))):
                events.append(
                    {
                        "user_id": f"u{user:04d}",
                        "day": float(day),
                        "arrives": float(day + (5 if rng.random() < 0.1 else 0)),
                        "type": str(rng.choice(["product_view", "order", "search"])),
                        "item_id": f"i{rng.integers(0, 12)}",
                        "category": f"c{rng.integers(0, 3)}",
                        "unit_price": float(rng.integers(1, 90)),
                        "quantity": float(rng.integers(1, 4)),
                    }
                )
        log = make_log(events)
        at = np.repeat([at_us(60 + 20 * m) for m in range(moments)], users)
        return Sequences(log, np.tile(np.arange(users), moments), at)

    return make
