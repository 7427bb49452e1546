"""`train --continue`: the better of going on and starting anew, judged on outcomes that neither knew; said aloud."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from ebbtide.core.errors import DataError, InputError, MissingBundleError
from ebbtide.core.progress import silent
from ebbtide.evaluation.intervals import Estimate
from ebbtide.models.lightgbm import LightGbmModel
from ebbtide.models.registry import candidates
from ebbtide.models.stack import StackModel
from ebbtide.pipeline import continuing as module
from ebbtide.pipeline.continuing import Race, continue_training
from ebbtide.pipeline.train import prepare
from ebbtide.workspace import Workspace

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["ebbtide.pipeline.continuing"])
BETTER, SAME = Estimate(-0.02, -0.03, -0.01), Estimate(-0.02, -0.03, 0.01)


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    """Trees are boosted for a few rounds, so that tests are quick."""
    monkeypatch.setattr(LightGbmModel, "rounds_grid", (5, 10, 15, 20))
    monkeypatch.setattr(LightGbmModel, "usual_rounds", 20)


@pytest.fixture
def shop(sim_log, open_shop):
    return open_shop(sim_log, buckets=1).with_train(max_cutoffs=5)


def go_on(shop, **options):
    return continue_training(shop.config, shop.root, **{"until": shop.until, **options})


def train_before(shop, days, model="lightgbm"):
    return shop.train(model=model, until=shop.until - timedelta(days=days)).bundle


def decide(monkeypatch, difference):
    monkeypatch.setattr(module, "paired_difference", lambda *_, **__: difference)


def contents(folder):
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_both_are_told_and_the_better_is_kept(shop):
    """A bundle from a horizon ago knew nothing of the newest closed moment: it is judged itself."""
    old = train_before(shop, 30)
    before = contents(shop.shelf.folder / old)
    report = go_on(shop)
    found = report.continuation
    assert (found.source, found.judged_at, found.by_twin) == (old, shop.until - timedelta(days=30), False)
    assert found.new_cutoffs == 3
    assert found.ways["lightgbm"] in ("boost", "leaves")
    for contender in (found.continued, found.refit):
        assert 0.5 < contender.auroc.low < contender.auroc.value < 1
        assert 0 < contender.log_loss.value < 0.7
        assert contender.seconds > 0
    assert found.auroc_difference.value == pytest.approx(found.continued.auroc.value - found.refit.auroc.value)
    assert found.is_kept == (found.log_loss_difference.high < 0)
    assert shop.shelf.current_id() == report.bundle != old
    assert contents(shop.shelf.folder / old) == before
    told = json.loads(json.dumps(report.to_json(), allow_nan=False))["continuation"]
    assert told["kept"] == ("continued" if found.is_kept else "refit")
    assert shop.shelf.load().manifest["continued"]["source"] == old
    said = " ".join(line.en for line in report.lines())
    assert f"{found.continued.auroc.value:.4f}" in said
    assert f"{found.refit.auroc.value:.4f}" in said
    assert all(line.zh and "{" not in line.en + line.zh for line in report.lines())


def test_a_younger_bundle_is_judged_by_a_twin_that_knows_less(shop):
    """It learnt from outcomes of the newest closed moment, which would make it look better than it is."""
    train_before(shop, 10)
    found = go_on(shop).continuation
    assert found.by_twin
    assert found.new_cutoffs == 1


def test_nothing_unknown_at_a_moment_changes_what_is_said_there(shop):
    """Turn round every label that was open: both contenders say the same, bit for bit."""
    bundle = shop.shelf.load(train_before(shop, 10))
    ready = prepare(shop.config, shop.root, until=shop.until, progress=silent)
    moment = ready.held_out[0]
    unknown = ready.rows.as_of_us + ready.rows.embargo_us > moment
    turned = replace(ready.rows, y=np.where(unknown, 1 - ready.rows.y, ready.rows.y))
    one, other = (
        Race.of(shop.config, replace(ready, rows=rows), bundle, candidates("lightgbm"), silent)
        for rows in (ready.rows, turned)
    )
    for a, b in ((one.gone_on[-1], other.gone_on[-1]), (one.past[-1], other.past[-1])):
        assert a.held.moment_us == moment
        assert a.choice.apply(a.held).tobytes() == b.choice.apply(b.held).tobytes()


@pytest.mark.parametrize("model", ["lightgbm", "logistic"])
def test_what_went_on_and_won_is_the_new_bundle(shop, monkeypatch, model):
    old = shop.shelf.load(train_before(shop, 30, model))
    decide(monkeypatch, BETTER)
    report = go_on(shop)
    new = shop.shelf.load()
    assert report.continuation.is_kept
    assert "kept: the continued bundle" in " ".join(line.en for line in report.lines())
    assert new.manifest["continued"]["chain"] == 1
    assert new.manifest["cutoffs"][-1] == (shop.until - timedelta(days=30)).isoformat()
    (was,), (now,) = old.stack.members, new.stack.members
    assert was.config == now.config
    assert (
        (was.rounds <= now.rounds and now.seen_us > was.seen_us)
        if model == "lightgbm"
        else was.strength == now.strength
    )
    assert 0.5 < report.verdict.test.metrics["auroc"].value < 1


def test_it_goes_on_again_from_what_went_on(shop, monkeypatch):
    shop = shop.with_train(max_cutoffs=8)
    train_before(shop, 40)
    decide(monkeypatch, BETTER)
    go_on(shop, until=shop.until - timedelta(days=20))
    go_on(shop)
    assert shop.shelf.load().manifest["continued"]["chain"] == 2


def test_a_tie_goes_to_the_full_refit_which_is_what_train_makes(shop, monkeypatch):
    train_before(shop, 30)
    decide(monkeypatch, SAME)
    report = go_on(shop)
    assert not report.continuation.is_kept
    assert "kept: the full refit" in " ".join(line.en for line in report.lines())
    plain = shop.train(model="lightgbm").bundle
    same = [contents(shop.shelf.folder / b / "models") for b in (report.bundle, plain)]
    assert same[0] == same[1]
    assert shop.shelf.load(report.bundle).calibration == shop.shelf.load(plain).calibration
    assert shop.shelf.load(report.bundle).manifest["continued"]["chain"] == 0


def test_of_a_mixture_each_part_goes_on_in_its_way(shop, monkeypatch):
    """Models that cannot go on are fitted anew beside those that can."""
    train_before(shop, 30, "auto")
    decide(monkeypatch, BETTER)
    report = go_on(shop)
    assert set(report.continuation.ways) <= {"lightgbm", "logistic"}
    assert report.continuation.ways
    assert set(report.weights) <= {"lightgbm", "logistic", "forest", "bgnbd"}


def test_without_a_bundle_it_says_what_to_do(small_shop):
    with pytest.raises(MissingBundleError, match="run `ebbtide train` first"):
        go_on(small_shop)


def test_with_nothing_new_it_says_so(shop):
    train_before(shop, 0, "recency")
    with pytest.raises(DataError, match="nothing new to learn from"):
        go_on(shop)


def test_another_question_is_refused(shop):
    train_before(shop, 30, "recency")
    churn = shop.config.churn.model_copy(update={"horizon": "20d"})
    with pytest.raises(InputError, match="answers another question"):
        go_on(replace(shop, config=shop.config.model_copy(update={"churn": churn})))


def test_another_lake_is_refused(shop, sim_log, open_shop):
    train_before(shop, 30, "recency")
    half = open_shop(sim_log.filter(pl.col("user_id").hash() % 2 == 0)).borrow(shop)
    with pytest.raises(DataError, match=r"not the one that the bundle .* learnt from"):
        go_on(half)


def test_columns_that_are_no_longer_computed_are_refused(shop):
    bundle = train_before(shop, 30, "lightgbm")
    name = shop.shelf.load(bundle).catalogue.names[-1]
    features = shop.config.features.model_copy(update={"drop": [name]})
    with pytest.raises(InputError, match=rf"not computed any more or stand in another order \(1: {name}\)"):
        go_on(replace(shop, config=shop.config.model_copy(update={"features": features})))


def test_a_bundle_without_anything_that_can_go_on_is_refused(shop):
    train_before(shop, 30, "recency")
    with pytest.raises(InputError, match=r"no model of the bundle can go on from what it knows \(recency\)"):
        go_on(shop)


def test_a_model_and_going_on_are_not_asked_for_at_once(tmp_path):
    with pytest.raises(InputError, match="--model or --continue, not both"):
        Workspace(tmp_path).train(model="lightgbm", continued=True)


def _hang_while_writing(config, root, until, mark):
    """In a process of its own: half of the new bundle is on disk when it waits to be killed."""
    real = StackModel.save

    def save(self, folder):
        real(self, folder)
        mark.touch()
        time.sleep(120)

    StackModel.save = save
    continue_training(config, root, until=until)


@pytest.mark.timeout(240)
def test_killed_in_the_midst_the_old_bundle_stays_whole_and_current(shop):
    old = train_before(shop, 30)
    mark = shop.root / "half written"
    child = FORKS.Process(target=_hang_while_writing, args=(shop.config, shop.root, shop.until, mark))
    child.start()
    while not mark.exists():
        assert child.is_alive()
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert shop.shelf.ids() == [old]
    assert shop.shelf.load().id == old
    assert len(shop.score()) > 0
    assert go_on(shop).bundle == shop.shelf.current_id() != old
