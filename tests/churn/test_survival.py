"""Kaplan-Meier curves against a published example and against plain shares."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ebbtide.churn.spells import Spells, no_spells
from ebbtide.churn.survival import returning_share, survival_curve


def spells(ended: list[int], open_: list[int]) -> Spells:
    size = max([*ended, *open_]) + 1
    return Spells(np.bincount(ended, minlength=size), np.bincount(open_, minlength=size))


def test_published_remission_times_of_6_mp() -> None:
    """Freireich et al. 1963, the 21 treated patients; shares and log-log bounds as printed in textbooks."""
    curve = survival_curve(spells([6, 6, 6, 7, 10, 13, 16, 22, 23], [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]))
    assert curve.days == (6, 7, 10, 13, 16, 22, 23)
    assert curve.at_risk == (21, 17, 15, 12, 11, 7, 6)
    assert curve.share == pytest.approx([0.8571, 0.8067, 0.7529, 0.6902, 0.6275, 0.5378, 0.4482], abs=5e-5)
    assert curve.low == pytest.approx([0.6197, 0.5631, 0.5032, 0.4316, 0.3675, 0.2678, 0.1881], abs=5e-5)
    assert curve.high == pytest.approx([0.9516, 0.9228, 0.8894, 0.8491, 0.8049, 0.7468, 0.6801], abs=5e-5)
    assert curve.median_days == 23
    assert (curve.at(5), curve.at(6), curve.at(100)) == (1.0, curve.share[0], curve.share[-1])
    assert curve.followed_days == 0  # never 50 patients


def test_without_open_spells_the_curve_is_the_plain_share() -> None:
    curve = survival_curve(spells([1, 2, 2, 5], [0]))
    assert curve.share == pytest.approx([3 / 4, 1 / 4, 0])
    assert (curve.low[-1], curve.high[-1]) == (0, 0)


def test_nobody_has_an_empty_curve() -> None:
    curve = survival_curve(no_spells())
    assert (curve.days, curve.at(10), curve.median_days, curve.followed_days) == ((), 1.0, None, 0)
    assert returning_share(curve, 0) is None
    json.dumps(curve.to_json(), allow_nan=False)


counts = arrays(np.int64, 30, elements=st.integers(0, 5))


@given(counts, counts)
def test_curves_fall_inside_their_bounds(ended: np.ndarray, open_: np.ndarray) -> None:
    curve = survival_curve(Spells(ended, open_))
    steps = np.array([1.0, *curve.share])
    assert (np.diff(steps) <= 0).all()
    assert (np.array(curve.low) <= np.array(curve.share) + 1e-12).all()
    assert (np.array(curve.share) <= np.array(curve.high) + 1e-12).all()


def test_returning_share_counts_on_from_the_silence() -> None:
    # 200 spells: 100 end on day 10, 40 on day 20, 60 stay open for 30 days.
    # From the start 140 of 200 return; of the 100 that last longer than 10 days, 40 return; of those beyond 20, none.
    curve = survival_curve(spells([10] * 100 + [20] * 40, [30] * 60))
    assert returning_share(curve, 0) == pytest.approx(0.7)
    assert returning_share(curve, 10) == pytest.approx(0.4)
    assert returning_share(curve, 20) == pytest.approx(0.0)
    assert returning_share(curve, 29) == pytest.approx(0.0)
    assert returning_share(curve, 30) is None


def test_returning_share_does_not_follow_a_handful() -> None:
    # The 10 spells that outlast day 20 all end on day 30: single users, not evidence that everybody returns.
    curve = survival_curve(spells([10] * 100 + [30] * 10, [20] * 50))
    assert returning_share(curve, 0) == pytest.approx(100 / 160)
