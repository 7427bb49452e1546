"""Decisions at a threshold: by hand, against scikit-learn, and where they are undefined."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_score, recall_score

from ebbtide.evaluation.tally import tally
from ebbtide.evaluation.threshold import best_f1_threshold, confusion_of

Scored = Callable[..., Any]


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_equals_scikit_learn(scored: Scored, threshold: float) -> None:
    y, p = scored(300, places=1)
    found, called = confusion_of(tally(y, p), threshold), p >= threshold
    matrix = [found.true_negative[0], found.false_positive[0], found.false_negative[0], found.true_positive[0]]
    assert matrix == confusion_matrix(y, called).ravel().tolist()
    assert found.precision[0] == pytest.approx(precision_score(y, called))
    assert found.recall[0] == pytest.approx(recall_score(y, called))
    assert found.f1[0] == pytest.approx(f1_score(y, called))
    assert found.accuracy[0] == pytest.approx(accuracy_score(y, called))


def test_a_score_at_the_threshold_is_called() -> None:
    found = confusion_of(tally(np.array([1, 0]), np.array([0.5, 0.4])), 0.5)
    assert (found.true_positive[0], found.true_negative[0]) == (1, 1)


def test_nobody_called_has_no_precision_and_nobody_churned_no_recall() -> None:
    nobody_called = confusion_of(tally(np.array([1, 0]), np.array([0.5, 0.4])), 0.9)
    assert np.isnan(nobody_called.precision[0])
    assert (nobody_called.recall[0], nobody_called.f1[0]) == (0, 0)
    nobody_churned = confusion_of(tally(np.array([0, 0]), np.array([0.5, 0.4])), 0.9)
    assert np.isnan(nobody_churned.recall[0])
    assert np.isnan(nobody_churned.f1[0])
    assert nobody_churned.accuracy[0] == 1


def test_the_best_f1_threshold_is_the_best_of_all(scored: Scored) -> None:
    y, p = scored(200, places=2)
    t = tally(y, p)
    best = confusion_of(t, best_f1_threshold(t)).f1[0]
    assert best == max(confusion_of(t, s).f1[0] for s in t.score)
