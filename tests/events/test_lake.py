"""The lake: buckets by user, sorted, atomic, without ids in its log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbtide.core.errors import MissingError
from ebbtide.core.ids import buckets_of
from ebbtide.events.data_files import ORDER, sorted_events, write_data_file
from ebbtide.events.lake import Lake, LakeSummary
from ebbtide.events.schema import EVENT_COLUMNS, empty_events

START = datetime(2024, 1, 1, tzinfo=UTC)


def events(count: int, *, users: int = 20, seed: int = 0, prefix: str = "e") -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    times = [START + timedelta(seconds=int(s)) for s in rng.integers(0, 1000, count)]
    frame = pl.DataFrame(
        {
            "event_id": [f"{prefix}{i:05d}" for i in rng.permutation(count)],
            "user_id": [f"secret-user-{u}" for u in rng.integers(0, users, count)],
            "occurred_at": times,
            "ingested_at": times,
            "type": ["order"] * count,
            "value": rng.uniform(0, 9, count),
        }
    )
    casts = [pl.col(n).cast(t) for n, t in EVENT_COLUMNS.items() if n in frame.columns]
    missing = [pl.lit(None, t).alias(n) for n, t in EVENT_COLUMNS.items() if n not in frame.columns]
    return frame.with_columns(casts + missing).select(list(EVENT_COLUMNS))


def fill(lake: Lake, frame: pl.DataFrame, run: str) -> None:
    buckets = pl.Series("bucket", buckets_of(frame["user_id"], lake.bucket_count))
    parts = frame.with_columns(buckets).partition_by("bucket", as_dict=True, include_key=False)
    files = [write_data_file(lake.events_folder, int(b), run, part) for (b,), part in parts.items()]
    lake.append(files, transactions=[run], notes={})


@pytest.fixture
def lake(tmp_path):
    return Lake.create(tmp_path / "lake", 4)


def test_a_workspace_without_a_lake_says_what_to_do(tmp_path):
    with pytest.raises(MissingError, match="nothing ingested yet: run `ebbtide ingest`"):
        Lake.open(tmp_path)


def test_an_empty_lake(lake):
    assert lake.buckets() == []
    assert lake.summary() == LakeSummary(0, 0, None, None, None)
    assert lake.read_bucket(0).equals(empty_events())
    assert lake.read_bucket(0, ["user_id"]).schema == {"user_id": pl.String}
    assert lake.read_user("x").equals(empty_events())


def test_what_is_written_is_read_back_by_bucket(lake):
    frame = events(500)
    fill(lake, frame, "run1")
    reopened = Lake.open(lake.folder)
    assert reopened.bucket_count == 4
    found = pl.concat([reopened.read_bucket(b) for b in reopened.buckets()])
    assert found.sort("event_id").equals(frame.sort("event_id"))
    for bucket in reopened.buckets():
        part = reopened.read_bucket(bucket)
        assert part.equals(part.sort(ORDER))
        assert set(buckets_of(part["user_id"], 4)) == {bucket}
        assert {reopened.bucket_of(u) for u in part["user_id"].unique()} == {bucket}


def test_a_bucket_of_several_files_is_sorted_and_can_be_compacted(lake):
    for number in range(5):
        fill(lake, events(100, seed=number, prefix=f"p{number}"), f"run{number}")
    before, print_before = lake.read_bucket(1), lake.fingerprint()
    assert len(lake.files(1)) == 5
    lake.compact(1, "joined")
    assert len(lake.files(1)) == 1
    assert lake.read_bucket(1).equals(before)
    assert lake.fingerprint() == print_before
    assert len(lake.unused_files()) == 5
    assert Lake.open(lake.folder).read_bucket(1).equals(before)
    assert Lake.open(lake.folder).has_transaction("run3")


def test_columns_that_are_empty_in_some_files_or_in_all_are_read_as_they_are(lake):
    """An empty column is not read; in one that is empty in one file only, the others' values stand."""
    first, second = events(200), events(150, seed=1, prefix="f")
    second = second.with_columns(pl.lit("SAVE10").alias("coupon"), pl.lit(None, pl.Float64()).alias("value"))
    for number, frame in enumerate((first, second)):
        fill(lake, frame, f"run{number}")
    for bucket in lake.buckets():
        expected = pl.concat([f.filter(buckets_of(f["user_id"], 4) == bucket) for f in (first, second)]).sort(ORDER)
        assert lake.read_bucket(bucket).equals(expected)
        assert lake.read_bucket(bucket).schema == expected.schema
        for columns in (["coupon", "brand"], ["brand"], ["value", "query"]):
            assert lake.read_bucket(bucket, columns).equals(expected.select(columns))
        parts = [lake.read_files([file]) for file in lake.files(bucket)]
        assert [part["brand"].to_list() for part in parts] == [[None] * part.height for part in parts]
        assert pl.concat(parts).sort(ORDER).equals(expected)


def test_the_summary_counts_rows_users_and_times(lake):
    frame = events(300, users=7)
    fill(lake, frame, "run")
    found = lake.summary()
    assert (found.rows, found.users) == (300, 7)
    times = frame["occurred_at"].dt.timestamp("us")
    assert (found.first_occurred_us, found.last_occurred_us) == (times.min(), times.max())
    assert found.last_ingested_us == times.max()


def test_the_fingerprint_follows_the_content_only(tmp_path):
    one, other = Lake.create(tmp_path / "a", 1), Lake.create(tmp_path / "b", 8)
    frame = events(200)
    fill(one, frame, "x")
    fill(other, frame.tail(120), "y")
    assert one.fingerprint() != other.fingerprint()
    fill(other, frame.head(80), "z")
    assert one.fingerprint() == other.fingerprint()
    changed = Lake.create(tmp_path / "c", 1)
    fill(changed, frame.with_columns(pl.col("value") + 1), "x")
    assert changed.fingerprint() != one.fingerprint()


def test_files_without_a_commit_are_not_seen(lake):
    write_data_file(lake.events_folder, 0, "torn", events(10))
    assert Lake.open(lake.folder).summary().rows == 0
    assert len(lake.unused_files()) == 1


def test_no_id_stands_in_the_delta_log(lake):
    """Statistics of a text column would outlive the erasure of a user."""
    fill(lake, events(100), "run")
    log = "".join(f.read_text() for f in (lake.events_folder / "_delta_log").glob("*.json"))
    assert "secret-user" not in log
    assert "e00001" not in log
    assert "numRecords" in log


def test_a_span_reads_only_the_files_that_meet_it(lake):
    fill(lake, events(50), "early")
    late = events(50, seed=1, prefix="late").with_columns(pl.col("occurred_at") + pl.duration(days=9))
    fill(lake, late, "late")
    bucket = lake.buckets()[0]
    day = 86_400_000_000
    start = int(START.timestamp() * 1_000_000)
    assert (
        lake.read_span(bucket, start + 8 * day, start + 99 * day, ["event_id"])["event_id"]
        .str.starts_with("late")
        .all()
    )
    assert lake.read_span(bucket, start - day, start - 1, ["event_id"]).is_empty()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.text("xyz", max_size=3)), max_size=25))
@settings(max_examples=100, deadline=None)
def test_the_quick_sort_is_the_plain_sort(rows):
    """By user, time, id; many ties."""
    frame = pl.DataFrame(rows, schema={"user_id": pl.String, "t": pl.Int64, "event_id": pl.String}, orient="row")
    frame = frame.select("user_id", pl.from_epoch("t", time_unit="us").alias("occurred_at"), "event_id")
    assert sorted_events(frame).equals(frame.sort(ORDER))
