"""Ridge logistic regression: the same optimum as scikit-learn, honest choice of strength, exact terms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from ebbtide.core.errors import DataError, DefectError
from ebbtide.models.base import Rows, sigmoid
from ebbtide.models.basis import Basis
from ebbtide.models.logistic import LogisticConfig, LogisticModel, choose_strength

DAY_US = 86_400_000_000


def planted(count, weights, noise_columns, seed=0, moments=6):
    """Rows whose log-odds are linear in the logs of the first columns."""
    rng = np.random.default_rng(seed)
    logs = rng.normal(size=(count, len(weights) + noise_columns))
    y = (rng.random(count) < sigmoid(logs[:, : len(weights)] @ weights)).astype(float)
    X = (np.sign(logs) * np.expm1(np.abs(logs))).astype(np.float32)
    as_of = np.sort(rng.integers(0, moments, count)) * 30 * DAY_US
    names = tuple(f"c{j}" for j in range(X.shape[1]))
    return Rows(X, y, as_of, rng.integers(0, 2**63, count).astype(np.uint64), names, 30 * DAY_US)


@pytest.mark.parametrize(("strength", "knots"), [(1e-3, 0), (1.0, 0), (0.1, 2)])
def test_the_optimum_is_scikit_learns(make_rows, strength, knots):
    rows = make_rows()
    design = Basis.fit(rows.X, knots).design(rows.X).astype(np.float64)
    theirs = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(design, rows.y)
    ours = LogisticModel(LogisticConfig(knots=knots), strength).fit(rows, seed=0)
    np.testing.assert_allclose(ours.margin(rows.X), theirs.decision_function(design), atol=1e-5)


def test_a_hessian_from_a_sample_reaches_the_same_optimum(make_rows):
    rows = make_rows()
    exact = LogisticModel(strength=0.1).fit(rows, seed=0)
    sampled = LogisticModel(LogisticConfig(curvature_rows=150), 0.1).fit(rows, seed=0)
    np.testing.assert_allclose(sampled.margin(rows.X), exact.margin(rows.X), atol=1e-5)


def test_planted_weights_rank_nearly_as_well_as_the_truth():
    weights = np.array([1.0, -0.7, 0.5])
    rows, fresh = planted(4000, weights, 40), planted(8000, weights, 40, seed=1)
    model = LogisticModel().fit(rows, seed=0)
    truth = np.sign(fresh.X[:, :3]) * np.log1p(np.abs(fresh.X[:, :3])) @ weights
    assert roc_auc_score(fresh.y, model.margin(fresh.X)) > roc_auc_score(fresh.y, truth) - 0.015


def test_noise_among_the_columns_asks_for_a_stronger_ridge_and_clear_evidence_for_a_weaker_one():
    """One column out of 101 speaks: a weak ridge fits the noise. Sixty speak clearly: a strong one shrinks a lot."""
    config = LogisticConfig(strengths=(1e-4, 1e-2, 10.0), usual=10.0)
    assert choose_strength(planted(3000, np.array([1.0]), 100), config) < 10.0
    uneven = np.random.default_rng(0).normal(0, 0.8, 60) ** 3
    assert choose_strength(planted(6000, uneven, 0), replace(config, usual=1e-4)) > 1e-4


def test_without_clear_evidence_the_usual_strength_stays():
    rows = planted(400, np.array([1.0, -0.7]), 5)
    for usual in (1e-3, 1e-2):
        assert choose_strength(rows, LogisticConfig(strengths=(1e-3, 1e-2), usual=usual)) == usual


def test_the_strength_is_chosen_without_labels_that_close_after_the_held_out_moment():
    """With the labels of the last embargo before each held-out moment made nonsense, the choice stays."""
    rows = planted(3000, np.array([1.0, -0.7]), 20)
    wide = replace(rows, embargo_us=60 * DAY_US)
    late = wide.as_of_us == wide.moments()[-2]
    spoilt = replace(wide, y=np.where(late, 1 - wide.y, wide.y))
    config = LogisticConfig(folds=1)
    assert choose_strength(spoilt, config) == choose_strength(wide, config)


def test_a_single_moment_falls_back_to_folds_by_user():
    rows = planted(1500, np.array([1.0, -0.7]), 20, moments=1)
    assert choose_strength(rows, LogisticConfig()) in LogisticConfig().strengths


def test_too_few_rows_for_any_fold_take_the_usual_strength():
    rows = planted(1500, np.array([1.0]), 2).take(np.arange(2))
    rows = replace(rows, y=np.array([0.0, 1.0]), user=np.array([0, 1], np.uint64))
    assert choose_strength(rows, LogisticConfig()) == LogisticConfig().usual


def test_tuning_on_a_sample_of_users_hardly_changes_the_ranking():
    rows, fresh = planted(6000, np.array([1.0, -0.7]), 20), planted(4000, np.array([1.0, -0.7]), 20, seed=1)
    full = LogisticModel().fit(rows, seed=0).margin(fresh.X)
    thin = LogisticModel(LogisticConfig(tuning_rows=500)).fit(rows, seed=0).margin(fresh.X)
    assert roc_auc_score(fresh.y, thin) == pytest.approx(roc_auc_score(fresh.y, full), abs=0.005)


def test_many_rows_are_thinned_by_user_whatever_their_order():
    rows = planted(6000, np.array([1.0, -0.7]), 5)
    config = LogisticConfig(most_rows=2000)
    order = np.random.default_rng(0).permutation(len(rows))
    ours, shuffled = (LogisticModel(config, 0.01).fit(r, seed=0) for r in (rows, rows.take(order)))
    np.testing.assert_allclose(ours.margin(rows.X), shuffled.margin(rows.X), atol=1e-4)
    assert ours.margin(rows.X).tobytes() != LogisticModel(strength=0.01).fit(rows, seed=0).margin(rows.X).tobytes()


def test_the_base_is_the_mean_margin_and_terms_have_mean_zero(make_rows):
    rows = make_rows()
    model = LogisticModel(strength=0.1).fit(rows, seed=0)
    terms = model.contributions(rows.X)
    np.testing.assert_allclose(terms[:, :-1].mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(terms[:, -1], model.margin(rows.X).mean(), atol=1e-12)


def test_one_class_is_refused_with_both_counts(make_rows):
    rows = make_rows()
    with pytest.raises(DataError, match="found 600 churned and 0 retained"):
        LogisticModel().fit(replace(rows, y=np.ones(len(rows))), seed=0)


def test_an_unfitted_model_says_so(make_rows):
    with pytest.raises(DefectError, match="before it is fitted"):
        LogisticModel().margin(make_rows().X)


def test_settings_survive_saving(make_rows, tmp_path):
    config = LogisticConfig(strengths=(0.01, 0.1), folds=2, knots=1)
    model = LogisticModel(config).fit(make_rows(), seed=0)
    model.save(tmp_path)
    again = LogisticModel.load(tmp_path)
    assert (again.config, again.strength) == (config, model.strength)
