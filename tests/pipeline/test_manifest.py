"""The manifest: what was asked, of which data, by which versions."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.metadata import version

import polars as pl
import pytest

from ebbtide.core.progress import silent
from ebbtide.pipeline.manifest import describe_run
from ebbtide.pipeline.train import prepare


@pytest.fixture(scope="module")
def manifest(trained):
    return trained.bundle.manifest


def test_it_says_what_was_known_not_what_the_lake_holds_now(manifest, trained, sim_log):
    until = trained.shop.until
    known = sim_log.filter((pl.col("occurred_at") <= until) & (pl.col("ingested_at") <= until))
    data = manifest["data"]
    assert (data["events"], data["users"]) == (len(known), known["user_id"].n_unique())
    assert datetime.fromisoformat(data["first"]) == known["occurred_at"].min()
    assert datetime.fromisoformat(data["last"]) == known["occurred_at"].max()
    assert {"orders", "money", "search", "deliveries"} <= set(data["capabilities"])
    assert data["capabilities"] == sorted(data["capabilities"])


def test_it_names_the_data_the_question_and_the_versions(manifest, trained):
    assert manifest["data"]["fingerprint"] == trained.shop.lake.fingerprint()
    assert manifest["until"] == trained.shop.until.isoformat()
    assert (manifest["model"], manifest["seed"], manifest["sampled"]) == ("auto", 0, 1.0)
    assert manifest["versions"]["lightgbm"] == version("lightgbm")
    assert manifest["versions"]["ebbtide"] == version("ebbtide")
    assert manifest["definition"] == trained.bundle.definition.to_json()
    assert manifest["config"]["churn"]["horizon"] == "30d"


def test_cutoffs_stand_oldest_first_and_are_closed(manifest, trained):
    cutoffs = [datetime.fromisoformat(c) for c in manifest["cutoffs"]]
    assert cutoffs == sorted(set(cutoffs))
    assert cutoffs[-1] <= trained.shop.until


def test_ids_sort_by_the_time_of_making(trained):
    shop = trained.shop
    ready = prepare(shop.config, shop.root, until=shop.until, progress=silent)
    ids = [
        describe_run(ready.lake, ready.seen, ready.rows, [], model=name, sampled=0.5, seed=3)["id"]
        for name in ("zebra", "auto", "auto")
    ]
    assert ids == sorted(set(ids))
    assert ids[0].startswith(f"{datetime.now(UTC):%Y%m%d}")


def test_it_is_json_without_gaps(manifest):
    assert json.loads(json.dumps(manifest, allow_nan=False)) == manifest
