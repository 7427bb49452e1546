"""TreeSHAP against its definition: Shapley values by enumeration of all subsets of known features."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from numpy.typing import NDArray

from ebbtide.models.tree_ensemble import TreeEnsemble
from ebbtide.models.tree_forest import plant
from ebbtide.models.tree_text import Tree


def make_tree(
    feature: list[int],
    threshold: list[float],
    left: list[int],
    right: list[int],
    value: list[float],
    count: list[int],
) -> Tree:
    """A tree without special treatment of unknown values: they go left."""
    splits = len(feature)
    return Tree(
        np.array(feature, np.int32),
        np.array(threshold),
        np.ones(splits, np.bool_),
        np.zeros(splits, np.bool_),
        np.array(left, np.int32),
        np.array(right, np.int32),
        np.array(value),
        np.array(count, np.float64),
    )


def ensemble(trees: list[Tree], columns: int) -> TreeEnsemble:
    forest, base = plant(trees, [1.0] * len(trees))
    return TreeEnsemble(forest, base, columns)


def mean_output(tree: Tree, row: NDArray[np.float32], known: frozenset[int]) -> float:
    """Expected output when only the `known` features are: at other splits the training rows' shares decide."""

    def rows(child: int) -> float:
        return float(tree.count[~child]) if child < 0 else rows(tree.left[child]) + rows(tree.right[child])

    def below(child: int) -> float:
        if child < 0:
            return float(tree.value[~child])
        left, right = tree.left[child], tree.right[child]
        if tree.feature[child] in known:
            return below(left if row[tree.feature[child]] <= tree.threshold[child] else right)
        return (rows(left) * below(left) + rows(right) * below(right)) / rows(child)

    return below(0 if len(tree.feature) else ~0)


def shapley(tree: Tree, row: NDArray[np.float32]) -> list[float]:
    """By definition: the mean marginal output of each feature over all orders; last the output with nothing known."""
    columns = range(len(row))
    values = []
    for j in columns:
        others = [c for c in columns if c != j]
        total = 0.0
        for size in range(len(row)):
            for subset in combinations(others, size):
                gain = mean_output(tree, row, frozenset((*subset, j))) - mean_output(tree, row, frozenset(subset))
                total += gain / (len(row) * comb(len(row) - 1, size))
        values.append(total)
    return [*values, mean_output(tree, row, frozenset())]


def test_one_split_by_hand() -> None:
    """x0 <= 0: output 2 (30 rows), else -1 (10 rows). Base = (30 * 2 - 10) / 40 = 1.25; left 2 - 1.25 = 0.75."""
    stump = make_tree([0], [0.0], [-1], [-2], [2.0, -1.0], [30, 10])
    found = ensemble([stump], 2).contributions(np.array([[-1, 5], [1, 5]], np.float32))
    np.testing.assert_allclose(found, [[0.75, 0, 1.25], [-2.25, 0, 1.25]], atol=1e-15)


def test_two_features_by_hand() -> None:
    """x0 <= 0 (half the rows) leads to x1 <= 0 (half of those): outputs 4 and 0; else 0. A row with x0 <= 0, x1 <= 0:

    nothing known 1, x0 known 2, x1 known 2 (half of 4), both 4. phi0 = ((2 - 1) + (4 - 2)) / 2 = 1.5 = phi1.
    """
    tree = make_tree([0, 1], [0.0, 0.0], [1, -1], [-2, -3], [4.0, 0.0, 0.0], [10, 20, 10])
    found = ensemble([tree], 2).contributions(np.array([[-1, -1]], np.float32))
    np.testing.assert_allclose(found, [[1.5, 1.5, 1.0]], atol=1e-15)


def random_tree(rng: np.random.Generator, splits: int, columns: int) -> Tree:
    """Leaves are split at random, so that paths differ in length and ask features again."""
    left, right = np.zeros(splits, np.int32), np.zeros(splits, np.int32)
    holes: list[tuple[NDArray[np.int32], int]] = []
    for node in range(splits):
        if holes:
            side, parent = holes.pop(rng.integers(len(holes)))
            side[parent] = node
        holes += [(left, node), (right, node)]
    for leaf, (side, parent) in enumerate(holes):
        side[parent] = ~leaf
    return make_tree(
        rng.integers(0, columns, splits).tolist(),
        rng.normal(size=splits).tolist(),
        left.tolist(),
        right.tolist(),
        rng.normal(size=splits + 1).tolist(),
        rng.integers(1, 50, splits + 1).tolist(),
    )


def test_contributions_are_shapley_values() -> None:
    rng = np.random.default_rng(11)
    for _ in range(12):
        columns = int(rng.integers(1, 6))
        tree = random_tree(rng, int(rng.integers(1, 24)), columns)
        X = rng.normal(size=(5, columns)).astype(np.float32)
        np.testing.assert_allclose(
            ensemble([tree], columns).contributions(X), [shapley(tree, x) for x in X], atol=1e-12
        )


def test_a_path_over_many_features_stays_exact() -> None:
    """A chain of 200 splits on 200 features: the polynomial is of degree 199, the terms stay well scaled."""
    splits = 200
    rng = np.random.default_rng(12)
    chain = make_tree(
        list(range(splits)),
        [0.0] * splits,
        [*range(1, splits), -1],
        [-2 - i for i in range(splits)],
        rng.normal(size=splits + 1).tolist(),
        [1] * (splits + 1),
    )
    trees = ensemble([chain], splits)
    X = np.where(rng.random((9, splits)) < 0.98, -1, 1).astype(np.float32)
    np.testing.assert_allclose(trees.contributions(X).sum(axis=1), trees.margin(X), atol=1e-12)


def test_contributions_add_up_over_trees() -> None:
    rng = np.random.default_rng(13)
    first, second = (random_tree(rng, n, 4) for n in (6, 19))
    X = rng.normal(size=(40, 4)).astype(np.float32)
    together = ensemble([first, second], 4).contributions(X)
    apart = ensemble([first], 4).contributions(X) + ensemble([second], 4).contributions(X)
    np.testing.assert_allclose(together, apart, atol=1e-13)


def test_what_no_split_asks_contributes_nothing() -> None:
    rng = np.random.default_rng(14)
    X = rng.normal(size=(70, 9)).astype(np.float32)
    assert not ensemble([random_tree(rng, 20, 5)], 9).contributions(X)[:, 5:9].any()


def test_symmetric_features_contribute_alike() -> None:
    """Swapping two features in tree and data swaps their contributions."""
    rng = np.random.default_rng(15)
    tree = random_tree(rng, 15, 2)
    swapped = make_tree(
        (1 - tree.feature).tolist(), tree.threshold.tolist(), tree.left.tolist(), tree.right.tolist(),
        tree.value.tolist(), tree.count.astype(int).tolist(),
    )  # fmt: skip
    X = rng.normal(size=(30, 2)).astype(np.float32)
    found = ensemble([swapped], 2).contributions(X[:, ::-1])
    np.testing.assert_allclose(found[:, [1, 0, 2]], ensemble([tree], 2).contributions(X), atol=1e-13)


@pytest.mark.parametrize("empty", [0, 1, 2])
def test_a_leaf_that_no_training_row_reached_keeps_the_sum(empty: int) -> None:
    counts = [0 if leaf >= 3 - empty else 10 for leaf in range(3)]
    tree = make_tree([0, 0], [0.0, -1.0], [1, -1], [-2, -3], [1.0, 2.0, 5.0], counts)
    trees = ensemble([tree], 1)
    X = np.array([[-3], [-0.5], [2]], np.float32)
    np.testing.assert_allclose(trees.contributions(X).sum(axis=1), trees.margin(X), atol=1e-12)
