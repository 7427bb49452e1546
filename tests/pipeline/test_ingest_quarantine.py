"""The quarantine: read, corrected, ingested again, resolved."""

from __future__ import annotations

import json
from dataclasses import asdict

import polars as pl
import pytest

from ebbtide.events.quarantine import SCHEMA
from ebbtide.pipeline.ingest import open_quarantine

LOG = "user,time,amount\na,2024-01-01,1\nb,2024-01-02,oops\n,2024-01-03,3\nd,never,4\n"


def counts(report) -> tuple[int, ...]:
    return tuple(asdict(report.total).values())


@pytest.fixture
def shop(make_shop):
    shop = make_shop(path="log.csv")
    shop.write("log.csv", LOG)
    shop.ingest()
    return shop


def test_entries_hold_file_row_reason_and_raw_row(shop):
    found = open_quarantine(shop.root).read()
    assert found.schema == pl.Schema(SCHEMA)
    assert found.select("source", "file", "row_number", "reason").rows() == [
        ("events", "log.csv", 2, "bad_number"),
        ("events", "log.csv", 3, "missing_user"),
        ("events", "log.csv", 4, "bad_time"),
    ]
    assert json.loads(found["raw"][0]) == {"user": "b", "time": "2024-01-02", "amount": "oops"}


def test_entries_can_be_picked_by_reason_and_source(shop):
    quarantine = open_quarantine(shop.root)
    assert quarantine.read(reason="bad_time")["row_number"].to_list() == [4]
    assert quarantine.read(source="events").height == 3
    assert quarantine.read(source="other").is_empty()


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_corrected_rows_enter_the_lake_and_resolve_their_entries(shop, suffix):
    out = shop.root / f"fix.{suffix}"
    assert open_quarantine(shop.root).export(out) == 3
    out.write_text(out.read_text().replace("oops", "2").replace("never", "2024-01-04"))
    assert counts(shop.ingest(out, source="events")) == (3, 2, 1, 0, 0)
    assert shop.events()["user_id"].to_list() == ["a", "b", "d"]
    assert open_quarantine(shop.root).read()["reason"].to_list() == ["missing_user"]
    assert open_quarantine(shop.root).read(resolved=True).height == 3


def test_corrected_rows_come_in_once(shop):
    """Again the same file, the same rows in another file, and the row twice in one file: all duplicates."""
    out = shop.root / "fix.csv"
    open_quarantine(shop.root).export(out, reason="bad_number")
    fixed = out.read_text().replace("oops", "2")
    out.write_text(fixed)
    assert counts(shop.ingest(out)) == (1, 1, 0, 0, 0)
    assert counts(shop.ingest(out)) == (1, 0, 0, 0, 1)
    (shop.root / ".ebbtide" / "ledger.json").unlink()
    assert counts(shop.ingest(out)) == (1, 0, 0, 0, 1)
    again = shop.write("again.csv", fixed + fixed.splitlines()[1] + "\n")
    assert counts(shop.ingest(again)) == (2, 0, 0, 0, 2)


def test_a_corrected_row_with_the_key_of_an_accepted_one_is_not_lost(make_shop):
    """Two lines of one order for the same item; only the second was bad. Corrected, it is a second event, and the
    corrected original file then adds nothing."""
    columns = {"user_id": "u", "occurred_at": "t", "type": "'order'", "quantity": "q"}
    shop = make_shop(columns, path="log.csv")
    shop.write("log.csv", "u,t,q\na,2024-01-01,1\na,2024-01-01,x\n")
    shop.ingest()
    out = shop.root / "fix.csv"
    open_quarantine(shop.root).export(out)
    out.write_text(out.read_text().replace("x,", "2,"))
    assert counts(shop.ingest(out)) == (1, 1, 0, 0, 0)
    assert sorted(shop.events()["quantity"]) == [1, 2]
    shop.write("log.csv", "u,t,q\na,2024-01-01,1\na,2024-01-01,2\n")
    assert counts(shop.ingest()) == (2, 0, 0, 0, 2)


def test_a_repeated_run_overwrites_its_entries(shop):
    (shop.root / ".ebbtide" / "ledger.json").unlink()
    before = open_quarantine(shop.root).read()
    shop.ingest()
    assert open_quarantine(shop.root).read().equals(before)


def test_rows_that_a_new_filter_takes_out_leave_the_quarantine(shop):
    source = shop.config.source[0].model_copy(update={"where": "user is not null"})
    shop.config = shop.config.model_copy(update={"source": [source]})
    shop.ingest()
    assert open_quarantine(shop.root).read()["reason"].to_list() == ["bad_number", "bad_time"]


def test_an_unsplittable_line_can_be_corrected_too(make_shop):
    shop = make_shop(path="log.csv")
    shop.write("log.csv", "user,time,amount\na,2024-01-01,1\nb,2024-01-02\n")
    shop.ingest()
    out = shop.root / "fix.csv"
    open_quarantine(shop.root).export(out)
    entry = open_quarantine(shop.root).read().row(0, named=True)
    assert entry["raw"] == '{"_line":"b,2024-01-02"}'
    fixed = f"user,time,amount,_quarantine_id\nb,2024-01-02,2,{entry['quarantine_id']}\n"
    out.write_text(fixed)
    assert counts(shop.ingest(out)) == (1, 1, 0, 0, 0)
    assert open_quarantine(shop.root).read().is_empty()


def test_twin_rows_have_entries_of_their_own(make_shop):
    shop = make_shop()
    shop.write("log.csv", "user,time,amount\n" + ",2024-01-01,1\n" * 3)
    shop.ingest()
    assert open_quarantine(shop.root).read()["quarantine_id"].n_unique() == 3
