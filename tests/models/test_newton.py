"""The climber: peaks, walls, saddles, and functions that stop being finite."""

from __future__ import annotations

import numpy as np
import pytest

from ebbtide.models.newton import maximise

WIDE = np.full(2, 50.0)


def hill(peak, curvature):
    """A quadratic with its top at `peak`."""

    def function(p):
        away = p - peak
        return -0.5 * float(away @ curvature @ away), -curvature @ away, -curvature

    return function


def test_a_quadratic_is_climbed_to_its_top_whatever_its_shape():
    curvature = np.array([[1e4, 9.0], [9.0, 1e-2]])
    found = maximise(hill(np.array([3.0, -20.0]), curvature), np.zeros(2), -WIDE, WIDE)
    assert found.converged
    np.testing.assert_allclose(found.point, [3.0, -20.0], rtol=1e-4)


def test_a_top_outside_the_box_ends_on_the_wall_at_the_best_point_of_it():
    # With p0 held at 1: -(p0-3)^2/2 - (p1-p0)^2/2 is best at p1 = 1.
    def function(p):
        gradient = np.array([-(p[0] - 3) + (p[1] - p[0]), -(p[1] - p[0])])
        value = -0.5 * (p[0] - 3) ** 2 - 0.5 * (p[1] - p[0]) ** 2
        return float(value), gradient, np.array([[-2.0, 1.0], [1.0, -1.0]])

    found = maximise(function, np.array([-5.0, -5.0]), -WIDE, np.array([1.0, 50.0]))
    assert found.converged
    assert found.on_wall.tolist() == [True, False]
    np.testing.assert_allclose(found.point, [1.0, 1.0], atol=1e-6)


def test_a_saddle_is_left():
    """f = x^2 - x^4/4 - y^2 has a saddle at 0 and tops at x = +-sqrt(2)."""

    def function(p):
        x, y = p
        hessian = np.array([[2 - 3 * x**2, 0.0], [0.0, -2.0]])
        return float(x**2 - x**4 / 4 - y**2), np.array([2 * x - x**3, -2 * y]), hessian

    found = maximise(function, np.array([1e-3, 1.0]), -WIDE, WIDE)
    np.testing.assert_allclose(np.abs(found.point), [np.sqrt(2), 0.0], atol=1e-5)


def test_a_function_that_stops_being_finite_is_not_stepped_into():
    def function(p):
        if p[0] > 2:
            return np.nan, np.full(2, np.nan), np.full((2, 2), np.nan)
        return hill(np.array([1.9, 0.0]), np.diag([1e-3, 1.0]))(p)

    found = maximise(function, np.array([-10.0, 3.0]), -WIDE, WIDE)
    assert found.point[0] == pytest.approx(1.9, abs=1e-3)


def test_standard_errors_are_those_of_the_inverse_information_and_unknown_on_a_wall():
    curvature = np.array([[4.0, 1.0], [1.0, 2.0]])
    inside = maximise(hill(np.zeros(2), curvature), np.ones(2), -WIDE, WIDE)
    np.testing.assert_allclose(inside.spread(-curvature), np.sqrt(np.diag(np.linalg.inv(curvature))))
    walled = maximise(hill(np.array([9.0, 0.0]), np.eye(2)), np.zeros(2), -WIDE, np.array([1.0, 50.0]))
    assert np.isnan(walled.spread(walled.hessian)[0])
    assert walled.spread(walled.hessian)[1] == pytest.approx(1.0)
    assert "first runs to its limit" in walled.describe(("first", "second")).en
