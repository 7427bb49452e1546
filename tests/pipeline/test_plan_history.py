"""Past exposures: only closed windows count, and the context is that of the moment of the exposure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.settings import ChurnConfig
from ebbtide.events.schema import EVENT_COLUMNS, EXPOSURE_COLUMNS
from ebbtide.pipeline.plan_history import history_of, outcomes_of_exposures

NOW = datetime(2024, 6, 30, tzinfo=UTC)
QUESTION = ChurnDefinition.from_config(ChurnConfig(outcome="order", horizon="30d", eligible="order in 90d"))


def at(days_ago: float) -> datetime:
    return NOW - timedelta(days=days_ago)


def frame(schema: dict[str, Any], *rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{c: r.get(c) for c in schema} for r in rows], schema=schema)


def order(user: str, days_ago: float, told_days_ago: float | None = None) -> dict[str, Any]:
    told = at(days_ago if told_days_ago is None else told_days_ago)
    return {"user_id": user, "occurred_at": at(days_ago), "ingested_at": told, "type": "order"}


def exposure(user: str, action: str | None, days_ago: float) -> dict[str, Any]:
    return {"user_id": user, "action": action, "occurred_at": at(days_ago), "ingested_at": at(days_ago)}


def test_an_exposure_counts_once_its_window_has_closed() -> None:
    exposures = frame(
        EXPOSURE_COLUMNS,
        exposure("a", "coupon", 30),  # (30 days ago, now]: just closed
        exposure("b", "coupon", 29.9),  # still open
        exposure("c", "Control", 60),
        exposure("c", None, 60),
    )
    events = frame(EVENT_COLUMNS, order("a", 40), order("a", 0), order("c", 60), order("c", 29))
    found = outcomes_of_exposures(events, exposures, QUESTION, NOW)
    assert found.select("action", "kept").rows() == [("coupon", 1.0), ("nothing", 0.0)]


def test_the_context_is_that_of_the_exposure() -> None:
    """Two order days before it, one of them told too late; the order at the very moment counts as before."""
    events = frame(
        EVENT_COLUMNS,
        order("a", 80),
        order("a", 70, told_days_ago=10),
        order("a", 60.5),
        order("a", 60.4),
        order("a", 50),
    )
    found = outcomes_of_exposures(events, frame(EXPOSURE_COLUMNS, exposure("a", "coupon", 60.4)), QUESTION, NOW)
    assert found.row(0) == ("coupon", 1.0, 2.0, 0.0)


def test_only_declared_actions_and_control_teach() -> None:
    events = frame(EVENT_COLUMNS, order("a", 80))
    rows = [exposure("a", name, 60) for name in ("coupon", "nothing", "forgotten")]
    told = history_of(outcomes_of_exposures(events, frame(EXPOSURE_COLUMNS, *rows), QUESTION, NOW), ["call", "coupon"])
    assert told.action.tolist() == [2, 0]
    assert told.kept.tolist() == [0.0, 0.0]
    assert told.x.shape == (2, 3)
    assert told.x[0, 0] == pytest.approx(1.0)
