"""Recall and NDCG of lists, against hand arithmetic and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from ebbtide.core.errors import InputError
from ebbtide.evaluation.recommendation import mean_estimate, ndcg_at, recall_at

SHOWN = np.array([[4, 2, 9, -1], [1, 2, 3, 4], [5, 6, 7, 8]])
START, WANTED = np.array([0, 3, 3, 4]), np.array([2, 4, 5, 8])
"""User 0 wanted 2, 4, 5; user 1 nothing; user 2 wanted 8."""


def test_recall_by_hand() -> None:
    assert recall_at(SHOWN, START, WANTED, 1).tolist()[::2] == [1 / 3, 0.0]
    assert recall_at(SHOWN, START, WANTED, 4).tolist()[::2] == [2 / 3, 1.0]
    assert np.isnan(recall_at(SHOWN, START, WANTED, 4)[1])


def test_ndcg_by_hand() -> None:
    """User 0: hits at places 1 and 2 of at best three; user 2: one hit at place 4 of at best one."""
    found = ndcg_at(SHOWN, START, WANTED, 4)
    best = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert found[0] == pytest.approx((1 + 1 / np.log2(3)) / best)
    assert found[2] == pytest.approx(1 / np.log2(5))
    assert np.isnan(found[1])


@given(st.lists(st.booleans(), min_size=12, max_size=12).filter(any), st.integers(1, 10))
def test_ndcg_is_that_of_scikit_learn(relevant: list[bool], k: int) -> None:
    """Where all 12 items are ranked, so that scikit-learn's ideal is the same."""
    shown, wanted = np.arange(12)[None, :], np.flatnonzero(relevant)
    ours = ndcg_at(shown, np.array([0, len(wanted)]), wanted, k)[0]
    theirs = ndcg_score(np.array([relevant], float), -np.arange(12.0)[None, :], k=k)
    assert ours == pytest.approx(theirs)


def test_a_hole_in_a_list_is_no_hit() -> None:
    """-1 stands for nothing, and must not be taken for an item."""
    assert recall_at(np.array([[-1, -1]]), np.array([0, 1]), np.array([0])).tolist() == [0.0]


def test_lists_and_wants_of_different_users_are_refused() -> None:
    with pytest.raises(InputError, match="different users"):
        recall_at(SHOWN, START[:-1], WANTED)


def test_users_without_wants_count_in_no_mean() -> None:
    found = mean_estimate(np.array([0.0, 1.0, np.nan]))
    assert found.value == 0.5
    assert mean_estimate(np.array([np.nan])).value is None


def test_a_paired_difference_of_equal_lists_is_surely_zero() -> None:
    recall = recall_at(SHOWN, START, WANTED)
    assert mean_estimate(recall - recall).to_json() == {"value": 0.0, "low": 0.0, "high": 0.0}
