"""A user's history shows what was known at as_of, and nothing else."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from ebbtide.events.schema import EVENT_COLUMNS, empty_events
from ebbtide.explain.history import history_of

AS_OF = datetime(2024, 5, 1, tzinfo=UTC)


def event(
    name: str, days_ago: float, kind: str, *, known_days_ago: float | None = None, **fields: Any
) -> dict[str, Any]:
    occurred, known = (
        AS_OF - timedelta(days=d) for d in (days_ago, days_ago if known_days_ago is None else known_days_ago)
    )
    return {"event_id": name, "user_id": "u", "occurred_at": occurred, "ingested_at": known, "type": kind, **fields}


def frame(*events: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(events), schema=EVENT_COLUMNS)


EVENTS = frame(
    event("a", 0, "order", order_id="1", value=2.5),
    event("b", 0, "order", order_id="1", value=1.5),
    event("c", 7, "product_view"),
    event("d", 6.5, "product_view"),
    event("e", 20, "refund", order_id="1", value=-1.0),
)


def test_lines_of_an_order_are_one_act() -> None:
    recent = history_of(EVENTS, as_of=AS_OF).recent
    assert recent.select("type", "lines", "value").rows() == [
        ("refund", 1, -1.0),
        ("product_view", 1, None),
        ("product_view", 1, None),
        ("order", 2, 4.0),
    ]


def test_weeks_are_half_open_and_counted_back_from_as_of() -> None:
    """Exactly 7 days ago belongs to the week before: the windows are (from_at, until_at]."""
    weeks = history_of(EVENTS, as_of=AS_OF).weeks
    days = [((AS_OF - until).days, kind, count, value) for _, until, kind, count, value in weeks.rows()]
    assert days == [
        (14, "refund", 1, -1.0),
        (7, "product_view", 1, None),
        (0, "order", 1, 4.0),
        (0, "product_view", 1, None),
    ]
    assert (weeks["until_at"] - weeks["from_at"]).unique().to_list() == [timedelta(days=7)]


def test_no_later_or_later_known_event_changes_the_history() -> None:
    late = frame(event("x", -1, "order", value=9.0), event("y", 3, "support", known_days_ago=-2))
    assert history_of(pl.concat([EVENTS, late]), as_of=AS_OF).to_json() == history_of(EVENTS, as_of=AS_OF).to_json()


def test_row_order_does_not_matter() -> None:
    assert history_of(EVENTS.reverse(), as_of=AS_OF).to_json() == history_of(EVENTS, as_of=AS_OF).to_json()


def test_only_the_newest_are_shown() -> None:
    short = history_of(EVENTS, as_of=AS_OF, at_most=1, weeks=1)
    assert short.recent["type"].to_list() == ["order"]
    assert short.weeks["type"].to_list() == ["order", "product_view"]
    assert short.first_at == AS_OF - timedelta(days=20)


def test_nothing_known_is_an_empty_history() -> None:
    nothing = history_of(empty_events(), as_of=AS_OF)
    assert nothing.to_json() == {"as_of": "2024-05-01T00:00:00+00:00", "first_at": None, "recent": [], "weeks": []}


def test_the_json_is_json() -> None:
    told = json.loads(json.dumps(history_of(EVENTS, as_of=AS_OF).to_json()))
    assert told["recent"][-1] == {"occurred_at": "2024-05-01T00:00:00Z", "type": "order", "lines": 2, "value": 4.0}
    assert told["weeks"][-1]["from_at"] == "2024-04-24T00:00:00Z"
