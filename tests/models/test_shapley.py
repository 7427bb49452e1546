"""Shapley values over few columns: the four axioms on functions small enough to check by hand."""

from __future__ import annotations

import numpy as np

from ebbtide.models.shapley import shapley_few

REFERENCE = np.array([1.0, 0.0, 2.0])
USERS = np.array([[3.0, -1.0, 2.0], [0.0, 5.0, 7.0]])


def test_a_sum_gives_every_column_its_own_term():
    shares, base = shapley_few(lambda c: c @ np.array([1.0, 10.0, 100.0]), USERS, REFERENCE)
    assert base == 201.0
    np.testing.assert_allclose(shares, [[2.0, -10.0, 0.0], [-1.0, 50.0, 500.0]])


def test_shares_add_up_to_the_distance_from_the_reference():
    def function(c):
        return np.sin(c[:, 0]) * c[:, 1] + c[:, 2] ** 2 * c[:, 0]

    shares, base = shapley_few(function, USERS, REFERENCE)
    np.testing.assert_allclose(base + shares.sum(axis=1), function(USERS), atol=1e-12)


def test_equal_columns_share_equally_and_an_unused_one_gets_nothing():
    shares, _ = shapley_few(lambda c: c[:, 0] * c[:, 1], np.array([[2.0, 2.0, 9.0]]), np.zeros(3))
    np.testing.assert_allclose(shares, [[2.0, 2.0, 0.0]])


def test_three_way_product_by_hand():
    """From 0: only the last of the three to arrive brings the whole 24, and each is last in a third of all orders."""
    shares, _ = shapley_few(lambda c: c.prod(axis=1), np.array([[2.0, 3.0, 4.0]]), np.zeros(3))
    np.testing.assert_allclose(shares, [[8.0, 8.0, 8.0]])
