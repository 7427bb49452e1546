"""Policy values: right whatever the outcome model says, as long as the chances are known."""

from __future__ import annotations

import numpy as np
import pytest

from ebbtide.core.errors import InputError
from ebbtide.evaluation.policy_value import doubly_robust_scores, policy_value, top_choice


def _trial(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Three arms; a user of kind 1 is won by arm 2 (0.6), nobody by arm 1; without anything 0.2 order."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, n)
    chance = np.where(kind[:, None] == 1, [[0.2, 0.3, 0.5]], [[0.6, 0.2, 0.2]])
    arm = (rng.random(n)[:, None] > chance.cumsum(axis=1)).sum(axis=1)
    y = (rng.random(n) < 0.2 + 0.4 * ((arm == 2) & (kind == 1))).astype(float)
    return kind, chance, arm, y


@pytest.mark.parametrize("believed", [0.0, 0.2, 0.9])
def test_the_value_is_right_whatever_the_model_expects(believed: float) -> None:
    """The best policy brings 0.6 to half of the users and 0.2 to the rest: 0.4."""
    kind, chance, arm, y = _trial(100_000)
    scores = doubly_robust_scores(y, arm, chance, np.full(chance.shape, believed))
    found = policy_value(scores, np.where(kind == 1, 2, 0), draws=60)
    assert found.low < 0.4 < found.high  # type: ignore[operator]


def test_with_true_expectations_wrong_chances_do_no_harm() -> None:
    kind, chance, arm, y = _trial(20_000)
    expected = np.full(chance.shape, 0.2)
    expected[kind == 1, 2] = 0.6
    scores = doubly_robust_scores(y, arm, np.full(chance.shape, 1 / 3), expected)
    assert policy_value(scores, np.where(kind == 1, 2, 0)).value == pytest.approx(0.4, abs=0.015)


def test_a_policy_against_itself_gains_nothing_and_against_nothing_its_effect() -> None:
    kind, chance, arm, y = _trial(20_000)
    scores = doubly_robust_scores(y, arm, chance, np.full(chance.shape, 0.2))
    policy = np.where(kind == 1, 2, 0)
    assert policy_value(scores, policy, against=policy).to_json() == {"value": 0.0, "low": 0.0, "high": 0.0}
    gain = policy_value(scores, policy, against=np.zeros(len(y), int))
    assert gain.low < 0.2 < gain.high  # type: ignore[operator]


def test_an_impossible_assignment_is_refused() -> None:
    with pytest.raises(InputError, match="not in 1 rows"):
        doubly_robust_scores(np.ones(2), np.array([0, 1]), np.array([[0.0, 1.0], [0.5, 0.5]]), np.zeros((2, 2)))


def test_nobody_is_treated_whom_nothing_helps() -> None:
    effect = np.array([[0.2], [-0.1], [-0.2], [0.1]])
    assert top_choice(effect, 1.0).tolist() == [1, 0, 0, 1]
    assert top_choice(effect, 0.25).tolist() == [1, 0, 0, 0]
