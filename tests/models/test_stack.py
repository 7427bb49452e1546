"""The stack: weights that held-out outcomes ask for, and sums that stay exact."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbtide.core.errors import MissingBundleError
from ebbtide.models.base import sigmoid
from ebbtide.models.registry import MODELS, Setting, load_stack
from ebbtide.models.stack import StackModel, fit_weights

PRIOR = np.array([0.0, 0.3, 0.7])


def held_out(rng, rows, strength=1.0, moments=3):
    """Outcomes that follow one hidden score; the first margin knows it well, the second a little, the third not."""
    truth = rng.normal(0, strength, rows)
    y = (rng.random(rows) < sigmoid(truth)).astype(float)
    margins = np.vstack([truth, 0.5 * truth + rng.normal(0, 1, rows), rng.normal(0, 1, rows)])
    return margins, y, np.sort(rng.integers(0, moments, rows))


@given(st.integers(0, 10_000), st.integers(1, 400), st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_weights_are_finite_and_never_negative(seed, rows, moments):
    rng = np.random.default_rng(seed)
    margins, y, group = held_out(rng, rows, strength=rng.choice([0.1, 1.0, 20.0]), moments=moments)
    weights = fit_weights(margins * rng.choice([-1.0, 1.0], (3, 1)), y, group, PRIOR)
    assert weights.shape == (3,)
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()
    assert weights.any()


def test_a_few_rows_leave_the_weights_near_the_prior():
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(fit_weights(*held_out(rng, 6), PRIOR), PRIOR, atol=0.1)


def test_many_rows_overrule_the_prior():
    """The candidate that knows the truth takes over, whatever was thought of it before."""
    weights = fit_weights(*held_out(np.random.default_rng(0), 20_000), PRIOR)
    assert weights[0] == pytest.approx(1.0, abs=0.1)
    assert weights[2] < 0.1


def test_a_harmful_candidate_gets_nothing():
    rng = np.random.default_rng(0)
    margins, y, group = held_out(rng, 5_000)
    margins[2] = -margins[0]
    assert fit_weights(margins, y, group, PRIOR)[2] == 0.0


def test_a_base_rate_that_moves_rewards_nobody():
    """A candidate that only knows which moment it is (its margin is constant within each) keeps its prior weight."""
    rng = np.random.default_rng(0)
    margins, y, group = held_out(rng, 6_000)
    y = np.where(group == 2, np.maximum(y, rng.random(len(y)) < 0.5), y)
    margins[2] = 3.0 * (group == 2)
    weights = fit_weights(margins, y, group, PRIOR)
    assert weights[2] == pytest.approx(PRIOR[2], abs=0.02)


def test_the_unit_of_time_and_the_order_of_rows_do_not_matter():
    rng = np.random.default_rng(1)
    margins, y, group = held_out(rng, 2_000)
    order = rng.permutation(len(y))
    weights = fit_weights(margins, y, group, PRIOR)
    np.testing.assert_allclose(fit_weights(margins, y, 1000 + 86_400 * group, PRIOR), weights)
    np.testing.assert_allclose(fit_weights(margins[:, order], y[order], group[order], PRIOR), weights, atol=1e-4)


def test_newer_moments_count_more():
    """One candidate is right in the older half, another in the newer half: the latter gets more weight."""
    rng = np.random.default_rng(2)
    margins, y, _ = held_out(rng, 4_000)
    group = np.repeat([0, 1], 2_000)
    noise = rng.normal(0, 1, 4_000)
    once, lately = np.where(group == 0, margins[0], noise), np.where(group == 1, margins[0], noise)
    weights = fit_weights(np.vstack([once, lately]), y, group, np.array([0.5, 0.5]))
    assert weights[1] > weights[0]


def test_when_nothing_helps_the_prior_stays():
    """All weights would be zero: a stack of nobody is no model."""
    rng = np.random.default_rng(3)
    margins, y, group = held_out(rng, 5_000)
    assert fit_weights(-margins[:1], y, group, np.array([1.0])).tolist() == [1.0]


@pytest.fixture(scope="module")
def stack(make_rows):
    rows, setting = make_rows(), Setting(30.0)
    members = [MODELS[name].make(setting).fit(rows, seed=1) for name in ("logistic", "bgnbd", "lightgbm")]
    return StackModel(members, [0.5, 0.25, 0.75], intercept=-0.3)


def test_margin_and_contributions_are_weighted_sums(stack, make_rows):
    X = make_rows(100, seed=4).X
    by_hand = (
        -0.3 + 0.5 * stack.members[0].margin(X) + 0.25 * stack.members[1].margin(X) + 0.75 * stack.members[2].margin(X)
    )
    np.testing.assert_allclose(stack.margin(X), by_hand, rtol=1e-12)
    np.testing.assert_allclose(stack.contributions(X).sum(axis=1), stack.margin(X), rtol=0, atol=1e-6)


def test_a_saved_stack_comes_back_bit_for_bit(stack, make_rows, tmp_path):
    X = make_rows(100, seed=4).X
    stack.save(tmp_path)
    again = load_stack(tmp_path)
    assert again.weights == stack.weights
    assert again.margin(X).tobytes() == stack.margin(X).tobytes()
    assert again.contributions(X).tobytes() == stack.contributions(X).tobytes()


def test_fitting_the_stack_again_keeps_its_weights(make_rows):
    rows = make_rows(200)
    stack = StackModel([MODELS["recency"].make(Setting(30.0))], [0.4])
    alone = MODELS["recency"].make(Setting(30.0)).fit(rows, seed=1)
    np.testing.assert_allclose(stack.fit(rows, seed=1).margin(rows.X), 0.4 * alone.margin(rows.X))


def test_a_member_from_another_version_is_refused_in_words(stack, tmp_path):
    stack.save(tmp_path)
    file = tmp_path / "stack.json"
    data = json.loads(file.read_text())
    data["members"]["oracle"] = {"weight": 0.5, "reads": []}
    file.write_text(json.dumps(data))
    with pytest.raises(MissingBundleError, match="does not know: oracle; train again"):
        load_stack(tmp_path)
