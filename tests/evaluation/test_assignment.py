"""Tests of randomness keep their promised error rate and see what is not random."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare, mannwhitneyu

from ebbtide.core.errors import InputError
from ebbtide.evaluation.assignment import separation, srm_p_value


@pytest.mark.parametrize("counts", [[50, 50], [21307, 21387, 21306], [44700, 45489], [3, 9]])
def test_srm_is_the_chi_square_test_of_scipy(counts: list[int]) -> None:
    assert srm_p_value(counts, [1] * len(counts)) == pytest.approx(chisquare(counts).pvalue)


def test_planned_shares_have_no_unit() -> None:
    assert srm_p_value([90, 10], [9, 1]) == srm_p_value([90, 10], [0.9, 0.1]) == 1.0


def test_srm_of_one_arm_or_nobody_is_no_surprise() -> None:
    assert srm_p_value([10], [1]) == srm_p_value([0, 0], [1, 1]) == 1.0


def test_wrong_plans_are_refused() -> None:
    with pytest.raises(InputError, match="2 counts and 1 shares"):
        srm_p_value([1, 2], [1])
    with pytest.raises(InputError, match="above 0"):
        srm_p_value([1, 2], [1, 0])


def test_separation_within_one_fold_is_the_mann_whitney_test() -> None:
    rng = np.random.default_rng(0)
    treated, score = rng.integers(0, 2, 200), np.round(rng.random(200), 1)
    oracle = mannwhitneyu(
        score[treated == 1], score[treated == 0], alternative="greater", method="asymptotic", use_continuity=False
    )
    area, p_value = separation(treated, score, np.zeros(200))
    assert p_value == pytest.approx(oracle.pvalue)
    assert area == pytest.approx(oracle.statistic / (treated.sum() * (1 - treated).sum()))


def test_levels_that_differ_between_folds_say_nothing() -> None:
    """Classifiers of different folds need not share a scale: only ranks within a fold count."""
    rng = np.random.default_rng(1)
    treated, score, fold = rng.integers(0, 2, 400), rng.random(400), np.arange(400) % 4
    assert separation(treated, score + 10 * fold, fold) == separation(treated, score, fold)


def test_p_values_of_random_scores_are_uniform() -> None:
    rng = np.random.default_rng(2)
    found = [separation(rng.integers(0, 2, 100), rng.random(100), np.arange(100) % 5)[1] for _ in range(400)]
    assert abs(np.mean(np.array(found) < 0.1) - 0.1) < 0.05


def test_one_arm_cannot_be_separated() -> None:
    assert separation(np.ones(5), np.arange(5), np.zeros(5)) == (0.5, 1.0)
