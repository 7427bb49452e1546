"""TreeEnsemble says exactly what LightGBM says, for every way in which LightGBM can treat what is missing."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ebbtide.core.errors import InputError
from ebbtide.models.tree_ensemble import MARGIN_ROWS, TreeEnsemble

TINY = float(np.float32(1e-35))
MISSING = {
    "unknown is a case of its own": {},
    "zero means unknown": {"zero_as_missing": True},
    "unknown means zero": {"use_missing": False},
}


def make_matrix(rng: np.random.Generator, rows: int, columns: int, unknown: float = 0.2) -> NDArray[np.float32]:
    """Numbers with ties, zeros and unknowns."""
    X = np.round(rng.normal(size=(rows, columns)), 1).astype(np.float32)
    X[rng.random(X.shape) < 0.2] = 0.0
    X[rng.random(X.shape) < unknown] = np.nan
    return X


def make_booster(
    rng: np.random.Generator, X: NDArray[np.float32], rounds: int = 12, **parameters: object
) -> lgb.Booster:
    """A booster that learnt a noisy rule with interactions, in which unknown and zero both carry meaning."""
    signal = np.nan_to_num(X) @ rng.normal(size=X.shape[1]) + 1.5 * np.isnan(X[:, 0]) - 1.0 * (X[:, -1] == 0)
    y = (signal + np.nan_to_num(X[:, 0] * X[:, -1]) + rng.normal(size=len(X)) > 0).astype(float)
    settings = {"objective": "binary", "verbosity": -1, "min_data_in_leaf": 3, "num_threads": 1, "seed": 1}
    return lgb.train(settings | parameters, lgb.Dataset(X, y), rounds)


def test_margin_is_the_raw_score_of_lightgbm() -> None:
    for unknown in (0.0, 0.2):
        for name, treatment in MISSING.items():
            rng = np.random.default_rng(4)
            booster = make_booster(rng, make_matrix(rng, 800, 5, unknown), **treatment)
            X = make_matrix(rng, 500, 5)
            trees = TreeEnsemble.from_text([booster.model_to_string()])
            np.testing.assert_array_equal(trees.margin(X), booster.predict(X, raw_score=True), err_msg=name)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    leaves=st.sampled_from([2, 3, 8, 31, 32, 33, 60]),
    columns=st.integers(1, 6),
    treatment=st.sampled_from(sorted(MISSING)),
    is_random=st.booleans(),
)
def test_any_booster_is_met(seed: int, leaves: int, columns: int, treatment: str, is_random: bool) -> None:
    """Few columns make a path ask the same feature again and again; over 32 leaves another evaluation takes over."""
    rng = np.random.default_rng(seed)
    options = MISSING[treatment] | {
        "num_leaves": leaves,
        "extra_trees": is_random,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
    }
    booster = make_booster(rng, make_matrix(rng, 300, columns), rounds=4, **options)
    X = make_matrix(rng, 70, columns)
    trees = TreeEnsemble.from_text([booster.model_to_string()])
    np.testing.assert_array_equal(trees.margin(X), booster.predict(X, raw_score=True))
    contributions = trees.contributions(X)
    np.testing.assert_allclose(contributions, booster.predict(X, pred_contrib=True), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(contributions.sum(axis=1), trees.margin(X), atol=1e-9)


def test_values_on_a_threshold_and_at_the_edges_of_float32_take_the_side_that_lightgbm_takes() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 2)).astype(np.float32)
    for treatment in MISSING.values():
        booster = make_booster(rng, X, **treatment)
        thresholds = {
            float(t)
            for line in booster.model_to_string().splitlines()
            if line.startswith("threshold=")
            for t in line.removeprefix("threshold=").split()
        }
        near = np.array(sorted(thresholds)).astype(np.float32)
        edges = np.array([0, -0.0, TINY, -TINY, 2 * TINY, 1e-45, -1e-45, np.inf, -np.inf, np.nan, 3e38], np.float32)
        values = np.concatenate([near, np.nextafter(near, np.float32(9)), np.nextafter(near, np.float32(-9)), edges])
        probes = np.column_stack([values, rng.permutation(values)])
        trees = TreeEnsemble.from_text([booster.model_to_string()])
        np.testing.assert_array_equal(trees.margin(probes), booster.predict(probes, raw_score=True))
        np.testing.assert_allclose(trees.contributions(probes), booster.predict(probes, pred_contrib=True), atol=1e-11)


def test_boosters_are_averaged_or_weighted() -> None:
    rng = np.random.default_rng(1)
    X = make_matrix(rng, 400, 4)
    boosters = [make_booster(rng, X, num_leaves=n) for n in (4, 15, 40)]
    texts = [b.model_to_string() for b in boosters]
    raw = np.array([b.predict(X, raw_score=True) for b in boosters])
    terms = np.array([b.predict(X, pred_contrib=True) for b in boosters])
    np.testing.assert_allclose(TreeEnsemble.from_text(texts).margin(X), raw.mean(axis=0), atol=1e-12)
    weights = [0.5, 0.2, 2.0]
    trees = TreeEnsemble.from_text(texts, weights)
    np.testing.assert_allclose(trees.margin(X), weights @ raw, atol=1e-12)
    np.testing.assert_allclose(trees.contributions(X), np.tensordot(weights, terms, 1), atol=1e-11)


def test_a_random_forest_is_the_mean_of_its_trees() -> None:
    """LightGBM averages for the probability, although its raw score and its contributions are the sum."""
    rng = np.random.default_rng(2)
    X = make_matrix(rng, 400, 4)
    booster = make_booster(rng, X, boosting="rf", bagging_freq=1, bagging_fraction=0.6)
    trees = TreeEnsemble.from_text([booster.model_to_string()])
    assert booster.num_trees() == 12
    np.testing.assert_allclose(trees.margin(X), booster.predict(X, raw_score=True) / 12, atol=1e-12)
    np.testing.assert_allclose(1 / (1 + np.exp(-trees.margin(X))), booster.predict(X), atol=1e-12)
    np.testing.assert_allclose(trees.contributions(X), booster.predict(X, pred_contrib=True) / 12, atol=1e-11)


def test_trees_without_a_split_are_constants() -> None:
    X = np.ones((50, 2), np.float32)
    booster = lgb.train({"verbosity": -1, "objective": "binary"}, lgb.Dataset(X, np.arange(50) % 2), 3)
    trees = TreeEnsemble.from_text([booster.model_to_string()])
    assert trees.margin(X).tolist() == booster.predict(X, raw_score=True).tolist()
    np.testing.assert_array_equal(trees.contributions(X), booster.predict(X, pred_contrib=True))
    assert trees.margin(X[:1]).tolist() == trees.margin(X)[:1].tolist()
    np.testing.assert_array_equal(trees.contributions(X[:1]), trees.contributions(X)[:1])


@pytest.fixture(scope="module")
def trees() -> TreeEnsemble:
    """An ensemble over 6 columns."""
    rng = np.random.default_rng(7)
    X = make_matrix(rng, 600, 6)
    return TreeEnsemble.from_text([make_booster(rng, X, num_leaves=n).model_to_string() for n in (7, 31, 45)])


def test_a_row_is_judged_by_itself(trees: TreeEnsemble) -> None:
    """Bit for bit: its neighbours, its place in a block, and the number of threads change nothing."""
    X = make_matrix(np.random.default_rng(2), 2 * MARGIN_ROWS + 77, 6)
    margin, contributions = trees.margin(X), trees.contributions(X)
    for rows in ([0], [5, 3, 5], list(range(60, 140)), [len(X) - 1]):
        np.testing.assert_array_equal(trees.margin(X[rows]), margin[rows])
        np.testing.assert_array_equal(trees.contributions(X[rows]), contributions[rows])


def test_inputs_are_not_changed_and_layout_does_not_matter(trees: TreeEnsemble) -> None:
    X = make_matrix(np.random.default_rng(3), 100, 6)
    kept = X.copy()
    expected = trees.contributions(X)
    np.testing.assert_array_equal(X, kept)
    np.testing.assert_array_equal(trees.contributions(np.asfortranarray(X)), expected)
    np.testing.assert_array_equal(trees.contributions(np.repeat(X, 2, axis=0)[::2]), expected)


def test_nobody_is_scored_as_nobody(trees: TreeEnsemble) -> None:
    empty = np.zeros((0, 6), np.float32)
    assert trees.margin(empty).shape == (0,)
    assert trees.contributions(empty).shape == (0, 7)


def test_arrays_cannot_be_changed(trees: TreeEnsemble) -> None:
    with pytest.raises(ValueError, match="read-only"):
        trees.forest.value[0] = 1.0


def test_another_number_of_columns_is_refused(trees: TreeEnsemble) -> None:
    with pytest.raises(InputError, match=r"expects 6 columns, the matrix has shape \(2, 5\)"):
        trees.margin(np.zeros((2, 5), np.float32))


def test_models_that_cannot_be_used_are_refused_by_name() -> None:
    rng = np.random.default_rng(5)
    X = make_matrix(rng, 300, 3, unknown=0.0)
    y = (X[:, 0] > 0).astype(float)
    wholes = np.column_stack([rng.integers(0, 9, 300), X[:, 1]]).astype(np.float32)
    quiet = {"verbosity": -1, "num_threads": 1}
    refused = {
        "categorical splits": lgb.train(
            quiet | {"objective": "binary"}, lgb.Dataset(wholes, wholes[:, 0] % 3 == 0, categorical_feature=[0]), 2
        ),
        "several classes": lgb.train(
            quiet | {"objective": "multiclass", "num_class": 3}, lgb.Dataset(X, rng.integers(0, 3, 300)), 2
        ),
        "linear models": lgb.train(
            quiet | {"objective": "regression"}, lgb.Dataset(X, X[:, 0] + y, params={"linear_tree": True}), 2
        ),
    }
    for reason, booster in refused.items():
        with pytest.raises(InputError, match=reason):
            TreeEnsemble.from_text([booster.model_to_string()])
    for text in ("", "tree\nversion=v4\n", "not a model"):
        with pytest.raises(InputError, match="no LightGBM model text"):
            TreeEnsemble.from_text([text])


def test_a_damaged_text_is_refused() -> None:
    rng = np.random.default_rng(6)
    text = make_booster(rng, make_matrix(rng, 300, 3)).model_to_string()
    lines = text.splitlines()
    without = [line for line in lines if not line.startswith("leaf_count=")]
    with pytest.raises(InputError, match="`leaf_count` of a tree is incomplete"):
        TreeEnsemble.from_text(["\n".join(without)])
    shuffled = [line if not line.startswith("left_child=") else "left_child=0 " + line[13:] for line in lines]
    with pytest.raises(InputError, match=r"`left_child` of a tree is incomplete|growing order"):
        TreeEnsemble.from_text(["\n".join(shuffled)])


def test_boosters_of_different_columns_are_not_averaged() -> None:
    rng = np.random.default_rng(8)
    texts = [make_booster(rng, make_matrix(rng, 200, n)).model_to_string() for n in (3, 4)]
    with pytest.raises(InputError, match="must expect the same columns"):
        TreeEnsemble.from_text(texts)
    with pytest.raises(InputError, match="one weight"):
        TreeEnsemble.from_text(texts[:1], [0.5, 0.5])
    with pytest.raises(InputError, match="at least one"):
        TreeEnsemble.from_text([])
