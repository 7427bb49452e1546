"""Estimates of another policy's value: hand arithmetic, agreement with the truth, and when to refuse."""

from __future__ import annotations

import numpy as np
import pytest

from ebbtide.core.errors import DataError, InputError
from ebbtide.evaluation.off_policy import Decisions, policy_value

CHANCE = np.array([0.1, 0.3, 0.5])


def _log(n: int, seed: int, *, model_error: float = 0.0) -> Decisions:
    """Three actions, logged with chances .6, .3, .1, evaluated for .1, .3, .6: the truth is .40."""
    rng = np.random.default_rng(seed)
    old, new = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.3, 0.6])
    action = rng.choice(3, n, p=old)
    reward = (rng.random(n) < CHANCE[action]).astype(np.float64)
    model = CHANCE + model_error
    return Decisions(reward, old[action], new[action], model[action], np.full(n, float(new @ model)))


def test_by_hand() -> None:
    """Weights 2, 1/2, 1/2: IPS (2 + 1/2) / 3, SNIPS 2.5 / 3, effective 9 / 4.5."""
    logged = Decisions(np.array([1.0, 1.0, 0.0]), np.full(3, 0.4), np.array([0.8, 0.2, 0.2]))
    value = policy_value(logged)
    assert value.ips.value == pytest.approx(2.5 / 3)
    assert value.snips.value == pytest.approx(2.5 / 3)
    assert value.effective == pytest.approx(9 / 4.5)
    assert (value.dm.value, value.dr.value) == (None, None)


def test_the_policy_that_ran_is_worth_what_it_earned() -> None:
    log = _log(500, 1)
    same = policy_value(Decisions(log.reward, log.propensity, log.propensity))
    assert (same.ips, same.snips.value, same.effective) == (same.logged, same.logged.value, pytest.approx(500))


@pytest.mark.parametrize("name", ["ips", "snips", "dr"])
def test_intervals_hold_the_truth_as_often_as_they_say(name: str) -> None:
    """300 logs of 1,500 decisions: 95 % +- three standard errors."""
    told = [getattr(policy_value(_log(1500, seed, model_error=0.1)), name) for seed in range(300)]
    assert 0.912 <= np.mean([t.low <= 0.4 <= t.high for t in told]) <= 0.988


def test_doubly_robust_stands_when_the_model_is_wrong_and_the_model_alone_does_not() -> None:
    value = policy_value(_log(20_000, 3, model_error=0.2))
    assert value.dm.value == pytest.approx(0.6)
    assert value.dr.value == pytest.approx(0.4, abs=0.03)


def test_the_model_narrows_the_interval() -> None:
    value = policy_value(_log(5000, 4))
    assert value.dr.high - value.dr.low < value.ips.high - value.ips.low  # type: ignore[operator]


def test_too_few_decisions_that_speak_for_the_policy_are_refused_in_both_languages() -> None:
    log = _log(200, 0)
    with pytest.raises(DataError, match="cannot answer for this policy") as refused:
        policy_value(log, floor=199)
    assert "日志无法回答此策略" in refused.value.text.zh
    assert policy_value(log, floor=10).effective >= 10


def test_a_policy_that_the_log_never_followed_is_refused() -> None:
    nothing = Decisions(np.ones(5), np.full(5, 0.5), np.zeros(5))
    with pytest.raises(DataError, match="worth 0 under it"):
        policy_value(nothing, floor=1)


@pytest.mark.parametrize("bad", [0.0, -0.1, 1.5, np.nan])
def test_impossible_propensities_are_counted(bad: float) -> None:
    with pytest.raises(InputError, match="1 of 2 logged decisions have no usable chance"):
        Decisions(np.ones(2), np.array([0.5, bad]), np.full(2, 0.5))


def test_propensities_that_do_not_fit_the_log_show_in_the_mean_weight() -> None:
    log = _log(5000, 5)
    assert policy_value(log).weights_fit
    halved = Decisions(log.reward, log.propensity / 2, log.target)
    assert not policy_value(halved).weights_fit
