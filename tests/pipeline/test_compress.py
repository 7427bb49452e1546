"""`compress`: every form judged where nothing had looked, the chosen one a bundle like any other."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from ebbtide.core.errors import DataError, InputError, MissingBundleError
from ebbtide.evaluation.intervals import Estimate
from ebbtide.evaluation.ranking import auroc
from ebbtide.models.forms import FORMS
from ebbtide.pipeline.compress import compress
from ebbtide.pipeline.compression import Compression, FormFigures, paying_form
from ebbtide.pipeline.continuing import check_fits
from ebbtide.pipeline.score import score_shard

pytest.importorskip("torch", reason="the extra `deep` is not installed")


@pytest.fixture(scope="module")
def shop(sim_log, open_shop):
    """A shop with a bundle of a neural net."""
    shop = open_shop(sim_log)
    deep = shop.config.deep.model_copy(update={"epochs": 1, "hidden": 8, "max_len": 16})
    shop = type(shop)(shop.root, shop.config.model_copy(update={"deep": deep})).with_train(max_cutoffs=4, bootstrap=50)
    shop.train(model="rnn")
    return shop


@pytest.fixture(scope="module")
def teacher(shop):
    return shop.shelf.load()


@pytest.fixture(scope="module")
def everybody(shop):
    return pl.concat([shop.lake.read_bucket(b) for b in shop.lake.buckets()])


@pytest.fixture(scope="module")
def both(shop, teacher):
    """Two forms of the same bundle, each promoted."""
    return [compress(shop.root, bundle=teacher.id, form=form, promote=True) for form in ("int8", "distilled")]


@pytest.fixture(scope="module", params=[0, 1], ids=["int8", "distilled"])
def promoted(request, both):
    return both[request.param]


@pytest.fixture(scope="module")
def found(both):
    return both[0]


@pytest.fixture(scope="module")
def trees(sim_log, open_shop):
    """A shop whose bundle holds no neural net."""
    shop = open_shop(sim_log).with_train(max_cutoffs=4, bootstrap=50)
    shop.train(model="logistic")
    return shop


def named(found, form):
    return next(f for f in found.forms if f.form == form)


def test_measuring_writes_nothing(trees):
    before = trees.shelf.ids()
    assert compress(trees.root).written is None
    assert trees.shelf.ids() == before


def test_every_form_is_measured_beside_the_full_one(found, teacher):
    assert tuple(f.form for f in found.forms) == FORMS
    full = named(found, "full")
    assert (full.difference, full.loss.value) == (0.0, 0.0)
    for f in found.forms:
        assert f.loss.value == pytest.approx(full.auroc.value - f.auroc.value)
        assert f.loss.low <= f.loss.value <= f.loss.high
        assert min(f.microseconds, f.alone_microseconds, f.size_bytes) > 0
    assert named(found, "onnx").difference < 1e-5
    assert named(found, "onnx").loss.high < 1e-3
    assert 0 < named(found, "int8").difference < 0.1


def test_the_figures_are_of_the_rehearsal(found, teacher):
    """The full form's are those that training printed for the test moment, made anew from what was known then."""
    test = teacher.metrics["test"]
    assert found.as_of.isoformat() == teacher.metrics["tested_at"]
    assert (found.users, found.churned) == (test["users"], test["churned"])
    assert named(found, "full").auroc.value == pytest.approx(test["metrics"]["auroc"]["value"], abs=1e-6)


def test_the_same_forms_are_measured_whatever_came_after_the_training(trees, sim_log, open_shop):
    """The log goes on after `until`; without that, the table is the same."""
    known = sim_log.filter(pl.col("occurred_at") <= trees.until, pl.col("ingested_at") <= trees.until)
    other = open_shop(known).borrow(trees)
    assert len(known) < len(sim_log)
    for one, two in zip(compress(trees.root).forms, compress(other.root).forms, strict=True):
        assert (one.auroc, one.loss, one.difference) == (two.auroc, two.loss, two.difference)


def test_a_promoted_form_is_current_and_scores_as_any_bundle(shop, teacher, promoted, everybody):
    bundle = shop.shelf.load(promoted.written)
    assert bundle.manifest["form"] == promoted.chosen
    assert bundle.manifest["compressed_from"] == teacher.id
    assert bundle.reads_events == (promoted.chosen == "int8")
    before, after = (score_shard(everybody, shop.until, b).sort("user_id") for b in (teacher, bundle))
    assert after["user_id"].equals(before["user_id"])
    assert auroc((before["churn_probability"] > before["churn_probability"].median()).cast(pl.Float64).to_numpy(),
                 after["churn_probability"].to_numpy()) > 0.8  # fmt: skip


def test_one_user_alone_gets_the_row_of_the_batch(shop, promoted, everybody):
    bundle = shop.shelf.load(promoted.written)
    batch = score_shard(everybody, shop.until, bundle, reasons="all").sort("user_id")
    for user in batch["user_id"][::50]:
        alone = score_shard(shop.lake.read_user(user), shop.until, bundle, reasons="all")
        own = batch.filter(pl.col("user_id") == user)
        np.testing.assert_allclose(alone["churn_probability"], own["churn_probability"], rtol=0, atol=1e-9)
        assert alone["reasons"][0].struct.field("text").to_list() == own["reasons"][0].struct.field("text").to_list()


def test_the_new_bundle_carries_its_own_figures(shop, promoted):
    bundle = shop.shelf.load(promoted.written)
    own = named(promoted, promoted.chosen)
    assert bundle.metrics["test"]["metrics"]["auroc"]["value"] == pytest.approx(own.auroc.value)
    assert [f["form"] for f in bundle.metrics["compression"]["forms"]] == list(FORMS)
    assert promoted.chosen in (shop.shelf.folder / promoted.written / "model_card.md").read_text()


def test_what_is_compressed_is_not_compressed_again(shop, promoted, teacher):
    with pytest.raises(InputError, match=f"compress {teacher.id}"):
        compress(shop.root, bundle=promoted.written)


def test_a_compressed_bundle_does_not_go_on(shop, promoted, teacher):
    bundle = shop.shelf.load(promoted.written)
    with pytest.raises(InputError, match=f"promote {teacher.id}"):
        check_fits(bundle, bundle.config, shop.lake, shop.end)


def test_a_bundle_without_nets_can_only_be_distilled(trees):
    assert [f.form for f in compress(trees.root).forms] == ["full", "distilled"]
    with pytest.raises(InputError, match="no int8 form"):
        compress(trees.root, form="int8")


def test_changed_features_are_refused(trees, monkeypatch):
    whole = trees.shelf.load()
    fewer = replace(whole, catalogue=whole.catalogue.keep(whole.catalogue.names[:-1]))
    monkeypatch.setattr("ebbtide.pipeline.compress.Places.shelf", lambda _: Held(fewer))
    with pytest.raises(DataError, match="features of the workspace have changed"):
        compress(trees.root)


class Held:
    """A shelf with one bundle in the hand."""

    def __init__(self, bundle):
        self.bundle = bundle

    def load(self, name=None):
        return self.bundle


def test_a_history_that_allows_no_moment_says_so(trees, monkeypatch):
    monkeypatch.setattr("ebbtide.pipeline.train.held_out_moments", lambda *_: [])
    with pytest.raises(DataError, match="too short to measure"):
        compress(trees.root)


def test_without_a_bundle_it_says_to_train(small_shop):
    with pytest.raises(MissingBundleError, match="ebbtide train"):
        compress(small_shop.root)


def figures(form, microseconds, loss):
    e = Estimate(0.8, 0.7, 0.9)
    return FormFigures(form, e, Estimate(*loss), 0.01, 1000, microseconds, 5.0)


@pytest.mark.parametrize(
    ("onnx", "distilled", "paying"),
    [
        ((9.0, (0.0, 0.0, 0.0)), (1.0, (0.001, 0.0, 0.0019)), "distilled"),
        ((9.0, (0.0, 0.0, 0.0)), (1.0, (0.001, -0.001, 0.003)), "onnx"),
        ((50.0, (0.0, 0.0, 0.0)), (1.0, (0.01, 0.005, 0.02)), "full"),
        ((9.0, (None, None, None)), (1.0, (None, None, None)), "full"),
    ],
)
def test_auto_takes_the_fastest_that_is_sure_to_lose_little(onnx, distilled, paying):
    """Sure: the whole interval of the loss stays within 0.002; a mean alone proves nothing on few customers."""
    forms = (
        figures("full", 10.0, (0.0, 0.0, 0.0)),
        figures("onnx", onnx[0], onnx[1]),
        figures("distilled", distilled[0], distilled[1]),
    )
    assert paying_form(forms) == paying


def test_the_table_is_json_and_words_in_both_languages(found):
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert [f["form"] for f in told["forms"]] == list(FORMS)
    table, verdict = found.sections()
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert f"{found.users:,} 位顾客" in table.lines[0].zh
    whole = Compression("b", datetime(2024, 6, 1, tzinfo=UTC), 100, 30, found.forms, "full", "full")
    assert "the full form stays" in whole.sections()[1].lines[0].en
    asked = replace(whole, paying="onnx", chosen="distilled")
    assert [t.en.split()[0] for t in asked.sections()[1].lines] == ["onnx", "nothing"]
    assert "模型 c 已写出" in replace(asked, written="c").sections()[1].lines[1].zh
    assert verdict.lines
