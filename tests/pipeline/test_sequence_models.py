"""A model that reads event sequences goes the whole way: rehearsed, bundled, scored in any company, explained."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from ebbtide.core.progress import silent
from ebbtide.core.settings import SourceConfig
from ebbtide.core.windows import from_us
from ebbtide.models.registry import candidates
from ebbtide.pipeline.ingest import ingest
from ebbtide.pipeline.score import score_shard
from ebbtide.pipeline.train import prepare

from .conftest import END, START


@pytest.fixture(scope="module")
def shop(sim_log, open_shop):
    shop = open_shop(sim_log)
    deep = shop.config.deep.model_copy(update={"epochs": 2, "hidden": 16, "max_len": 32})
    config = shop.config.model_copy(update={"deep": deep})
    return type(shop)(shop.root, config).with_train(max_cutoffs=4, bootstrap=50)


@pytest.fixture(scope="module")
def bundle(shop):
    return shop.shelf.load(shop.train(model="rnn").bundle)


@pytest.fixture(scope="module")
def everybody(shop):
    return pl.concat([shop.lake.read_bucket(b) for b in shop.lake.buckets()])


def test_the_bundle_carries_the_net_and_its_column(bundle):
    assert [m.name for m in bundle.makers] == ["rnn"]
    assert bundle.columns[-1].name == "rnn_log_odds"
    assert bundle.metrics["test"] is not None, "it was judged out of time"


def test_one_user_alone_gets_the_row_of_the_batch(shop, bundle, everybody):
    batch = score_shard(everybody, shop.until, bundle, reasons="all").sort("user_id")
    for user in batch["user_id"][::40]:
        alone = score_shard(shop.lake.read_user(user), shop.until, bundle, reasons="all")
        own = batch.filter(pl.col("user_id") == user)
        np.testing.assert_allclose(alone["churn_probability"], own["churn_probability"], rtol=0, atol=1e-9)
        assert alone["reasons"][0].struct.field("text").to_list() == own["reasons"][0].struct.field("text").to_list()


def test_no_event_after_as_of_changes_a_score(shop, bundle, everybody):
    cut = everybody.filter(pl.col("occurred_at") <= shop.until, pl.col("ingested_at") <= shop.until)
    assert len(cut) < len(everybody)
    assert score_shard(cut, shop.until, bundle).equals(score_shard(everybody, shop.until, bundle))


def test_training_does_not_look_past_until(shop, sim_log, open_shop, bundle):
    """The same net comes from a log that ends at `until`."""
    known = sim_log.filter(pl.col("occurred_at") <= shop.until, pl.col("ingested_at") <= shop.until)
    other = open_shop(known)
    again = type(other)(other.root, shop.config).train(model="rnn", until=shop.until)
    listed = other.shelf.load(again.bundle)
    moment = shop.until - timedelta(days=1)
    lake = other.lake
    events = pl.concat([lake.read_bucket(b) for b in lake.buckets()])
    one, two = score_shard(events, moment, bundle), score_shard(events, moment, listed)
    np.testing.assert_allclose(one["churn_probability"], two["churn_probability"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("model", ["cnn_rnn", "vae", "mlp", "auto_deep"])
def test_other_nets_go_the_whole_way(shop, everybody, model):
    bundle = shop.shelf.load(shop.train(model=model).bundle)
    scored = score_shard(everybody, shop.until, bundle, reasons="all").sort("user_id")
    assert 0 < scored["churn_probability"].min() < scored["churn_probability"].max() < 1
    user = scored["user_id"][7]
    alone = score_shard(shop.lake.read_user(user), shop.until, bundle, reasons="all")
    assert abs(alone["churn_probability"][0] - scored["churn_probability"][7]) < 1e-9
    told = {r["feature"] for reasons in scored["reasons"] for r in reasons}
    assert told <= {c.name for c in bundle.columns}


def test_item_vectors_of_a_rehearsal_are_those_known_then(open_shop, sim_log):
    """A vector that the shop got in the middle of the log is not there for a model that is fitted before."""
    shop = open_shop(sim_log)
    ids = sim_log["item_id"].drop_nulls().unique().sort()
    since = pl.when(pl.int_range(len(ids)) % 2 == 0).then(pl.lit(START + timedelta(days=195)))
    told = pl.DataFrame({"item_id": ids}).with_columns(vector=pl.lit("[1, 2]"), valid_from=since)
    told.write_parquet(shop.root / "items.parquet")
    source = SourceConfig(table="items", path="items.parquet", columns={c: c for c in told.columns})
    config = shop.config.model_copy(update={"source": [*shop.config.source, source]})
    ingest(config, shop.root, now=END)
    ready = prepare(config, shop.root, until=shop.until, progress=silent, entries=candidates("cnn_rnn"))
    known = {from_us(m): len(ready.setting_at(m).item_vectors.item) for m in ready.people}
    assert len(known) > 1
    for moment, count in known.items():
        assert count == (len(ids) if moment >= START + timedelta(days=195) else len(ids) // 2)
    plain = prepare(config, shop.root, until=shop.until, progress=silent, entries=candidates("rnn"))
    assert plain.setting_at(plain.until_us).item_vectors is None
