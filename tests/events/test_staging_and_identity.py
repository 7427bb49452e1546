"""Rows on their way: staged by bucket in the order of the file; ids that are stable and tell twins apart."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import duckdb
import polars as pl
import pytest

from ebbtide.core.ids import buckets_of
from ebbtide.events.identity import find_arrivals, with_event_ids
from ebbtide.events.lake import Lake
from ebbtide.events.staging import Staging

T = datetime(2024, 1, 1, tzinfo=UTC)
NONE_TAKEN = pl.Series("event_id", [], pl.String)


def rows(*keys: tuple, **more) -> pl.DataFrame:
    frame = pl.DataFrame(keys, schema=["user_id", "item_id", "file"], orient="row").with_columns(
        pl.lit(T).cast(pl.Datetime("us", "UTC")).alias("occurred_at"), pl.lit("order").alias("type")
    )
    return frame.with_columns(**{n: pl.Series(v) for n, v in more.items()})


@pytest.fixture
def connection():
    with duckdb.connect() as connection:
        yield connection


@pytest.mark.parametrize("buckets", [1, 3])
def test_a_bucket_comes_back_in_the_order_of_the_file(tmp_path, buckets):
    staging = Staging(tmp_path, buckets)
    chunks = [
        pl.DataFrame({"user_id": [f"u{i % 9}" for i in range(s, s + 40)], "row": range(s, s + 40)}) for s in (0, 40)
    ]
    for chunk in chunks:
        staging.add(chunk)
    staging.add(chunks[0].clear())
    whole = pl.concat(chunks)
    where = pl.Series(buckets_of(whole["user_id"], buckets))
    assert staging.buckets() == sorted(where.unique())
    for bucket in staging.buckets():
        assert staging.read_bucket(bucket).equals(whole.filter(where == bucket))


def test_chunks_can_be_taken_back(tmp_path):
    staging = Staging(tmp_path, 2)
    staging.add(pl.DataFrame({"user_id": ["a", "b"], "row": [0, 1]}))
    mark = staging.mark()
    staging.add(pl.DataFrame({"user_id": ["c"], "row": [2]}))
    staging.drop_after(mark)
    assert sum(staging.read_bucket(b).height for b in staging.buckets()) == 2
    assert len(list(tmp_path.iterdir())) == 1


def test_the_id_is_the_md5_of_its_key(connection):
    """Written out once, so that no release changes it by accident: every lake would double."""
    found = with_event_ids(connection, rows(("u1", "p1", 0)), "events", NONE_TAKEN)["event_id"][0]
    key = "\x1f".join(["events", "u1", str(int(T.timestamp() * 1_000_000)), "order", "p1", ""])
    assert found == hashlib.md5(key.encode()).hexdigest()


def test_twins_of_one_file_are_numbered_and_other_files_start_anew(connection):
    frame = rows(("u", "p", 0), ("u", "q", 0), ("u", "p", 0), ("u", "p", 1), ("u", "p", 0))
    ids = with_event_ids(connection, frame, "events", NONE_TAKEN)["event_id"].to_list()
    base = ids[0]
    assert ids == [base, ids[1], f"{base}-1", base, f"{base}-2"]


def test_the_source_is_part_of_the_id(connection):
    one, other = (with_event_ids(connection, rows(("u", "p", 0)), s, NONE_TAKEN)["event_id"][0] for s in ("a", "b"))
    assert one != other


def test_given_ids_are_kept_and_missing_ones_made(connection):
    frame = rows(("u", "p", 0), ("u", "p", 0), event_id=["given", None])
    ids = with_event_ids(connection, frame, "events", NONE_TAKEN)["event_id"].to_list()
    assert ids[0] == "given"
    assert len(ids[1].removesuffix("-1")) == 32


def test_arrivals_of_an_empty_lake_are_new_but_for_repeats_between_files(connection, tmp_path):
    lake = Lake.create(tmp_path, 1)
    found = find_arrivals(connection, lake, 0, rows(("u", "p", 0), ("u", "p", 0), ("u", "p", 1)), "events")
    assert (found.new.height, found.repeated["file"].to_list(), found.conflicting.height) == (2, [1], 0)


def test_copies_are_dropped_only_if_the_whole_row_is_the_same(connection, tmp_path):
    lake = Lake.create(tmp_path, 1)
    frame = rows(("u", "p", 0), ("u", "p", 0), ("u", "p", 0), copy=[1, 2, 1])
    found = find_arrivals(connection, lake, 0, frame, "events")
    assert found.new["copy"].to_list() == [1, 2]
    assert found.repeated.height == 1
