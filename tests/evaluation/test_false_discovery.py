"""Benjamini-Hochberg against SciPy, and what it promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from ebbtide.evaluation.false_discovery import benjamini_hochberg


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_adjusted_p_values_equal_those_of_scipy(p: list[float]) -> None:
    assert benjamini_hochberg(p) == pytest.approx(false_discovery_control(p).tolist(), abs=1e-9)


def test_questions_without_an_answer_do_not_count() -> None:
    assert benjamini_hochberg([None, 0.02, None]) == [None, 0.02, None]
    assert benjamini_hochberg([]) == []


def test_of_the_kept_findings_few_are_false() -> None:
    """200 batches of 40 campaigns, 10 with an effect: on average at most 10 % of the findings at q = 0.1 are false."""
    rng, shares = np.random.default_rng(0), []
    for _ in range(200):
        p = np.r_[rng.beta(0.05, 1, 10), rng.random(30)]
        kept = np.array([q is not None and q <= 0.1 for q in benjamini_hochberg(p.tolist())])
        shares.append(kept[10:].sum() / max(kept.sum(), 1))
    assert np.mean(shares) <= 0.1
