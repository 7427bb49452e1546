"""Each oddity is found where it is planted, and nowhere in a healthy log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.events.schema import EVENT_COLUMNS
from ebbtide.pipeline.check_facts import LogFacts
from ebbtide.pipeline.check_findings import Finding, find_oddities

START = datetime(2024, 1, 1, 9, 30, tzinfo=UTC)


def healthy(days: int = 182, users: int = 150) -> pl.DataFrame:
    """Two hundred orders a day until the last day of June, each its own item and value."""
    rng = np.random.default_rng(0)
    size = days * 200
    day = np.repeat(np.arange(days), 200)
    return pl.DataFrame(
        {
            "user_id": [f"u{i}" for i in rng.integers(0, users, size)],
            "occurred_at": [START + timedelta(days=int(d)) for d in day],
            "item_id": [str(i) for i in range(size)],
            "value": rng.uniform(5, 50, size),
            "type": ["order"] * size,
        }
    )


def findings(frame: pl.DataFrame, rejected: dict[str, int] | None = None) -> dict[str, Finding]:
    if "ingested_at" not in frame.columns:
        frame = frame.with_columns(ingested_at="occurred_at")
    missing = [pl.lit(None, t).alias(c) for c, t in EVENT_COLUMNS.items() if c not in frame.columns]
    whole = frame.with_columns(missing).select(pl.col(c).cast(t) for c, t in EVENT_COLUMNS.items())
    facts = LogFacts()
    for part in (whole.filter(pl.col("user_id") < "u5"), whole.filter(pl.col("user_id") >= "u5")):
        facts.add(part, ChurnDefinition())
    return {f.code: f for f in find_oddities(facts, rejected)}


def day_of(frame: pl.DataFrame) -> pl.Expr:
    return (pl.col("occurred_at") - START).dt.total_days()


def test_a_healthy_log_has_no_findings() -> None:
    assert findings(healthy()) == {}


def test_a_silent_fortnight_is_found_with_its_length_and_start() -> None:
    frame = healthy()
    found = findings(frame.filter(~day_of(frame).is_between(60, 73)))
    assert list(found) == ["silent_period"]
    assert "14 days in a row after 2024-02-29" in found["silent_period"].text.en


def test_quiet_weekends_are_no_silent_period() -> None:
    frame = healthy()
    assert findings(frame.filter(day_of(frame) % 7 < 5)).keys() <= {"last_month_incomplete"}


def test_an_unfinished_last_month_is_named() -> None:
    found = findings(healthy(days=160))["last_month_incomplete"]  # 2024-06-08
    assert "day 8 of 30" in found.text.en
    assert found.severity == "info"


def test_a_drop_at_the_end_is_found() -> None:
    frame = healthy()
    thinned = frame.filter((day_of(frame) < 175) | (pl.col("item_id").str.ends_with("0")))
    found = findings(thinned)["volume_drop"]
    assert "10% of the usual number" in found.text.en
    assert found.severity == "warn"


def test_copies_are_counted_across_the_log() -> None:
    frame = healthy()
    twice = pl.concat([frame, frame.head(1000)])
    assert "1,000 events (2.7%)" in findings(twice)["copies"].text.en


def test_equal_clicks_without_any_item_are_expected() -> None:
    frame = healthy().with_columns(item_id=pl.lit(None, pl.String), value=pl.lit(None, pl.Float64))
    assert findings(frame) == {}


def test_one_user_with_much_of_the_log_is_found_but_not_named() -> None:
    frame = healthy()
    shared = pl.when(pl.col("item_id").str.ends_with("7")).then(pl.lit("guest")).otherwise("user_id")
    found = findings(frame.with_columns(user_id=shared))["dominant_user"]
    assert "10.0%" in found.text.en
    assert "guest:" not in found.text.en.replace("placeholder for guests", "")


def test_a_bulk_day_is_found() -> None:
    frame = healthy()
    piled = pl.when(pl.col("item_id").str.ends_with("7")).then(START).otherwise("occurred_at")
    more = pl.concat([frame, frame.with_columns(occurred_at=piled).with_columns(item_id=pl.col("item_id") + "x")])
    moved = more.with_columns(
        occurred_at=pl.when(pl.col("item_id").str.ends_with("x")).then(START).otherwise("occurred_at")
    )
    assert "50% of all events lie on 2024-01-01" in findings(moved)["one_day"].text.en


def test_a_stray_first_event_is_found() -> None:
    frame = healthy()
    stray = frame.head(1).with_columns(occurred_at=pl.lit(START - timedelta(days=900)).cast(frame["occurred_at"].dtype))
    assert "900 days before 99.9 %" in findings(pl.concat([stray, frame]))["stray_start"].text.en


@pytest.mark.parametrize(("delay", "severity"), [(2, "info"), (30, "warn")])
def test_late_arrival_is_measured(delay: int, severity: str) -> None:
    frame = healthy().with_columns(ingested_at=pl.col("occurred_at") + timedelta(days=delay))
    found = findings(frame)["late_arrival"]
    assert f"within {delay} days of happening" in found.text.en
    assert found.severity == severity


def test_dates_without_a_clock_are_named() -> None:
    assert list(findings(healthy().with_columns(pl.col("occurred_at").dt.truncate("1d")))) == ["dates_only"]


def test_free_orders_are_counted() -> None:
    free = pl.when(pl.col("item_id").str.ends_with("7")).then(0.0).otherwise("value")
    assert "10.0% of the order lines" in findings(healthy().with_columns(value=free))["free_orders"].text.en


def test_guests_come_from_the_quarantine() -> None:
    frame = healthy()
    assert "50% of the rows carry no user id" in findings(frame, {"missing_user": len(frame)})["guests"].text.en
    assert findings(frame, {"missing_user": 3, "bad_time": 10**6}) == {}


def test_warnings_come_first_and_every_text_is_bilingual() -> None:
    frame = healthy(days=160).with_columns(ingested_at=pl.col("occurred_at") + timedelta(days=30))
    found = list(findings(frame).values())
    assert [f.severity for f in found] == ["warn", "info"]
    assert all(f.text.zh and f.to_json()["zh"] == f.text.zh for f in found)


def test_an_empty_log_has_no_findings() -> None:
    assert find_oddities(LogFacts()) == ()
