"""The simulated log as files: what a shop would hand over, late rows, copies and dirt included."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

from ebbtide.core.config import load_config
from ebbtide.core.language import Text
from ebbtide.events.schema import ITEM_COLUMNS
from ebbtide.events.simulate import SimulationConfig, SimulationFiles, simulate, write_log

SHOP = SimulationConfig(users=120, days=300, seed=9)


def written(folder: Path, shop: SimulationConfig = SHOP) -> tuple[SimulationFiles, pl.DataFrame]:
    files = write_log(shop, folder, chunk_users=50)
    return files, pl.concat([pl.read_parquet(path) for path in files.events])


def test_the_files_hold_the_log_and_some_exact_copies(tmp_path: Path) -> None:
    files, rows = written(tmp_path)
    events = next(simulate(SHOP)).events
    assert [path.name for path in files.events] == [
        "events-00000.parquet",
        "events-00001.parquet",
        "events-00002.parquet",
    ]
    assert rows.height == files.rows == events.height + files.copies
    assert 0.001 < files.copies / events.height < 0.004
    assert_frame_equal(rows.unique().sort("user_id", "occurred_at", "event_id"), events)


def test_dirt_is_added_and_takes_nothing_away(tmp_path: Path) -> None:
    dirty = SimulationConfig(users=120, days=300, seed=9, dirt=0.01)
    files, rows = written(tmp_path, dirty)
    bad = rows.filter(pl.col("event_id").str.ends_with("-x"))
    events = next(simulate(SHOP)).events
    assert bad.height == files.faults > 100
    assert rows.height == events.height + files.copies + files.faults
    assert bad["user_id"].null_count() > 0
    assert bad["occurred_at"].null_count() > 0
    assert (bad["occurred_at"].dt.year() > 2080).any()
    assert (bad["unit_price"] < 0).any()
    assert (bad["currency"] == "MONOPOLY").any()


def test_the_workspace_file_is_a_valid_config_for_every_table(tmp_path: Path) -> None:
    files, _ = written(tmp_path)
    config = load_config(files.workspace_file, environ={})
    assert config.shop.currency == "EUR"
    for source in config.sources():
        (first, *_) = sorted(tmp_path.glob(source.path))
        assert set(source.columns.values()) == set(pl.read_parquet_schema(first))


def test_the_truth_lies_apart_from_the_data(tmp_path: Path) -> None:
    files, rows = written(tmp_path)
    assert files.truth.parent == tmp_path / "truth"
    assert {path.name for path in (tmp_path / "data").iterdir()} == {
        *(path.name for path in files.events), "items.parquet", "users.parquet", "consents.parquet", "exposures.parquet",
    }  # fmt: skip
    assert not {"left_at", "cause"} & set(rows.columns)
    assert pl.read_parquet(files.truth).height == SHOP.users


def test_an_item_costs_what_was_asked_before_discounts(tmp_path: Path) -> None:
    """The list price of an order line, unit_price + discount / quantity, stays within the 5 % that items.parquet
    leaves untold; lines with a campaign coupon are left out, as their discount holds the coupon."""
    files, rows = written(tmp_path)
    items = pl.read_parquet(files.items)
    assert dict(items.schema) == ITEM_COLUMNS
    plain = ~pl.col("coupon").fill_null("").str.starts_with("BACK")
    lines = rows.filter((pl.col("type") == "order") & plain).sort("occurred_at")
    told = lines.join_asof(
        items.select("item_id", "valid_from", told="unit_price").sort("valid_from"),
        left_on="occurred_at", right_on="valid_from", by="item_id",
        check_sortedness=False,
    )  # fmt: skip
    ratio = told.select((pl.col("unit_price") + pl.col("discount") / pl.col("quantity")) / pl.col("told")).to_series()
    assert ratio.null_count() == 0
    assert ratio.is_between(0.94, 1.06).all()


def test_progress_is_told_and_ends_at_the_total(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []

    def progress(stage: Text, done: int, total: int) -> None:
        seen.append((done, total))

    write_log(SHOP, tmp_path, progress=progress, chunk_users=50)
    assert seen == [(0, 120), (50, 120), (100, 120), (120, 120)]
