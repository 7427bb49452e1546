"""The ranked list: percentiles, bands, files, and what happens at the edges of time."""

from __future__ import annotations

import gc
import json
import os
import resource
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ebbtide.core.errors import InputError, MissingBundleError, MissingError, RetryError
from ebbtide.core.progress import silent
from ebbtide.core.settings import BandsConfig
from ebbtide.events.schema import EVENT_COLUMNS, TIME, empty_events
from ebbtide.explain.reasons import REASONS_TYPE
from ebbtide.pipeline.ranking import Ranking, rank
from ebbtide.pipeline.score import bands_of, score, score_shard, write_scores

SHARD_COLUMNS = {
    "user_id": pl.String, "as_of": TIME, "churn_probability": pl.Float64, "band": pl.String, "reasons": REASONS_TYPE,
    "expected_orders": pl.Float64, "value_at_risk": pl.Float64, "model": pl.String,
}  # fmt: skip
LIST_COLUMNS = [
    "user_id", "as_of", "churn_probability", "percentile", "band", "reasons", "expected_orders", "value_at_risk", "model",
]  # fmt: skip


@pytest.fixture(scope="module")
def report(trained):
    return trained.shop.score(reasons="at_risk")


@pytest.fixture(scope="module")
def listed(report):
    return report.frame


# The list


def test_the_list_has_the_promised_columns_and_one_row_a_member(listed, trained):
    assert listed.columns == LIST_COLUMNS
    assert listed["user_id"].n_unique() == len(listed) > 200
    assert listed.select(pl.col("as_of", "model").n_unique()).row(0) == (1, 1)
    assert listed["as_of"][0] == trained.shop.until
    assert listed["churn_probability"].is_between(0, 1, closed="none").all()


def test_the_cohort_is_who_ordered_in_the_eligibility_window(listed, sim_log, trained):
    until = trained.shop.until
    known = (pl.col("occurred_at") <= until) & (pl.col("ingested_at") <= until)
    recent = pl.col("occurred_at") > until - timedelta(days=180)
    orders = sim_log.filter((pl.col("type") == "order") & known & recent)
    assert set(listed["user_id"]) == set(orders["user_id"])


def test_money_and_orders_are_never_negative(listed):
    assert (listed["expected_orders"] >= 0).all()
    assert (listed["value_at_risk"] >= 0).all()


def test_value_at_risk_grows_with_probability_for_the_same_customer(listed):
    """It is probability times what the customer would bring, so never above what the customer would bring."""
    assert listed["value_at_risk"].null_count() == 0
    assert listed["value_at_risk"].sum() > 0


def test_the_counts_are_those_of_the_list(report, listed):
    told = report.to_json()
    assert len(report) == told["users"] == len(listed)
    assert list(report.bands()) == ["high", "medium", "low"]
    assert sum(report.bands().values()) == len(listed)
    assert report.bands()["high"] == (listed["churn_probability"] >= 0.7).sum() > 0
    assert told["mean_probability"] == pytest.approx(listed["churn_probability"].mean())
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_the_list_can_be_taken_as_polars_arrow_and_pandas(report, listed):
    assert report.to_polars().equals(listed)
    assert report.to_arrow().num_rows == len(listed)
    pytest.importorskip("pandas", reason="the extra `pandas` is not installed")
    assert list(report.to_pandas().columns) == LIST_COLUMNS


# Percentiles and bands


def make_list(probability):
    p = np.asarray(probability, float)
    frame = pl.DataFrame({"user_id": [f"{i:04}" for i in range(len(p))], "churn_probability": p})
    empty = {c: None for c in LIST_COLUMNS if c not in (*frame.columns, "percentile")}
    return frame.with_columns(**{c: pl.lit(v) for c, v in empty.items()})


@given(arrays(np.float64, st.integers(1, 60), elements=st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9, 1.0])))
def test_percentiles_follow_the_probability(p):
    """100 = most at risk; equal probabilities share a percentile; it says what share is at most as much at risk."""
    ranked = rank(make_list(p))
    found, percentile = ranked["churn_probability"].to_numpy(), ranked["percentile"].to_numpy()
    assert percentile[0] == 100.0
    assert (np.diff(found) <= 0).all()
    assert (np.diff(percentile) <= 0).all()
    np.testing.assert_allclose(percentile, [100 * (p <= q).mean() for q in found])
    assert ((np.diff(percentile) == 0) == (np.diff(found) == 0)).all()


def test_equals_stand_in_the_order_of_their_ids():
    assert rank(make_list([0.5, 0.7, 0.5, 0.5]))["user_id"].to_list() == ["0001", "0000", "0002", "0003"]


def test_a_limit_belongs_to_the_band_above():
    below = np.nextafter
    p = np.array([0.0, below(0.4, 0), 0.4, below(0.7, 0), 0.7, 1.0])
    assert bands_of(p, BandsConfig()).tolist() == ["low", "low", "medium", "medium", "high", "high"]
    assert bands_of(p[:0], BandsConfig()).tolist() == []


def test_the_bands_are_those_of_the_bundle(trained, listed):
    expected = bands_of(listed["churn_probability"].to_numpy(), trained.shop.config.bands)
    assert listed["band"].to_list() == expected.tolist()


# Long lists


@pytest.fixture(scope="module")
def shards(trained):
    """The cohort in nine shards."""
    rows = trained.shop.score().frame.drop("percentile").sort("user_id")
    return [rows[i::9].select(SHARD_COLUMNS.keys()) for i in range(9)]


@pytest.mark.parametrize("at_once", [0, 25, 60, 200])
def test_a_list_sorted_on_disk_is_the_list_sorted_in_memory(at_once, shards, tmp_path):
    """Whatever fits in memory at once: the same rows, percentiles and sums, in the same order."""
    ranking, whole = Ranking(tmp_path, at_once), rank(pl.concat(shards))
    for shard in shards:
        ranking.add(shard)
    ranked = ranking.finish()
    assert len(ranked.pieces) > 1
    assert ranked.frame().equals(whole)
    assert ranked.scan().collect().equals(whole)
    for count in (0, 1, 20, 150, 10_000):
        assert ranked.head(count).equals(whole.head(count))
    assert ranked.users == len(whole)
    assert ranked.bands == dict(whole["band"].value_counts().iter_rows())
    assert ranked.mean_probability == pytest.approx(whole["churn_probability"].mean())
    assert ranked.value_at_risk == pytest.approx(whole["value_at_risk"].sum())


def test_many_equal_probabilities_are_borne(shards, tmp_path):
    """A rule of thumb knows few probabilities: all of them at one, or three of them."""
    for p in (pl.lit(0.5), (pl.int_range(pl.len()) % 3) / 4):
        parts = [s.with_columns(churn_probability=p.cast(pl.Float64)) for s in shards]
        ranking = Ranking(tmp_path, 50)
        for part in parts:
            ranking.add(part)
        assert ranking.finish().frame().equals(rank(pl.concat(parts)))


def test_scratch_files_go_with_the_list(shards, tmp_path):
    ranking = Ranking(tmp_path, 10)
    for shard in shards:
        ranking.add(shard)
    ranked = ranking.finish()
    del ranking
    assert len(list(tmp_path.glob("ranking-*/*"))) == len(ranked.pieces)
    del ranked
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_ranking_left_behind_is_cleared_away_after_a_day(shards, tmp_path):
    for name, age in (("ranking-old", 90_000), ("ranking-new", 10)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    ranking = Ranking(tmp_path, 10)
    ranking.add(shards[0])
    assert (tmp_path / "ranking-new").exists()
    assert not (tmp_path / "ranking-old").exists()


def test_a_short_list_touches_no_disk(shards, tmp_path):
    ranking = Ranking(tmp_path / "not there")
    ranking.add(shards[0])
    assert ranking.finish().frame().equals(rank(shards[0]))


def test_nobody_makes_an_empty_list(shards, tmp_path):
    for count in (1, 3):
        ranking = Ranking(tmp_path, 0)
        for _ in range(count):
            ranking.add(shards[0][:0])
        ranked = ranking.finish()
        assert (ranked.users, ranked.mean_probability, ranked.value_at_risk) == (0, None, None)
        assert ranked.frame().columns == ranked.head(5).columns == LIST_COLUMNS


def test_a_long_list_is_written_without_loading_it(shards, tmp_path):
    ranking = Ranking(tmp_path, 50)
    for shard in shards:
        ranking.add(shard)
    ranked = ranking.finish()
    for suffix in (".parquet", ".csv", ".jsonl"):
        write_scores(ranked.scan(), tmp_path / f"long{suffix}")
        write_scores(ranked.frame(), tmp_path / f"short{suffix}")
    assert pl.read_parquet(tmp_path / "long.parquet").equals(ranked.frame())
    for suffix in (".csv", ".jsonl"):
        assert (tmp_path / f"long{suffix}").read_bytes() == (tmp_path / f"short{suffix}").read_bytes()


# Edges


def test_before_the_first_event_the_list_is_empty(trained):
    report = trained.shop.score(as_of=datetime(2020, 1, 1, tzinfo=UTC))
    assert len(report) == 0
    assert report.frame.columns == LIST_COLUMNS
    assert report.to_json() | {"model": ""} == {
        "as_of": "2020-01-01T00:00:00+00:00", "model": "", "users": 0, "bands": {"high": 0, "medium": 0, "low": 0},
        "mean_probability": None, "value_at_risk": None,
    }  # fmt: skip


def test_far_in_the_future_nobody_is_eligible_any_more(trained):
    assert len(trained.shop.score(as_of=datetime(2040, 1, 1, tzinfo=UTC))) == 0


def test_a_while_after_the_last_event_silence_counts(trained):
    """60 days without any news: whoever is still eligible is judged by the silence, and nothing breaks."""
    soon, later = (trained.shop.score(as_of=trained.shop.end + timedelta(days=d)).frame for d in (0, 60))
    assert 0 < len(later) <= len(soon)
    assert later["churn_probability"].mean() > soon["churn_probability"].mean()


def test_by_default_the_moment_is_that_of_the_newest_event(trained, sim_log):
    report = score(trained.shop.config, trained.shop.root)
    assert report.as_of == sim_log["ingested_at"].max()


def test_a_shard_without_events_gives_the_same_columns(trained):
    found = score_shard(empty_events(), trained.shop.until, trained.bundle, reasons="all")
    assert dict(found.schema) == SHARD_COLUMNS
    assert len(found) == 0


def test_full_and_empty_shards_can_be_joined(trained):
    shards = [
        score_shard(e, trained.shop.until, trained.bundle) for e in (empty_events(), trained.shop.lake.read_bucket(0))
    ]
    assert [dict(s.schema) for s in shards] == [SHARD_COLUMNS] * 2
    assert len(pl.concat(shards)) == len(shards[1])


def test_a_user_who_is_not_eligible_gets_no_row(trained, sim_log):
    visitor = sim_log.filter((pl.col("user_id") == sim_log["user_id"][0]) & (pl.col("type") != "order"))
    assert len(visitor) > 0
    assert len(score_shard(visitor, trained.shop.until, trained.bundle)) == 0


def test_a_user_with_one_order_and_nothing_else_gets_a_row(trained, sim_log):
    one = sim_log.filter((pl.col("type") == "order") & (pl.col("occurred_at") <= trained.shop.until))[-1:]
    bare = one.with_columns([pl.lit(None, t).alias(c) for c, t in EVENT_COLUMNS.items() if c not in KEPT])
    found = score_shard(bare, trained.shop.until, trained.bundle, reasons="all")
    assert len(found) == 1
    assert 0 < found["churn_probability"][0] < 1
    assert found["reasons"][0].len() > 0


KEPT = ("event_id", "user_id", "occurred_at", "ingested_at", "type")


def test_an_unseen_item_category_or_country_is_borne(trained, sim_log):
    strange = sim_log.filter(pl.col("user_id") == sim_log["user_id"][0]).with_columns(
        item_id=pl.lit("🛒"), category=pl.lit("从未见过"), brand=pl.lit(""), country=pl.lit("ZZ"), channel=pl.lit("fax")
    )
    assert score_shard(strange, trained.shop.until, trained.bundle)["churn_probability"].is_finite().all()


def test_without_bundle_or_lake_it_says_what_to_do(small_shop, tmp_path):
    with pytest.raises(MissingBundleError, match="run `ebbtide train` first"):
        score(small_shop.config, small_shop.root)
    with pytest.raises(MissingError):
        score(small_shop.config, tmp_path)
    with pytest.raises(InputError, match="no bundle `nope`"):
        score(small_shop.config, small_shop.root, bundle="nope")


def test_progress_counts_the_buckets(trained):
    told = []
    score(trained.shop.config, trained.shop.root, as_of=trained.shop.until, reasons="none",
          progress=lambda stage, done, total: told.append((done, total)))  # fmt: skip
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert silent(None, 0, 0) is None


# Files


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".ndjson", ".json", ".PARQUET", ".csv"])
def test_a_written_list_can_be_read_back(suffix, listed, tmp_path):
    file = tmp_path / "new" / f"list{suffix}"
    write_scores(listed, file)
    readers = {".parquet": pl.read_parquet, ".csv": pl.read_csv}
    again = readers.get(suffix.lower(), pl.read_ndjson)(file)
    assert again.columns == LIST_COLUMNS
    assert again["user_id"].cast(pl.String).to_list() == listed["user_id"].to_list()
    np.testing.assert_allclose(again["churn_probability"], listed["churn_probability"], rtol=1e-12)
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_parquet_keeps_everything(listed, tmp_path):
    write_scores(listed, tmp_path / "list.parquet")
    assert pl.read_parquet(tmp_path / "list.parquet").equals(listed)


def test_json_lines_keep_reasons_as_objects_and_times_as_text(listed, tmp_path):
    write_scores(listed, tmp_path / "list.jsonl")
    first = json.loads((tmp_path / "list.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first["as_of"] == "2024-07-29T00:00:00Z"
    assert set(first["reasons"][0]) == {"feature", "value", "usual", "direction", "contribution", "text"}


def test_csv_joins_the_texts_of_reasons(listed, tmp_path):
    write_scores(listed, tmp_path / "list.csv")
    first = pl.read_csv(tmp_path / "list.csv").row(0, named=True)
    assert first["reasons"] == "; ".join(r["text"] for r in listed["reasons"][0])
    assert first["as_of"] == "2024-07-29T00:00:00Z"


def test_an_empty_list_can_be_written_in_every_format(listed, tmp_path):
    for suffix in (".parquet", ".csv", ".jsonl"):
        write_scores(listed[:0], tmp_path / f"list{suffix}")
    assert pl.read_csv(tmp_path / "list.csv").columns == LIST_COLUMNS


@pytest.mark.parametrize("name", ["list.xlsx", "list", "list.parquet.gz", "list."])
def test_a_suffix_without_a_format_is_refused(name, listed, tmp_path):
    with pytest.raises(InputError, match=r"use \.parquet, \.csv or \.jsonl"):
        write_scores(listed, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_a_disk_that_fills_up_leaves_no_part_of_a_file(suffix, listed, tmp_path):
    """The kernel refuses to write more than 4 kB; what stood there before stays."""
    file = tmp_path / f"list{suffix}"
    file.write_bytes(b"older")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(RetryError, match="the list could not be written"):
            write_scores(listed, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p.name for p in tmp_path.iterdir()] == [file.name]
    assert file.read_bytes() == b"older"


def test_a_place_that_cannot_be_written_to_is_said(listed, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "taken.csv").mkdir()
    for target in (tmp_path / "file" / "list.csv", tmp_path / "taken.csv"):
        with pytest.raises(RetryError, match="the list could not be written"):
            write_scores(listed, target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "taken.csv"]
