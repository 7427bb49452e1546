"""A few events by hand, as the lake would hold them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from ebbtide.events.schema import EVENT_COLUMNS

AS_OF = datetime(2024, 5, 1, tzinfo=UTC)

MakeEvents = Callable[..., pl.DataFrame]


@pytest.fixture(scope="session")
def as_of() -> datetime:
    """The moment of all events by hand."""
    return AS_OF


@pytest.fixture(scope="session")
def make_events() -> MakeEvents:
    """`make_events(("user", days before as_of, "type", {"value": 2.0}), ...)`: an event frame, known when it happened."""

    def make(*given: tuple[Any, ...]) -> pl.DataFrame:
        rows = []
        for number, (user, days_ago, kind, *fields) in enumerate(given):
            at = AS_OF - timedelta(days=days_ago)
            rows.append(
                {"event_id": f"e{number:04}", "user_id": user, "occurred_at": at, "ingested_at": at, "type": kind}
                | (fields[0] if fields else {})
            )
        return pl.DataFrame(rows, schema=EVENT_COLUMNS)

    return make
