"""What the report gathers: it adds up, it knows nothing later than its moment, it survives thin data."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from ebbtide.cli.main import run
from ebbtide.core.config import load_config
from ebbtide.pipeline.listing import reason_lines
from ebbtide.pipeline.report import collect_report
from ebbtide.pipeline.report_data import ReportData

AS_OF = datetime(2024, 6, 10, tzinfo=UTC)


def gathered(shop: Path) -> ReportData:
    return collect_report(load_config(shop / "ebbtide.toml"), shop, as_of=AS_OF)


@pytest.fixture(scope="module")
def data(shop: Path) -> ReportData:
    return gathered(shop)


def test_bands_and_bars_each_hold_every_customer_once(data: ReportData) -> None:
    assert sum(band.users for band in data.bands) == data.users == sum(data.distribution.counts)
    assert data.users_at_risk == data.bands[0].users


def test_the_list_is_the_top_of_the_ranking(data: ReportData) -> None:
    risks = [user.churn_probability for user in data.top]
    assert risks == sorted(risks, reverse=True)
    assert len(risks) == min(25, data.users)


def test_reasons_stand_without_their_opening_words(data: ReportData) -> None:
    texts = [line.text for user in data.top for line in user.reasons]
    assert texts
    assert not any(text.startswith(("raises", "lowers")) for text in texts)


def test_an_unknown_opening_is_left_alone() -> None:
    (line,) = reason_lines([{"text": "something else", "direction": "lowers"}])
    assert (line.text, line.raises) == ("something else", False)


def test_drivers_are_ranked_by_mean_size(data: ReportData) -> None:
    sizes = [driver.mean_size for driver in data.drivers]
    assert sizes
    assert sizes == sorted(sizes, reverse=True)


def test_the_accounting_of_the_data_adds_up(data: ReportData) -> None:
    assert data.health is not None
    for s in data.health.sources:
        assert s.read == s.accepted + s.quarantined + s.filtered + s.duplicates
    assert sum(count for _, count in data.health.quarantine) == 3


def test_retention_begins_with_everybody_and_shows_only_periods_that_are_over(data: ReportData) -> None:
    assert all(row.shares[0] == 1.0 for row in data.retention)
    assert all(len(row.shares) == len(data.retention[0].shares) for row in data.retention)
    known = [sum(share is not None for share in row.shares) for row in data.retention]
    assert known == sorted(known, reverse=True)


def test_survival_begins_with_everybody_and_never_rises(data: ReportData) -> None:
    shares = [point.y.value for point in data.survival]
    assert shares[0] == 1.0
    assert shares == sorted(shares, reverse=True)


def test_nothing_after_the_moment_changes_the_report(shop: Path, data: ReportData, tmp_path: Path) -> None:
    """The same report from a log that was cut at the moment; only the account of the raw files may differ."""
    folder = tmp_path / "cut"
    (folder / "data").mkdir(parents=True)
    rows = pl.read_csv(shop / "data" / "orders.csv", infer_schema=False)
    rows.filter(pl.col("order_date") <= "2024-06-10 00:00:00").write_csv(folder / "data" / "orders.csv")
    shutil.copy(shop / "ebbtide.toml", folder)
    shutil.copytree(shop / ".ebbtide" / "bundles", folder / ".ebbtide" / "bundles")
    assert run(["ingest", "-w", str(folder)]) == 0
    cut = gathered(folder)
    for part in ("bands", "distribution", "top", "drivers", "retention", "survival", "users"):
        assert getattr(cut, part) == getattr(data, part), part
    assert data.health is not None
    assert cut.health is not None
    assert (cut.health.events, cut.health.first, cut.health.last) == (
        data.health.events,
        data.health.first,
        data.health.last,
    )
