"""Ranking figures against scikit-learn, by hand, and where they are undefined."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from ebbtide.evaluation.ranking import auroc, auroc_of, average_precision, gain_of, lift, lift_of
from ebbtide.evaluation.tally import tally

Scored = Callable[..., Any]


@pytest.mark.parametrize("places", [None, 2, 1])
@pytest.mark.parametrize("n", [7, 500])
def test_equals_scikit_learn_with_and_without_ties(scored: Scored, n: int, places: int | None) -> None:
    y, p = scored(n, seed=n, places=places)
    assert auroc(y, p) == pytest.approx(roc_auc_score(y, p), abs=1e-12)
    assert average_precision(y, p) == pytest.approx(average_precision_score(y, p), abs=1e-12)


def test_lift_by_hand() -> None:
    # 10 users, 4 churned. Top 20 % = 2 users. Scores .9 and then three tied at .8, of whom 2 churned:
    # hits = 1 + 1 place x 2/3 = 5/3, rate 5/6 against a base rate of .4
    y = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 1])
    p = np.array([0.9, 0.8, 0.8, 0.8, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    assert lift(y, p, share=0.2) == pytest.approx(5 / 6 / 0.4)
    assert lift(y, p, share=0.01) == pytest.approx(1 / 0.4)  # at least one user
    assert lift(y, p, share=1.0) == pytest.approx(1.0)


def test_gain_by_hand() -> None:
    # two of four churned, one at the top, one among two tied in the middle
    t = tally(np.array([1, 1, 0, 0]), np.array([0.9, 0.5, 0.5, 0.1]))
    np.testing.assert_allclose(gain_of(t, np.array([0, 0.25, 0.5, 0.75, 1])), [[0, 0.5, 0.75, 1, 1]])


@given(st.integers(0, 10_000), st.integers(2, 60), st.sampled_from([1, 2]))
def test_laws_of_a_ranking(seed: int, n: int, places: int) -> None:
    rng = np.random.default_rng(seed)
    y, p = rng.integers(0, 2, n), np.round(rng.random(n), places)
    value = auroc(y, p)
    if 0 < y.sum() < n:
        assert auroc(y, -p) == pytest.approx(1 - value)  # turned round
        assert auroc(1 - y, p) == pytest.approx(1 - value)  # other class
        assert auroc(y, np.exp(3 * p)) == pytest.approx(value)  # any rising function
        gains = gain_of(tally(y, p), np.linspace(0, 1, 11))[0]
        assert gains[0] == 0
        assert gains[-1] == pytest.approx(1)
        assert (np.diff(gains) >= -1e-12).all()


def test_a_constant_score_ranks_like_chance() -> None:
    y, p = np.array([1, 0, 0, 1]), np.full(4, 0.3)
    assert (auroc(y, p), average_precision(y, p), lift(y, p)) == (0.5, 0.5, 1.0)


@pytest.mark.parametrize("outcome", [0, 1])
def test_one_class_has_no_auroc(outcome: int) -> None:
    y, p = np.full(5, outcome), np.linspace(0, 1, 5)
    assert np.isnan(auroc(y, p))
    assert np.isnan(lift(np.zeros(5), p))
    assert np.isnan(average_precision(np.zeros(5), p))
    assert np.isnan(gain_of(tally(np.zeros(5), p), np.linspace(0, 1, 3))).all()


def test_draws_are_judged_one_by_one(scored: Scored) -> None:
    y, p = scored(60, places=1)
    from_one = tally(y, p)
    assert auroc_of(from_one).shape == lift_of(from_one, 0.1).shape == (1,)
