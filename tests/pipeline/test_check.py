"""`check`: the report of a small shop, from any number of buckets, in numbers and in words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ebbtide.core.config import Config, parse_config
from ebbtide.core.errors import DataError, MissingError, SufficiencyError
from ebbtide.core.ids import buckets_of
from ebbtide.core.language import Text
from ebbtide.events.schema import EVENT_COLUMNS, empty_events
from ebbtide.pipeline.check import CheckReport, check, check_shards
from ebbtide.pipeline.check_sections import sections
from ebbtide.pipeline.ingest import IngestReport, ingest

START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=300)


class FakeLake:
    """A log in memory, cut into buckets."""

    def __init__(self, events: pl.DataFrame, count: int = 2) -> None:
        place = buckets_of(events["user_id"], count)
        self._parts = {b: events.filter(pl.Series(place == b)) for b in range(count)}

    def buckets(self) -> list[int]:
        return [b for b, part in self._parts.items() if len(part)]

    def read_bucket(self, bucket: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        part = self._parts[bucket].sort("user_id", "occurred_at", "event_id")
        return part if columns is None else part.select(columns)


@pytest.fixture(scope="module")
def shop() -> pl.DataFrame:
    """300 loyal users order about every ten days; 300 others stop one after the other; each order is worth 20."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(600):
        now = rng.uniform(0, 20)
        while now < (300 if i % 2 else i / 2):
            rows.append((f"u{i}", START + timedelta(days=now), f"o{len(rows)}"))
            now += rng.uniform(5, 15)
    frame = pl.DataFrame(rows, schema=["user_id", "occurred_at", "order_id"], orient="row")
    return complete(frame.with_columns(type=pl.lit("order"), value=20.0))


def complete(frame: pl.DataFrame) -> pl.DataFrame:
    """With every canonical column, known at once."""
    frame = frame.with_columns(pl.col("occurred_at").cast(EVENT_COLUMNS["occurred_at"])).with_row_index("event_id")
    if "ingested_at" not in frame.columns:
        frame = frame.with_columns(ingested_at="occurred_at")
    missing = [pl.lit(None, t).alias(c) for c, t in EVENT_COLUMNS.items() if c not in frame.columns]
    return frame.with_columns(missing).select(pl.col(c).cast(t) for c, t in EVENT_COLUMNS.items())


@pytest.fixture(scope="module")
def config() -> Config:
    return parse_config({"churn": {"horizon": "30d", "eligible": "order in 60d"}})


@pytest.fixture(scope="module")
def report(shop: pl.DataFrame, config: Config) -> CheckReport:
    return check_shards(FakeLake(shop), config)


def test_it_counts_what_the_log_holds(report: CheckReport, shop: pl.DataFrame) -> None:
    facts, users = report.facts, shop["user_id"].n_unique()
    assert (facts.events, facts.users, facts.by_type) == (len(shop), users, {"order": len(shop)})
    assert sum(m["events"] for m in facts.by_month.values()) == len(shop)
    assert facts.by_month["2024-01"]["users"] == users
    assert (facts.filled("value"), facts.filled("item_id"), facts.filled_in_orders("order_id")) == (1.0, 0.0, 1.0)
    assert {"orders", "money", "clock"} <= facts.capabilities
    assert "search" in report.missing
    assert report.until == shop["ingested_at"].max()


def test_it_says_the_definition_and_its_base_rates(report: CheckReport) -> None:
    assert report.definition.describe().en.startswith("churned = no order in the 30 days after as_of")
    assert len(report.base_rates) >= 8
    for b in report.base_rates[2:]:
        # one user stops a day: those of the last 60 days are still asked about, less some ten days without an order
        assert b.churned == pytest.approx(60, abs=15)
        assert b.users == pytest.approx(300 + (END - b.as_of).days + 60, abs=15)
        assert b.low < b.rate < b.high


def test_it_judges_whether_the_data_suffice(report: CheckReport, shop: pl.DataFrame, config: Config) -> None:
    assert report.sufficiency.level == "warn"
    few = shop.filter(pl.col("user_id").is_in([f"u{i}" for i in range(60)]))
    failed = check_shards(FakeLake(few), config).sufficiency
    assert (failed.level, failed.failed) == ("fail", ("churned", "retained"))


def test_it_advises_a_definition(report: CheckReport) -> None:
    assert report.advice.recommended is not None
    assert report.advice.recommended.horizon_days == 14  # gaps lie between 5 and 15 days


@pytest.mark.parametrize("count", [1, 7])
def test_the_number_of_buckets_does_not_matter(
    report: CheckReport, shop: pl.DataFrame, config: Config, count: int
) -> None:
    assert check_shards(FakeLake(shop, count), config).to_json() == report.to_json()


def test_events_not_yet_known_change_no_answer_of_the_past(
    report: CheckReport, shop: pl.DataFrame, config: Config
) -> None:
    more = shop.with_columns(
        pl.col("occurred_at") + timedelta(days=300),
        pl.col("ingested_at") + timedelta(days=300),
        pl.lit("later").alias("event_id") + pl.col("event_id"),
    )
    longer = check_shards(FakeLake(pl.concat([shop, more])), config)
    assert longer.facts.events == 2 * report.facts.events
    now = {b.as_of: b for b in report.base_rates}
    assert all(now[b.as_of] == b for b in longer.base_rates if b.as_of in now)


def test_json_is_safe_and_bilingual(report: CheckReport) -> None:
    read = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert read["events"] == report.facts.events
    assert read["definition"]["zh"].startswith("流失 = ")
    assert read["sufficiency"]["level"] == "warn"
    assert {"en", "zh"} <= set(read["advice"]["text"])
    assert [m["month"] for m in read["months"]] == sorted(m["month"] for m in read["months"])


def test_sections_fit_their_columns_and_hold_no_user_id(report: CheckReport) -> None:
    parts = sections(report)
    assert parts[0].title.en == "The log"
    for part in parts:
        assert part.lines or part.rows
        assert all(len(row) == len(part.columns) for row in part.rows)
        for cell in (cell for row in part.rows for cell in row):
            assert cell is None or isinstance(cell, (str, int, float, Text))
            assert not str(cell).startswith("u1")
    assert any(line.zh for part in parts for line in part.lines)


def test_quarantined_rows_are_shown_with_what_their_reason_means(shop: pl.DataFrame, config: Config) -> None:
    reasons = {"events": Counter(bad_time=3, missing_user=15), "users": Counter(missing_user=5)}
    report = check_shards(FakeLake(shop), config, rows=IngestReport(reasons=reasons))
    table = sections(report)[1]
    assert [row[:2] for row in table.rows] == [("missing_user", 20), ("bad_time", 3)]
    assert all(row[2].en and row[2].zh for row in table.rows)
    assert report.to_json()["rejected"] == {"bad_time": 3, "missing_user": 20}


def test_progress_is_reported(shop: pl.DataFrame, config: Config) -> None:
    heard: list[tuple[str, int, int]] = []
    check_shards(FakeLake(shop), config, progress=lambda stage, done, total: heard.append((stage.en, done, total)))
    assert heard[0] == ("looking at events", 0, 2)
    assert heard[-1] == ("asking the churn question", 3, 3)


def test_an_empty_lake_is_told_apart_from_a_missing_one(config: Config, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the lake holds no events"):
        check_shards(FakeLake(empty_events()), config)
    with pytest.raises(MissingError, match="nothing ingested yet"):
        check(config, tmp_path)


@pytest.fixture(scope="module")
def make() -> Callable[..., pl.DataFrame]:
    return lambda rows, columns: complete(pl.DataFrame(rows, schema=columns, orient="row"))


def test_a_log_without_the_outcome_is_an_answer_not_an_error(config: Config, make: Callable[..., pl.DataFrame]) -> None:
    views = make([("a", START, "product_view"), ("b", END, "product_view")], ["user_id", "occurred_at", "type"])
    report = check_shards(FakeLake(views), config)
    assert report.base_rates == ()
    assert report.sufficiency.failed == ("events",)
    assert "no order is known" in report.sufficiency.text.en
    assert report.advice.recommended is None
    json.dumps(report.to_json(), allow_nan=False)
    sections(report)


def test_a_workspace_is_checked_with_the_account_of_its_rows(shop: pl.DataFrame, tmp_path: Path) -> None:
    guests = shop.head(7).with_columns(user_id=pl.lit(None, pl.String))
    raw = pl.concat([shop, guests]).select("user_id", "occurred_at", "order_id", "value")
    raw.write_parquet(tmp_path / "orders.parquet")
    columns = {c: c for c in raw.columns} | {"type": "'order'"}
    config = parse_config({"source": [{"path": "orders.parquet", "columns": columns}]})
    ingest(config, tmp_path)
    report = check(config, tmp_path)
    assert report.facts.events == len(shop)
    assert report.rows.total.read == len(raw) == report.rows.total.accepted + 7
    assert report.to_json()["rejected"] == {"missing_user": 7}
    few = raw.filter(pl.col("user_id").str.ends_with("11"))
    few.write_parquet(tmp_path / "orders.parquet")
    ingest(config, tmp_path, rebuild=True)
    with pytest.raises(SufficiencyError, match="too few churned users"):
        check(config, tmp_path, strict=True)
