"""The verdict: figures of past moments, judged with the choice that was made before them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ebbtide.core.config import parse_config
from ebbtide.core.windows import DAY_US, from_us
from ebbtide.models.auto import Choice, HeldOut
from ebbtide.models.base import Rows, sigmoid
from ebbtide.models.calibration import AffineCalibration, ClosedMoment
from ebbtide.pipeline.rehearsal import Rehearsed
from ebbtide.pipeline.verdict import Verdict, judge_rehearsals

NAMES = ("outcome_age_days", "order_value_each_all")
CONFIG = parse_config({"train": {"bootstrap": 50}})


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Two moments of 400 users; the margin that is held out is the truth in log-odds."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.uniform(1, 500, 800), np.exp(rng.normal(3, 1, 800))]).astype(np.float32)
    y = (rng.random(800) < sigmoid(truth(X))).astype(float)
    as_of = np.repeat([100 * DAY_US, 130 * DAY_US], 400)
    return Rows(X, y, as_of, np.tile(np.arange(400, dtype=np.uint64), 2), NAMES, 30 * DAY_US)


def truth(X):
    return (2 - X[:, 0] / 100 + np.log(X[:, 1]) - 3).astype(float)


def rehearsed(rows, moment, calibration=None, history=()):
    own = rows.at(moment)
    held = HeldOut(
        moment, moment + rows.embargo_us, own.user, own.y, {"good": truth(own.X)[None], "bad": -truth(own.X)[None]}
    )
    choice = Choice({"good": 0, "bad": 0}, {"good": 1.0, "bad": 0.0}, calibration or AffineCalibration(), history)
    return Rehearsed(held, choice)


@pytest.fixture(scope="module")
def past(rows):
    closed = ClosedMoment(100 * DAY_US, 400, 0.5, 0.5, 0.0, 0.1)
    return [rehearsed(rows, 100 * DAY_US), rehearsed(rows, 130 * DAY_US, AffineCalibration(1.0, 0.5), (closed,))]


@pytest.fixture(scope="module")
def verdict(past, rows):
    return judge_rehearsals(past, rows, CONFIG)


def test_the_test_is_the_newest_moment_and_the_backtest_holds_all(verdict):
    assert verdict.tested_at == from_us(130 * DAY_US)
    assert [m.as_of for m in verdict.backtest] == [from_us(100 * DAY_US), from_us(130 * DAY_US)]
    assert verdict.test.users == 400


def test_the_figures_are_those_of_the_choice_made_before(verdict, past, rows):
    """The probabilities of the newest moment carry its calibration, 0.5 in log-odds here."""
    own = rows.at(130 * DAY_US)
    assert verdict.test.metrics["auroc"].value == pytest.approx(roc_auc_score(own.y, truth(own.X)))
    assert verdict.backtest[1].predicted_rate == pytest.approx(sigmoid(truth(own.X) + 0.5).mean())
    assert verdict.backtest[1].churn_rate == own.y.mean()
    assert [m.calibrated for m in verdict.backtest] == [False, True]


def test_each_candidate_is_judged_alone_beside_the_policy(verdict):
    for m in verdict.backtest:
        assert m.weights == {"good": 1.0, "bad": 0.0}
        assert m.members["good"] == pytest.approx(m.auroc[0])
        assert m.members["bad"] == pytest.approx(1 - m.auroc[0])


def test_slices_are_by_tenure_and_by_value(verdict, rows):
    groups = {}
    for s in verdict.test.slices:
        groups.setdefault(s.group, []).append(s.rows)
    assert set(groups) == {"tenure_days", "order_value"}
    assert all(sum(sizes) == 400 for sizes in groups.values())
    assert len(groups["order_value"]) == 4
    assert all(80 <= size <= 120 for size in groups["order_value"])


def test_without_money_there_is_no_slice_by_value(past, rows):
    bare = Rows(rows.X[:, :1], rows.y, rows.as_of_us, rows.user, NAMES[:1], rows.embargo_us)
    found = judge_rehearsals(past, bare, CONFIG)
    assert {s.group for s in found.test.slices} == {"tenure_days"}


def test_no_rehearsal_means_no_figures_and_says_so():
    verdict = judge_rehearsals([], None, CONFIG)
    assert verdict == Verdict(None, None, ())
    assert "no honest figure" in verdict.lines()[0].en
    assert "暂时无法给出" in verdict.lines()[0].zh
    assert verdict.to_json() == {"tested_at": None, "test": None, "backtest": []}


def test_the_sentences_hold_day_users_rate_and_quality(verdict):
    first, second = verdict.lines()
    assert first.en.startswith(f"out of time at {datetime(1970, 5, 11, tzinfo=UTC):%Y-%m-%d} (400 users, ")
    assert "AUROC 0." in first.en
    assert "[0." in first.zh
    assert second.en.startswith("quality ")


def test_the_verdict_is_json(verdict):
    told = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
    assert told["tested_at"] == "1970-05-11T00:00:00+00:00"
    assert len(told["backtest"]) == 2


def test_one_class_only_gives_figures_without_a_ranking(rows):
    """Everybody retained: no AUROC, and no crash."""
    calm = Rows(rows.X, np.zeros(len(rows)), rows.as_of_us, rows.user, NAMES, rows.embargo_us)
    verdict = judge_rehearsals([rehearsed(calm, 130 * DAY_US)], calm, CONFIG)
    assert verdict.test.metrics["auroc"].value is None
    assert "AUROC -" in verdict.lines()[0].en
    json.dumps(verdict.to_json(), allow_nan=False)
