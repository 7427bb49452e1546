"""Shares of an opaque margin: additive, independent of company, and Shapley's where Shapley's can be computed."""

from __future__ import annotations

import numpy as np
import pytest

from ebbtide.models import attribution
from ebbtide.models.attribution import permutation_terms, reference_row
from ebbtide.models.base import Matrix, Vector
from ebbtide.models.shapley import shapley_few

NAN = np.float32("nan")


def wiggly(X: Matrix) -> Vector:
    """Smooth, with interactions of all orders; unknown counts as -1."""
    z = np.nan_to_num(X.astype(np.float64), nan=-1.0)
    return np.asarray(np.tanh(z[:, 0] + z[:, 1] * z[:, 2]) + 0.5 * np.sin(z[:, 1] - z[:, 3]) * z[:, 0])


@pytest.fixture(name="X")
def some_rows() -> Matrix:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 4)).astype(np.float32)
    X[rng.random(X.shape) < 0.2] = NAN
    return X


@pytest.fixture
def reference(X) -> np.ndarray:
    return reference_row(X)


def test_terms_add_up_to_the_margin_and_the_base_is_that_of_the_reference(X, reference):
    terms = permutation_terms(wiggly, X, reference, permutations=3)
    np.testing.assert_allclose(terms.sum(axis=1), wiggly(X), rtol=0, atol=1e-12)
    assert (terms[:, -1] == wiggly(reference[None, :])[0]).all()


def test_a_row_has_the_same_terms_alone_and_in_any_order(X, reference, monkeypatch):
    together = permutation_terms(wiggly, X, reference)
    alone = np.vstack([permutation_terms(wiggly, X[i : i + 1], reference) for i in range(len(X))])
    assert alone.tobytes() == together.tobytes()
    assert permutation_terms(wiggly, X[::-1], reference)[::-1].tobytes() == together.tobytes()
    monkeypatch.setattr(attribution, "_BLOCK_CELLS", 100)
    assert permutation_terms(wiggly, X, reference).tobytes() == together.tobytes()


def test_one_walk_and_its_reverse_are_exact_for_pairs_of_columns():
    """Every pair of columns is met in both orders, which is all that Shapley's value of a pair needs."""

    def pairs(X: Matrix) -> Vector:
        z = X.astype(np.float64)
        return np.asarray(np.exp(0.3 * z[:, 0]) + z[:, 0] * z[:, 1] - 2 * np.abs(z[:, 2] - z[:, 3]) + z[:, 1] * z[:, 3])

    rng = np.random.default_rng(1)
    X, reference = rng.normal(size=(40, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    shares, base = shapley_few(pairs, X, reference)
    terms = permutation_terms(pairs, X, reference, permutations=2, seed=8)
    np.testing.assert_allclose(terms, np.column_stack([shares, np.full(40, base)]), rtol=0, atol=1e-9)


def test_more_walks_come_nearer_to_shapleys_values(X, reference):
    exact, _ = shapley_few(wiggly, X, reference)
    error = [
        np.abs(permutation_terms(wiggly, X, reference, permutations=k)[:, :-1] - exact).mean() for k in (1, 8, 200)
    ]
    assert error[0] > 2 * error[1] > 2 * error[2]
    assert error[2] < 0.01


def test_a_margin_of_single_columns_gives_each_its_own_effect():
    X = np.array([[1.0, -2.0, 5.0], [0.0, 4.0, 1.0]], np.float32)
    terms = permutation_terms(lambda X: X.astype(np.float64) @ [2.0, 1.0, 0.0] + 3.0, X, np.zeros(3, np.float32))
    np.testing.assert_allclose(terms, [[2, -2, 0, 3], [0, 4, 0, 3]], atol=1e-12)


def test_columns_that_do_not_differ_or_are_not_active_cost_nothing(X, reference):
    seen = []

    def counting(X: Matrix) -> Vector:
        seen.append(len(X))
        return wiggly(np.column_stack([X[:, :3], np.zeros(len(X), np.float32)]))

    X[:, 1] = reference[1]
    full = permutation_terms(counting, X, reference, permutations=2)
    evaluated = sum(seen)
    differs = ~((reference == X) | (np.isnan(X) & np.isnan(reference)))
    assert evaluated == 1 + 2 * differs.sum()
    assert (full[:, 1] == 0).all()
    seen.clear()
    part = permutation_terms(counting, X, reference, permutations=2, active=np.array([True, True, True, False]))
    assert sum(seen) == 1 + 2 * differs[:, :3].sum()
    np.testing.assert_allclose(part.sum(axis=1), full.sum(axis=1), atol=1e-12)
    assert (part[:, 3] == 0).all()


def test_unknown_is_a_value_like_another(X):
    """A row that is as unknown as the reference does not differ from it."""
    reference = np.full(4, NAN)
    terms = permutation_terms(wiggly, np.full((2, 4), NAN), reference)
    assert (terms[:, :-1] == 0).all()
    some = permutation_terms(wiggly, np.array([[2.0, NAN, NAN, NAN]], np.float32), reference)
    assert some[0, 0] != 0
    assert (some[0, 1:-1] == 0).all()


def test_nobody_and_no_columns(reference):
    assert permutation_terms(wiggly, np.zeros((0, 4), np.float32), reference).shape == (0, 5)
    none = permutation_terms(lambda X: np.full(len(X), 0.5), np.zeros((3, 0), np.float32), np.zeros(0, np.float32))
    assert none.tolist() == [[0.5]] * 3


def test_the_reference_is_a_user_that_could_exist():
    X = np.array([[0, 1, NAN], [0, 4, NAN], [3, 2, 7], [9, 3, NAN]], np.float32)
    np.testing.assert_array_equal(reference_row(X), np.array([0, 2, NAN], np.float32))
    assert np.isnan(reference_row(X[:0])).all()


def test_the_reference_of_many_rows_looks_at_an_even_sample(monkeypatch):
    monkeypatch.setattr(attribution, "_SAMPLE_ROWS", 50)
    X = np.arange(1000, dtype=np.float32)[:, None]
    assert abs(reference_row(X)[0] - 500) <= 20
