"""The difference between two arms: hand arithmetic, tea-tasting, and laws of the adjustment."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbtide.evaluation.effects import (
    adjusted_difference,
    adjusted_outcome,
    difference,
    explained_share,
    ratio_difference,
    unit_differences,
)


def _campaign(n: int = 2000, *, seed: int = 0, effect: float = 0.3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, treated = rng.normal(size=n), rng.random(n) < 0.7
    y = 1.5 * x + rng.normal(size=n) + effect * treated
    return y, treated, x


def test_difference_by_hand() -> None:
    """Means 4 and 1, variances 4 and 1 over 3 users each: error sqrt(5/3), 2.94 degrees of freedom."""
    effect = difference(np.array([2.0, 4, 6, 0, 1, 2]), np.array([1, 1, 1, 0, 0, 0], bool))
    assert effect.value == 3.0
    assert effect.standard_error == pytest.approx((5 / 3) ** 0.5)
    assert (effect.treated, effect.control, effect.treated_mean, effect.control_mean) == (3, 3, 4.0, 1.0)


@pytest.mark.parametrize("seed", range(3))
def test_plain_and_adjusted_figures_equal_those_of_tea_tasting(seed: int) -> None:
    tea = pytest.importorskip("tea_tasting", reason="tea-tasting is not installed")
    y, treated, x = _campaign(seed=seed)
    data = pl.DataFrame({"variant": treated.astype(int), "y": y, "x": x})
    metrics = {"plain": tea.Mean("y"), "cuped": tea.Mean("y", "x")}
    told = tea.Experiment(metrics).analyze(data)
    for name, ours in (("plain", difference(y, treated)), ("cuped", adjusted_difference(y, treated, x))):
        theirs = told[name]
        figures = (theirs.effect_size, theirs.effect_size_ci_lower, theirs.effect_size_ci_upper, theirs.pvalue)
        assert (ours.value, ours.low, ours.high, ours.p_value) == pytest.approx(figures, rel=1e-9)


def test_adjustment_keeps_the_effect_and_narrows_the_interval() -> None:
    y, treated, x = _campaign(seed=5)
    plain, adjusted = difference(y, treated), adjusted_difference(y, treated, x)
    assert plain.width is not None
    assert adjusted.width is not None
    assert adjusted.explained == pytest.approx(1.5**2 / (1.5**2 + 1), abs=0.03)
    assert adjusted.width / plain.width == pytest.approx((1 - adjusted.explained) ** 0.5, abs=0.03)
    assert (adjusted.low or 0) < 0.3 < (adjusted.high or 0)


def test_a_covariate_that_says_nothing_changes_nothing() -> None:
    y, treated, _ = _campaign()
    constant = adjusted_difference(y, treated, np.full(len(y), 3.0))
    unknown = adjusted_difference(y, treated, np.full(len(y), np.nan))
    plain = difference(y, treated)
    for effect in (constant, unknown):
        assert (effect.value, effect.low, effect.high) == pytest.approx((plain.value, plain.low, plain.high))


def test_a_covariate_given_twice_counts_once() -> None:
    y, treated, x = _campaign()
    once, twice = adjusted_difference(y, treated, x), adjusted_difference(y, treated, np.column_stack([x, 2 * x + 1]))
    assert (once.value, once.low) == pytest.approx((twice.value, twice.low))


def test_missing_covariates_count_as_their_mean() -> None:
    y, treated, x = _campaign()
    holes = np.where(np.arange(len(x)) % 5 == 0, np.nan, x)
    filled = np.where(np.isnan(holes), np.nanmean(holes), holes)
    assert adjusted_difference(y, treated, holes).value == pytest.approx(adjusted_difference(y, treated, filled).value)


def test_an_arm_of_one_user_has_no_interval_and_still_its_mean() -> None:
    effect = difference(np.array([1.0, 0.0, 1.0]), np.array([True, False, False]))
    assert (effect.value, effect.low, effect.p_value, effect.treated_mean) == (None, None, None, 1.0)
    assert effect.sign == 0


def test_where_nothing_varies_the_interval_is_a_point() -> None:
    effect = difference(np.ones(6), np.array([1, 1, 1, 0, 0, 0], bool))
    assert (effect.value, effect.low, effect.high, effect.p_value) == (0.0, 0.0, 0.0, 1.0)


@given(st.integers(0, 10_000), st.floats(0.01, 100), st.floats(-50, 50))
def test_the_unit_of_the_outcome_scales_the_effect(seed: int, factor: float, shift: float) -> None:
    y, treated, x = _campaign(60, seed=seed)
    one, other = adjusted_difference(y, treated, x), adjusted_difference(shift + factor * y, treated, x)
    told, wanted = (other.value, other.low, other.p_value), one.scaled(factor)
    assert told == pytest.approx((wanted.value, wanted.low, one.p_value), rel=1e-6, abs=1e-6)


def test_unit_differences_have_the_error_of_the_difference() -> None:
    y, treated, _ = _campaign()
    value, spread = unit_differences(y, treated)
    plain = difference(y, treated)
    assert (value, spread / len(y) ** 0.5) == pytest.approx((plain.value, plain.standard_error), rel=1e-9)


def test_unit_differences_of_an_empty_arm_are_undefined() -> None:
    assert np.isnan(unit_differences(np.ones(3), np.ones(3, bool))).all()


def test_the_adjusted_outcome_keeps_its_mean_and_loses_what_is_explained() -> None:
    y, _, x = _campaign()
    rest = adjusted_outcome(y, x)
    assert rest.mean() == pytest.approx(y.mean())
    assert explained_share(y, x) == pytest.approx(np.corrcoef(y, x)[0, 1] ** 2)
    assert explained_share(rest, x) == pytest.approx(0.0, abs=1e-9)


def test_adjusted_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """300 binary campaigns of 600 users: 95 % +- three standard errors of the share."""
    rng, hits = np.random.default_rng(1), 0
    for _ in range(300):
        risk, treated = rng.beta(1.2, 2.5, 600), rng.random(600) < 0.8
        stayed = rng.random(600) < np.clip(1 - risk + 0.05 * treated, 0, 1)
        truth = float(np.mean(np.clip(1 - risk + 0.05, 0, 1) - (1 - risk)))
        effect = adjusted_difference(stayed, treated, risk)
        hits += (effect.low or 0) <= truth <= (effect.high or 0)
    assert 0.912 <= hits / 300 <= 0.988


def test_ratio_differences_equal_those_of_tea_tasting() -> None:
    tea = pytest.importorskip("tea_tasting", reason="tea-tasting is not installed")
    rng, treated = np.random.default_rng(4), np.arange(800) < 600
    gross = rng.exponential(50, 800) * (rng.random(800) < 0.4)
    discount = gross * np.clip(0.1 + 0.05 * treated + 0.05 * rng.normal(size=800), 0, 1)
    data = pl.DataFrame({"variant": treated.astype(int), "discount": discount, "gross": gross})
    theirs = tea.Experiment({"share": tea.RatioOfMeans("discount", "gross")}).analyze(data)["share"]
    ours = ratio_difference(discount, gross, treated)
    assert (ours.value, ours.p_value) == pytest.approx((theirs.effect_size, theirs.pvalue), rel=0.01)
    assert (ours.low, ours.high) == pytest.approx((theirs.effect_size_ci_lower, theirs.effect_size_ci_upper), rel=0.01)


def test_a_ratio_of_nothing_is_undefined() -> None:
    assert ratio_difference(np.zeros(4), np.zeros(4), np.array([1, 1, 0, 0], bool)).value is None
