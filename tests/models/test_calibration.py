"""Affine calibration: lines are found, reasons keep adding up, and only a shift that lasts is carried on."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ebbtide.core.errors import DataError
from ebbtide.models.base import sigmoid
from ebbtide.models.calibration import AffineCalibration, ClosedMoment, calibrate, fitting_shift, lasting_shift

DAY_US = 86_400_000_000


def outcomes(slope, intercept, users=4000, seed=0):
    """Margins, and labels that follow sigmoid(slope * margin + intercept)."""
    rng = np.random.default_rng(seed)
    margin = rng.normal(0.5, 1.5, users)
    return margin, (rng.random(users) < sigmoid(slope * margin + intercept)).astype(float)


def history(shifts, error=0.05, step_days=30):
    """Closed moments `step_days` apart with these shifts."""
    return [ClosedMoment(int(k * step_days * DAY_US), 1000, 0.5, 0.5, float(v), error) for k, v in enumerate(shifts)]


# --- the line ------------------------------------------------------------------------------------------------------


def test_without_prior_it_is_logistic_regression():
    margin, y = outcomes(0.6, -0.8)
    ours = AffineCalibration.fit(margin, y, slope_spread=np.inf)
    theirs = LogisticRegression(C=np.inf, tol=1e-10).fit(margin[:, None], y)
    assert ours.slope == pytest.approx(theirs.coef_[0, 0], rel=1e-4)
    assert ours.intercept == pytest.approx(theirs.intercept_[0], abs=2e-3)  # ours has a prior of spread 3


def test_the_slope_is_never_negative_even_for_a_model_that_ranks_backwards():
    margin, y = outcomes(-1.0, 0.0)
    fit = AffineCalibration.fit(margin, y)
    assert 0 < fit.slope < 0.2
    assert sigmoid(fit.apply(margin)).mean() == pytest.approx(y.mean(), abs=1e-2)


def test_a_handful_of_rows_hardly_moves_the_slope():
    fit = AffineCalibration.fit(np.array([3.0, -3.0, 2.0, -2.0]), np.array([1.0, 0.0, 1.0, 0.0]))
    assert 1.0 < fit.slope < 2.0


def test_a_weight_counts_like_that_many_rows():
    margin, y = outcomes(0.6, -0.8, users=300)
    doubled = AffineCalibration.fit(np.r_[margin, margin], np.r_[y, y])
    weighted = AffineCalibration.fit(margin, y, np.full(300, 2.0))
    assert weighted.slope == pytest.approx(doubled.slope, rel=1e-6)


def test_constant_margins_give_the_base_rate():
    y = np.r_[np.ones(30), np.zeros(70)]
    fit = AffineCalibration.fit(np.full(100, 0.4), y)
    assert sigmoid(fit.apply(np.array([0.4])))[0] == pytest.approx(0.3, abs=0.01)


def test_calibrated_contributions_still_add_up():
    rng = np.random.default_rng(0)
    terms = rng.normal(size=(50, 6))
    line = AffineCalibration(0.7, -0.2)
    calibrated = line.apply_to_contributions(terms)
    np.testing.assert_allclose(calibrated.sum(axis=1), line.apply(terms.sum(axis=1)), atol=1e-12)
    assert line.shifted(0.5) == AffineCalibration(0.7, 0.3)


def test_one_class_is_refused_with_both_counts():
    with pytest.raises(DataError, match="found 0 churned of 20"):
        AffineCalibration.fit(np.zeros(20), np.zeros(20))


def test_json_round_trip_keeps_every_bit():
    line = AffineCalibration(1 / 3, -2 / 7)
    assert AffineCalibration.from_json(json.loads(json.dumps(line.to_json()))) == line


# --- the shift of the future ---------------------------------------------------------------------------------------


def test_without_history_there_is_no_shift():
    assert lasting_shift([]) == 0.0


def test_a_shift_is_carried_on_as_far_as_it_has_lasted():
    """One moment of .4 says little, four a third, very many all of it; never more than it was."""
    carried = [lasting_shift(history([0.4] * count, error=0.001)) for count in (1, 4, 40, 4000)]
    assert carried == sorted(carried)
    assert carried == pytest.approx([0.4 / 9, 0.4 / 3, 0.4 * 40 / 48, 0.4], rel=2e-3)


def test_shifts_that_jump_about_are_not_followed():
    assert abs(lasting_shift(history([0.2, -0.3, 0.1, -0.2, 0.25, -0.1, 0.3]))) < 0.03


def test_a_moment_is_believed_by_its_precision():
    sure, unsure = (lasting_shift(history([0.5], error=e)) for e in (0.02, 2.0))
    assert 0 < unsure < 0.05 * sure


def test_the_order_of_the_history_does_not_matter():
    moments = history([0.1, 0.5, -0.2, 0.3])
    assert lasting_shift(moments[::-1]) == pytest.approx(lasting_shift(moments), abs=1e-15)


# --- the anchor ----------------------------------------------------------------------------------------------------


def test_the_fitting_shift_gives_the_mean_of_the_outcomes():
    margin, y = outcomes(1.0, -0.7)
    shift = fitting_shift(margin, y)
    assert shift == pytest.approx(-0.7, abs=0.1)
    assert sigmoid(margin + shift).mean() == pytest.approx(y.mean(), abs=1e-4)


def test_the_fitting_shift_undoes_any_other_shift():
    """Whatever was added to all margins is taken away again; the far margins of sure models do no harm."""
    margin, y = outcomes(3.0, 0.0)
    for added in (-12.0, 0.3, 15.0):
        assert added + fitting_shift(margin + added, y) == pytest.approx(fitting_shift(margin, y), abs=0.02)


def test_the_fitting_shift_of_one_class_or_of_nobody_is_finite():
    assert 0 < fitting_shift(np.zeros(50), np.ones(50)) < 10
    assert fitting_shift(np.zeros(0), np.zeros(0)) == 0.0


# --- the slope -----------------------------------------------------------------------------------------------------


def test_the_slope_leaves_the_mean_margin_where_it_is():
    """An overconfident model of a shop with few churners: halving its margins must not halve the log base rate."""
    rng = np.random.default_rng(0)
    truth = rng.normal(-2.5, 0.5, 20_000)
    y = (rng.random(20_000) < sigmoid(truth)).astype(float)
    overconfident = -2.5 + 2 * (truth + 2.5)
    line, _ = calibrate(overconfident, y, np.zeros(20_000, np.int64))
    assert line.slope == pytest.approx(0.5, abs=0.05)
    assert line.apply(np.array([-2.5]))[0] == pytest.approx(-2.5, abs=0.05)


# --- both ----------------------------------------------------------------------------------------------------------


def test_a_moving_base_rate_does_not_bend_the_slope():
    """Intercepts move by +-1 between moments; the common slope is still found, and each moment reports its own."""
    planted = [-1.0, 1.0, -0.5, 0.5]  # intercepts; shifts are counted from the line through the mean margin
    parts = [outcomes(0.8, c, users=3000, seed=k) for k, c in enumerate(planted)]
    margin, y = np.concatenate([m for m, _ in parts]), np.concatenate([y for _, y in parts])
    as_of = np.repeat(np.arange(4) * 30 * DAY_US, 3000)
    line, moments = calibrate(margin, y, as_of)
    assert line.slope == pytest.approx(0.8, abs=0.05)
    about = (1 - line.slope) * margin.mean()
    for moment, intercept, (_, labels) in zip(moments, planted, parts, strict=True):
        assert abs(moment.shift + about - intercept) < 4 * moment.error + 0.03
        assert moment.base_rate == pytest.approx(labels.mean())
        assert moment.users == 3000


def test_a_moment_with_one_class_does_no_harm():
    margin, y = outcomes(0.8, 0.0, users=300)
    as_of = np.zeros(300, np.int64)
    as_of[y == 1][:5] = 30 * DAY_US
    last = np.flatnonzero(y == 1)[:5]
    as_of[last] = 30 * DAY_US
    line, moments = calibrate(margin, y, as_of)
    assert moments[1].base_rate == 1.0
    assert abs(line.intercept) < 1.0
