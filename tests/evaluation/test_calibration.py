"""Calibration figures against scikit-learn, by hand, and invariant to row order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from ebbtide.core.errors import InputError
from ebbtide.evaluation.calibration import brier, calibration_curve, ece, log_loss

Scored = Callable[..., Any]


def test_log_loss_and_brier_equal_scikit_learn(scored: Scored) -> None:
    y, p = scored(500, places=2)
    assert brier(y, p) == pytest.approx(brier_score_loss(y, p), abs=1e-12)
    assert log_loss(y, p) == pytest.approx(sklearn_log_loss(y, np.clip(p, 1e-6, 1 - 1e-6)), abs=1e-12)


def test_certain_and_wrong_costs_much_but_not_infinitely() -> None:
    assert log_loss(np.array([1]), np.array([0.0])) == pytest.approx(-np.log(1e-6))


@pytest.mark.parametrize("n", [10, 23, 500])
def test_ece_equals_equal_count_bins_where_nothing_ties(scored: Scored, n: int) -> None:
    y, p = scored(n, seed=n)
    parts = np.array_split(np.argsort(p), 10)
    expected = sum(len(i) * abs(y[i].mean() - p[i].mean()) for i in parts) / n
    assert ece(y, p) == pytest.approx(expected, abs=1e-12)


def test_ties_share_their_outcome_so_row_order_does_not_matter(scored: Scored) -> None:
    y, p = scored(101, places=1)
    mixed = np.random.default_rng(1).permutation(101)
    assert ece(y[mixed], p[mixed]) == pytest.approx(ece(y, p), abs=1e-12)
    assert calibration_curve(y[mixed], p[mixed]) == calibration_curve(y, p)


def test_ece_of_a_constant_is_its_distance_from_the_base_rate() -> None:
    y = np.array([1, 0, 0, 0])
    assert ece(y, np.full(4, 0.25)) == pytest.approx(0)
    assert ece(y, np.full(4, 0.35)) == pytest.approx(0.1)


def test_ece_by_hand() -> None:
    # bins of two: (.1, .2) one of two churned: |.5 - .15| = .35; (.6, .9) both: |1 - .75| = .25; mean .3
    assert ece(np.array([0, 1, 1, 1]), np.array([0.1, 0.2, 0.6, 0.9]), bins=2) == pytest.approx(0.3)


def test_the_curve_covers_everybody_once(scored: Scored) -> None:
    y, p = scored(103, places=2)
    bins = calibration_curve(y, p)
    assert len(bins) == 10
    assert sum(b.users for b in bins) == pytest.approx(103)
    assert sum(b.users * b.churn_rate for b in bins) == pytest.approx(y.sum())
    assert sum(b.users * b.probability for b in bins) == pytest.approx(p.sum())
    assert all(b.low <= b.churn_rate <= b.high for b in bins)
    assert [b.probability for b in bins] == sorted(b.probability for b in bins)
    distance = sum(b.users * abs(b.churn_rate - b.probability) for b in bins) / 103
    assert distance == pytest.approx(ece(y, p), abs=1e-12)


def test_fewer_users_than_bins_leave_no_empty_bin() -> None:
    bins = calibration_curve(np.array([1, 0, 1]), np.array([0.9, 0.1, 0.5]))
    assert [(b.users, b.churn_rate) for b in bins] == [(1, 0), (1, 1), (1, 1)]


def test_scores_that_are_no_probabilities_are_refused() -> None:
    for figure in (log_loss, brier, ece, calibration_curve):
        with pytest.raises(InputError, match="between 0 and 1"):
            figure(np.array([1, 0]), np.array([1.2, 0.5]))
