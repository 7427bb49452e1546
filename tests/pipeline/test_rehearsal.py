"""The rehearsal: every past moment is predicted, weighed and calibrated with what was known at that moment."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.progress import silent
from ebbtide.core.windows import DAY_US
from ebbtide.models.base import Rows, sigmoid
from ebbtide.models.registry import Entry, Setting
from ebbtide.pipeline.rehearsal import held_out_moments, rehearse, training_moments, usual_values

NAMES = ("outcome_repeat_days", "outcome_last_age_days", "outcome_age_days")
EMBARGO = 30 * DAY_US


class Watched:
    """A model that tells which rows it was fitted on, and predicts by the first column."""

    def __init__(self, told: list[tuple[Setting, Rows]], setting: Setting) -> None:
        self.told, self.setting = told, setting

    def fit(self, rows, *, seed):
        self.told.append((self.setting, rows))
        return self

    def margin(self, X):
        return X[:, 0].astype(float)


@pytest.fixture
def told():
    return []


@pytest.fixture
def entries(told):
    return {n: Entry(lambda s: Watched(told, s), Watched, 0.5) for n in ("one", "two")}


def make_rows(moments=12, users=60, seed=0) -> Rows:
    """Moments ten days apart, a label thirty days after each."""
    rng = np.random.default_rng(seed)
    n = moments * users
    X = rng.normal(0, 1, (n, 3)).astype(np.float32)
    y = (rng.random(n) < sigmoid(X[:, 0].astype(float))).astype(float)
    as_of = np.repeat(np.arange(moments) * 10 * DAY_US, users)
    return Rows(X, y, as_of, np.tile(np.arange(users, dtype=np.uint64), moments), NAMES, EMBARGO)


def settings_of(moments):
    """A setting of its own for each moment, told apart by its horizon."""
    return {m: Setting(30.0 + m / DAY_US / 1000) for m in moments}.__getitem__


def rehearsed(rows, entries, moments=None):
    moments = held_out_moments([int(m) for m in rows.moments()], rows.embargo_us) if moments is None else moments
    return rehearse(rows, moments, entries, settings_of(moments), seed=0, progress=silent)


def test_no_model_sees_a_row_whose_label_was_not_known_at_the_moment(entries, told):
    """as_of + gap + horizon <= moment for every row of every fit; and no known row is held back."""
    rows = make_rows()
    past = rehearsed(rows, entries)
    assert [r.held.moment_us // DAY_US for r in past] == [50, 80, 110]
    assert len(told) == 3 * len(entries)
    for setting, fitted in told:
        moment = round((setting.horizon_days - 30.0) * 1000) * DAY_US
        assert (fitted.as_of_us + EMBARGO <= moment).all()
        assert len(fitted) == (rows.as_of_us + EMBARGO <= moment).sum() > 0


def test_models_of_a_moment_get_that_moments_reference(entries, told):
    """BG/NBD parameters are fitted anew at each held-out moment, on what was known then."""
    rows = make_rows()
    rehearsed(rows, entries)
    newest = {setting.horizon_days: int(fitted.as_of_us.max()) // DAY_US for setting, fitted in told}
    assert newest == {30.05: 20, 30.08: 50, 30.11: 80}


def test_a_past_choice_uses_only_moments_that_had_closed(entries):
    """The first moment has nobody to learn from, the second has the first, the third has both."""
    past = rehearsed(make_rows(), entries)
    assert [len(r.choice.history) for r in past] == [0, 1, 2]
    for r in past:
        assert all(h.as_of_us + EMBARGO <= r.held.moment_us for h in r.choice.history)


def test_the_newest_labels_change_no_earlier_prediction(entries):
    """Flip every label that became known after day 110: what was said at days 50, 80 and 110 stays, bit for bit."""
    rows = make_rows()
    flipped = replace(rows, y=np.where(rows.as_of_us + EMBARGO > 110 * DAY_US, 1 - rows.y, rows.y))
    for one, other in zip(rehearsed(rows, entries), rehearsed(flipped, entries), strict=True):
        assert one.choice.apply(one.held).tobytes() == other.choice.apply(other.held).tobytes()


def test_moments_without_anything_to_learn_from_are_left_out(entries, told):
    rows = make_rows(moments=4)
    assert [r.held.moment_us // DAY_US for r in rehearsed(rows, entries, [30 * DAY_US, 20 * DAY_US])] == [30]
    assert rehearsed(replace(rows, y=np.zeros(len(rows))), entries, [30 * DAY_US]) == []
    assert rehearsed(rows, entries, []) == []


@given(step=st.integers(1, 40), count=st.integers(1, 60), embargo=st.integers(1, 90), most=st.integers(1, 8))
def test_held_out_moments_are_an_embargo_apart_and_have_a_past(step, count, embargo, most):
    moments = [i * step for i in range(count)]
    chosen = held_out_moments(moments, embargo, most)
    assert len(chosen) <= most
    assert chosen == sorted(chosen, reverse=True)
    assert all(newer - older >= embargo for newer, older in pairwise(chosen))
    assert all(any(m + embargo <= moment for m in moments) for moment in chosen)
    if moments[-1] - moments[0] >= embargo:
        assert chosen[0] == moments[-1]
    else:
        assert chosen == []


@given(
    horizon=st.integers(1, 120),
    gap=st.integers(0, 20),
    eligible=st.integers(1, 400),
    history=st.integers(0, 900),
    most=st.integers(1, 30),
)
def test_every_training_moment_is_closed_and_has_a_lookback(horizon, gap, eligible, history, most):
    definition = ChurnDefinition(horizon_days=horizon, eligible_days=eligible, gap_days=gap)
    moments = training_moments(0, history * DAY_US, definition, most)
    assert len(moments) <= most
    assert moments == sorted(set(moments))
    if moments:
        assert moments[-1] == (history - gap - horizon) * DAY_US
        assert moments[0] >= min(horizon, eligible) * DAY_US // 2


def test_training_moments_are_a_third_of_a_horizon_apart_in_whole_days():
    """30 days: every 10; 90 days: every 30; 1 day: every 8 hours."""
    for horizon, step in ((30, 10), (90, 30), (50, 17), (1, 1 / 3)):
        moments = training_moments(0, 1000 * DAY_US, ChurnDefinition(horizon_days=horizon), 5)
        assert np.diff(moments).tolist() == [step * DAY_US] * 4


def test_what_is_usual_is_the_median_of_the_newest_cohort():
    rows = make_rows(moments=2, users=5)
    X = rows.X.copy()
    X[5:, 0] = [1, 2, np.nan, 4, 100]
    X[5:, 1] = np.nan
    usual = usual_values(replace(rows, X=X))
    assert set(usual) == {NAMES[0], NAMES[2]}
    assert usual[NAMES[0]] == 3.0
