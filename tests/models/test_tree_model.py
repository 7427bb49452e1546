"""One tree and a forest: their leaves hold the log-odds of the rows that fell into them."""

from __future__ import annotations

from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pytest

from ebbtide.core.errors import DefectError
from ebbtide.evaluation.ranking import auroc
from ebbtide.models.base import logit, sigmoid
from ebbtide.models.decision_tree import DecisionTreeConfig, DecisionTreeModel
from ebbtide.models.random_forest import RandomForestConfig, RandomForestModel

SMALL = RandomForestConfig(groves=2, trees=15)


@pytest.fixture(scope="module")
def rows(make_rows):
    return make_rows(900)


@pytest.fixture(scope="module")
def tree(rows):
    return DecisionTreeModel().fit(rows, seed=0)


@pytest.fixture(scope="module")
def forest(rows):
    return RandomForestModel(SMALL).fit(rows, seed=0)


def test_each_leaf_says_the_share_of_its_own_rows(tree, rows):
    """With four more rows of the base rate in it: by hand for every group of rows with the same margin."""
    margin = tree.margin(rows.X)
    leaves = np.unique(margin)
    assert 4 <= len(leaves) <= DecisionTreeConfig().leaves
    for value in leaves:
        own = rows.y[margin == value]
        expected = (own.sum() + 4 * rows.y.mean()) / (len(own) + 4)
        assert sigmoid(np.array([value]))[0] == pytest.approx(expected, abs=1e-6)


def test_a_rare_leaf_does_not_overshoot(make_rows):
    """Where one in twenty churns, a Newton step would call a half-churned leaf certain; log-odds say a half."""
    rng = np.random.default_rng(0)
    rows = make_rows(4000)
    group = rng.random(4000) < 0.05
    y = (rng.random(4000) < np.where(group, 0.5, 0.02)).astype(float)
    X = np.where(np.arange(8) == 0, group[:, None], 0).astype(np.float32)
    model = DecisionTreeModel().fit(replace(rows, X=X, y=y), seed=0)
    p = sigmoid(model.margin(X))
    assert p[group].mean() == pytest.approx(y[group].mean(), abs=0.02)
    assert p[~group].mean() == pytest.approx(y[~group].mean(), abs=0.002)


def test_leaves_are_not_smaller_than_said(tree, rows):
    _, sizes = np.unique(tree.margin(rows.X), return_counts=True)
    assert sizes.min() >= 40


@pytest.mark.parametrize("count", [10, 100, 1_000, 100_000])
def test_the_least_leaf_follows_the_number_of_rows(count):
    one, many = DecisionTreeConfig().parameters(count), RandomForestConfig().parameters(count, 0)
    assert one["min_data_in_leaf"] == {10: 1, 100: 5, 1_000: 40, 100_000: 1000}[count]
    assert many["min_data_in_leaf"] == {10: 1, 100: 5, 1_000: 40, 100_000: 200}[count]


def test_the_forest_is_the_mean_of_what_lightgbm_says_of_its_groves(forest, rows):
    boosters = [lgb.Booster(model_str=text) for text in forest._texts]
    assert [b.num_trees() for b in boosters] == [15, 15]
    theirs = np.mean([logit(np.asarray(b.predict(rows.X))) for b in boosters], axis=0)
    np.testing.assert_allclose(forest.margin(rows.X), theirs, rtol=0, atol=1e-9)


def test_margins_stay_between_the_log_odds_that_so_few_rows_allow(forest, rows):
    """No leaf of n rows may be surer than all n of one kind, beside the four of the base rate."""
    margin, rate = forest.margin(rows.X), rows.y.mean()
    n = len(rows)
    assert logit(np.array([4 * rate / (n + 4)]))[0] < margin.min() < 0 < margin.max()
    assert margin.max() < logit(np.array([(n + 4 * rate) / (n + 4)]))[0]


def test_a_forest_ranks_unseen_users_better_than_one_tree(tree, forest, make_rows):
    fresh = make_rows(4000, seed=5)
    assert auroc(fresh.y, forest.margin(fresh.X)) > auroc(fresh.y, tree.margin(fresh.X)) + 0.005


def test_the_tree_knows_no_seed_and_the_forest_does(tree, forest, rows):
    assert DecisionTreeModel().fit(rows, seed=1).margin(rows.X).tobytes() == tree.margin(rows.X).tobytes()
    assert np.abs(RandomForestModel(SMALL).fit(rows, seed=1).margin(rows.X) - forest.margin(rows.X)).max() > 1e-3


def test_rows_that_tell_nothing_get_the_base_rate(rows):
    """Trees without a split: LightGBM leaves zeros in all but the first, which would pull the mean to a half."""
    blank = replace(rows, X=np.ones_like(rows.X))
    for model in (DecisionTreeModel(), RandomForestModel(SMALL)):
        model.fit(blank, seed=0)
        np.testing.assert_allclose(sigmoid(model.margin(blank.X[:5])), rows.y.mean(), atol=1e-6)


def test_the_number_of_cores_changes_nothing(rows, forest, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    again = RandomForestModel(SMALL).fit(rows, seed=0)
    assert again.margin(rows.X).tobytes() == forest.margin(rows.X).tobytes()


@pytest.mark.parametrize("model", [DecisionTreeModel(), RandomForestModel()])
def test_a_model_that_was_not_fitted_says_so(model, rows):
    with pytest.raises(DefectError, match="before they are fitted"):
        model.margin(rows.X)
