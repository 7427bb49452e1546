"""`tune`: chosen on past moments, judged at the newest one, which the search never sees; used by `train` where it fits."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from ebbtide.core.errors import DataError, InputError, MissingError, RetryError
from ebbtide.core.progress import silent
from ebbtide.models.lightgbm import LightGbmModel
from ebbtide.models.registry import MODELS
from ebbtide.models.space import COLUMNS, usual_values
from ebbtide.pipeline.study import StudyFolder
from ebbtide.pipeline.train import prepare
from ebbtide.pipeline.tune import Folds, calibrated_losses, tune
from ebbtide.pipeline.tuned import Tuned, load_tuned

pytest.importorskip("optuna", reason="the extra `tune` is not installed")

TRIALS = 5


@pytest.fixture(scope="module")
def shop(sim_log, open_shop):
    return open_shop(sim_log).with_train(max_cutoffs=12)


def tune_in(shop, **options):
    return tune(shop.config, shop.root, **{"model": "lightgbm", "trials": TRIALS, "until": shop.until, **options})


@pytest.fixture(scope="module")
def report(shop):
    return tune_in(shop)


@pytest.fixture(scope="module")
def folds(shop):
    ready = prepare(shop.config, shop.root, until=shop.until, progress=silent, held_out=5)
    return Folds(ready, "lightgbm", MODELS["lightgbm"], 0)


def test_the_folds_are_the_held_out_moments_before_the_test_moment(report, shop):
    newest = shop.until - timedelta(days=30)
    assert report.tested_at == newest
    assert report.folds == (newest - timedelta(days=60), newest - timedelta(days=30))


def test_nothing_that_was_unknown_at_the_test_moment_changes_the_search(folds):
    """Every label of the test cohort and of whatever closed later is turned round: same study, same losses."""
    rows = folds.ready.rows
    unknown = rows.as_of_us + rows.embargo_us > folds.test_us
    assert unknown.sum() > 500
    turned = replace(rows, y=np.where(unknown, 1 - rows.y, rows.y), X=np.where(unknown[:, None], 7, rows.X))
    other = replace(folds, ready=replace(folds.ready, rows=turned))
    usual = usual_values(LightGbmModel.space)
    assert list(other.losses(usual)) == list(folds.losses(usual))
    assert other.fingerprint() == folds.fingerprint()


def test_known_labels_do_change_it(folds):
    rows = folds.ready.rows
    known = rows.as_of_us + rows.embargo_us <= folds.test_us
    turned = replace(rows, y=np.where(known, 1 - rows.y, rows.y), stayed_us=None)
    other = replace(folds, ready=replace(folds.ready, rows=turned))
    assert other.fingerprint() != folds.fingerprint()


def test_the_usual_settings_are_the_model_as_it_comes(folds):
    usual = usual_values(LightGbmModel.space)
    one, other = (folds.hold_out(folds.known(), folds.moments[-1], v) for v in (usual, None))
    assert one.margins["lightgbm"].tobytes() == other.margins["lightgbm"].tobytes()


def test_the_loss_is_that_of_the_best_number_of_rounds_over_all_folds(folds):
    usual = usual_values(LightGbmModel.space)
    held = [folds.hold_out(folds.known(), m, usual) for m in folds.moments]
    each = np.array([calibrated_losses(h.margins["lightgbm"], h.y) for h in held])
    assert list(folds.losses(usual)) == pytest.approx([each[0].min(), each.mean(axis=0).min()])


def test_a_moving_base_rate_is_not_blamed_on_the_settings():
    rng = np.random.default_rng(0)
    margin = rng.normal(size=500)
    y = (rng.random(500) < 1 / (1 + np.exp(-margin))).astype(float)
    losses = calibrated_losses(np.vstack([margin, margin + 2, 0.5 * margin]), y)
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)
    assert losses[2] == pytest.approx(losses[0], abs=1e-2)
    assert losses[0] < np.log(2)


def test_the_best_trial_wins_and_never_loses_to_the_usual_settings_on_the_folds(report):
    assert len(report.trials) == TRIALS
    whole = [t for t in report.trials if not t.pruned]
    assert report.loss == min(t.loss for t in whole) <= report.usual_loss == report.trials[0].loss
    assert report.settings == next(t for t in whole if t.loss == report.loss).values


def test_the_same_seed_finds_the_same(report, shop):
    again = tune_in(shop, fresh=True)
    assert [(t.values, t.losses) for t in again.trials] == [(t.values, t.losses) for t in report.trials]
    assert again.figures == report.figures


def test_it_goes_on_with_what_was_tried(report, shop, monkeypatch):
    """The same data: nothing is tried again. Other data: another study."""
    monkeypatch.setattr(Folds, "losses", lambda *_: pytest.fail("tried again"))
    again = tune_in(shop)
    assert [t.values for t in again.trials] == [t.values for t in report.trials]
    with pytest.raises(pytest.fail.Exception, match="tried again"):
        tune_in(shop, until=shop.until - timedelta(days=10))


def test_before_is_what_train_says_of_the_test_moment(report, shop):
    """The figures of tuning and of training are the same figures."""
    trained = shop.train(model="lightgbm").verdict
    assert trained.tested_at == report.tested_at
    assert trained.test.metrics["auroc"] == report.figures["auroc"].before
    assert trained.test.metrics["log_loss"] == report.figures["log_loss"].before


def test_train_uses_what_was_tuned_and_says_so(report, shop):
    tuned = shop.with_train(tuned=True).train(model="lightgbm")
    bundle = shop.shelf.load(tuned.bundle)
    (member,) = bundle.stack.members
    kept = {k: v for k, v in report.settings.items() if k != COLUMNS}
    assert {name: getattr(member.config, name) for name in kept} == pytest.approx(kept)
    assert bundle.manifest["tuned"]["lightgbm"]["settings"] == report.settings
    assert bundle.manifest["tuned"]["lightgbm"]["known_until"] == report.tested_at.isoformat()
    assert tuned.verdict.test.metrics["auroc"] == report.figures["auroc"].after
    said = [line for line in tuned.lines() if "settings tuned on outcomes known at" in line.en]
    assert len(said) == 1
    assert f"{report.tested_at:%Y-%m-%d}" in said[0].zh
    assert tuned.to_json()["tuned"] == {"lightgbm": report.settings}


def test_auto_takes_tuned_settings_for_the_members_that_have_them(report, shop):
    made = shop.with_train(tuned=True, max_cutoffs=5).train()
    assert set(made.tuned) == {"lightgbm"}


def test_settings_chosen_with_later_outcomes_are_refused(report, shop):
    """A bundle tested before the tuning's last outcome would boast of a test that is none."""
    with pytest.raises(DataError, match="its figures would not be honest"):
        shop.with_train(tuned=True).train(model="lightgbm", until=shop.until - timedelta(days=10))


def test_settings_for_another_question_are_refused(report, shop):
    other = shop.config.model_copy(update={"churn": shop.config.churn.model_copy(update={"horizon": "20d"})})
    with pytest.raises(InputError, match="another churn definition"):
        replace(shop, config=other).with_train(tuned=True).train(model="lightgbm")


def test_settings_that_the_model_has_no_more_are_refused(report, shop):
    found = load_tuned(shop.root, ["lightgbm"])["lightgbm"]
    old = replace(found, settings={**found.settings, "boldness": 3})
    definition = prepare(shop.config, shop.root, until=shop.until, progress=silent).definition
    found.check(definition, LightGbmModel.space, found.known_us)
    with pytest.raises(InputError, match="by another version"):
        old.check(definition, LightGbmModel.space, found.known_us)


def test_without_anything_tuned_train_says_what_to_run(sim_log, open_shop):
    with pytest.raises(MissingError, match="run `ebbtide tune --model NAME` with one of logistic, forest, lightgbm"):
        open_shop(sim_log).with_train(tuned=True).train()


def test_the_result_is_kept_beside_the_trials(report, shop):
    kept = json.loads((shop.root / ".ebbtide" / "tuning" / "lightgbm.json").read_text(encoding="utf-8"))
    assert kept["settings"] == report.settings
    assert kept["figures"]["figures"]["auroc"]["difference"] == report.figures["auroc"].difference.to_json()
    assert Tuned.from_json(kept).to_json() == kept


def test_the_run_is_recorded(report, shop):
    records = [json.loads(f.read_text()) for f in sorted((shop.root / ".ebbtide" / "runs").glob("*-tune.json"))]
    assert records[0]["result"] == "lightgbm.json"
    assert records[0]["metrics"]["auroc_difference"] == report.figures["auroc"].difference.to_json()
    assert records[0]["settings"] == report.settings


def test_a_disk_that_fills_up_keeps_the_trials(report, tmp_path):
    """And says so: only the result is written at the end."""
    (tmp_path / ".ebbtide").write_text("a file where a folder should be")
    with pytest.raises(RetryError, match="the trials are kept"):
        Tuned("lightgbm", report.settings, 0, {}, {}).save(tmp_path)


def test_the_report_is_json_and_words(report):
    told = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert told["settings"] == report.settings
    assert len(told["trials"]) == TRIALS
    for line in report.lines():
        assert line.en
        assert line.zh
        assert "{" not in line.en + line.zh
    best = report.sections()[1].rows
    assert [row[1] for row in best] == sorted(row[1] for row in best)


@pytest.mark.parametrize("model", ["auto", "recency"])
def test_a_model_without_a_space_is_refused_before_any_work(tmp_path, shop, model):
    with pytest.raises(InputError, match=rf"`{model}` has nothing to tune: name one of .*logistic, .*lightgbm"):
        tune(shop.config, tmp_path, model=model)
    assert not (tmp_path / ".ebbtide").exists()


def test_too_short_a_history_is_refused(shop):
    with pytest.raises(DataError, match="too short to tune"):
        tune_in(shop.with_train(max_cutoffs=4))


def test_it_does_not_start_anew_under_another_process(shop):
    with (
        StudyFolder(shop.root / ".ebbtide" / "tuning", "lightgbm").worker(),
        pytest.raises(RetryError, match="another"),
    ):
        tune_in(shop, fresh=True)
