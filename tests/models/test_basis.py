"""The scale of the columns: the terms are the linear model, and odd values stay harmless."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ebbtide.models.basis import Basis, Terms, signed_log


def columns(count=400, seed=0):
    """Skewed, signed, mostly missing, constant, never known."""
    rng = np.random.default_rng(seed)
    rare = np.where(rng.random(count) < 0.9, np.nan, rng.random(count))
    parts = [np.exp(rng.normal(2, 2, count)), rng.normal(0, 50, count), rare, np.full(count, 3), np.full(count, np.nan)]
    return np.column_stack(parts).astype(np.float32)


@pytest.mark.parametrize("knots", [0, 3])
def test_terms_equal_design_times_coefficients(knots):
    X = columns()
    basis = Basis.fit(X, knots)
    design = basis.design(X)
    coefficients = np.random.default_rng(1).normal(size=design.shape[1])
    terms = basis.terms(coefficients, 0.7)
    np.testing.assert_allclose(terms.margin(X), design @ coefficients + 0.7, atol=1e-4)  # the design is in 32 bits
    np.testing.assert_allclose(terms.contributions(X).sum(axis=1), terms.margin(X), atol=1e-10)


@pytest.mark.parametrize("knots", [0, 2])
def test_every_regressor_knows_its_column(knots):
    """A change in one column moves its own regressors and no other."""
    X = columns()
    basis = Basis.fit(X, knots)
    owners = basis.owners()
    assert owners.shape == (basis.regressors,)
    for j in range(X.shape[1]):
        changed = X.copy()
        changed[:, j] = np.where(np.isnan(X[:, j]), 1.0, np.nan)
        moved = (basis.design(changed) != basis.design(X)).any(axis=0)
        assert moved.any() == (j < 3)
        assert set(np.flatnonzero(moved)) == set(np.flatnonzero(owners == j))


def test_regressors_are_standardised_and_constant_ones_are_left_out():
    """Three columns vary, one of them is sometimes missing; two are constant: 3 lines, 1 gap, 3 x 2 hinges."""
    X = columns()
    basis = Basis.fit(X, 2)
    design = basis.design(X)
    assert design.shape == (len(X), basis.regressors) == (len(X), 3 + 1 + 6)
    np.testing.assert_allclose(design.mean(axis=0), 0.0, atol=1e-5)
    known = ~np.isnan(X)
    for j in (0, 1, 2):
        assert design[known[:, j], j].std() == pytest.approx(1.0, abs=1e-4)


def test_a_missing_value_has_an_effect_of_its_own():
    X = columns()
    basis = Basis.fit(X)
    gap_only = np.array([0.0, 0.0, 0.0, 1.0])  # the only gap is the third column's
    terms = basis.terms(gap_only, 0.0).contributions(X)[:, 2]
    assert terms[np.isnan(X[:, 2])].min() > terms[~np.isnan(X[:, 2])].max()


def test_values_outside_the_training_range_count_as_its_edge():
    X = columns()
    terms = Basis.fit(X, 1).terms(np.ones(7), 0.0)
    far = np.array([[3e38, -3e38, np.inf, -np.inf, 5.0], [1e9, -1e9, 1e9, -1e9, np.nan]], np.float32)
    contributions = terms.contributions(far)
    assert np.isfinite(contributions).all()
    np.testing.assert_array_equal(contributions[0, :3], contributions[1, :3])


def test_centred_terms_have_mean_zero_and_leave_the_margin():
    X = columns()
    terms = Basis.fit(X, 1).terms(np.random.default_rng(2).normal(size=7), 0.3)
    centred = terms.centred(X)
    np.testing.assert_allclose(centred.contributions(X)[:, :-1].mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(centred.margin(X), terms.margin(X), atol=1e-10)
    assert centred.base == pytest.approx(terms.margin(X).mean())


def test_the_scale_does_not_depend_on_row_order():
    X = columns()
    ours, turned = Basis.fit(X, 2), Basis.fit(X[::-1], 2)
    np.testing.assert_allclose(ours.mean, turned.mean, atol=1e-12)
    np.testing.assert_array_equal(ours.knots, turned.knots)


def test_json_round_trip_keeps_every_bit():
    X = columns()
    for knots in (0, 2):
        basis = Basis.fit(X, knots)
        terms = basis.terms(np.random.default_rng(3).normal(size=basis.regressors), 0.1)
        again = Terms.from_json(json.loads(json.dumps(terms.to_json())))
        np.testing.assert_array_equal(again.contributions(X), terms.contributions(X))


def test_signed_log_is_odd_and_keeps_unknowns():
    v = np.array([0.5, 1e9, np.nan], np.float32)
    np.testing.assert_array_equal(signed_log(v), -signed_log(-v))
