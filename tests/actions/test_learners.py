"""Every learner finds a planted effect, keeps its laws, and comes back from disk as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ebbtide.actions.boosters import TreeSizes
from ebbtide.actions.choosing import compare, held_out, mean_qini
from ebbtide.actions.fitted import load_effects, save_effects
from ebbtide.actions.learners import CONSIDERED, LEARNERS
from ebbtide.actions.randomness import check_randomness, estimated_propensity
from ebbtide.actions.trial import Trial, folds_of
from ebbtide.actions.uplift import Win, judge
from ebbtide.core.errors import DataError
from ebbtide.evaluation.intervals import Estimate

SMALL = TreeSizes(seeds=1, rounds=60)
NAMES = tuple(LEARNERS)


def made_trial(
    rows: int = 3000, *, seed: int = 0, money: bool = False, chance: float = 0.5, effect: float = 0.3
) -> Trial:
    """Two treatments: `a` helps who has a high first column, `b` helps nobody. Unknown values in the third column."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 4)).astype(np.float32)
    X[rng.random(rows) < 0.1, 2] = np.nan
    propensity = np.tile([1 - chance, chance / 2, chance / 2], (rows, 1))
    arm = (rng.random(rows)[:, None] > propensity.cumsum(axis=1)).sum(axis=1)
    p = 0.3 + 0.1 * (X[:, 1] > 0) + effect * ((arm == 1) & (X[:, 0] > 0))
    y = (rng.random(rows) < p).astype(float)
    y = y * rng.gamma(4, 10, rows) if money else y
    user = np.arange(rows).astype(np.uint64)
    return Trial(X, arm, y, propensity, ("w", "x", "y", "z"), ("nothing", "a", "b"), user)


def test_the_learners_are_those_that_the_docs_name() -> None:
    assert NAMES == ("s", "t", "x", "dr", "ct", "linear", "odds", "mean")
    assert CONSIDERED == ("s", "t", "x", "dr", "ct", "linear", "mean")


@pytest.mark.parametrize("money", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_planted_effect_is_found(name: str, money: bool) -> None:
    """Arm a adds 0.4 orders (16 of money) where the first column is positive, nothing elsewhere; arm b nothing."""
    trial, fresh = made_trial(5000, money=money, effect=0.4), made_trial(seed=1)
    found = LEARNERS[name].fit(trial, SMALL, 0).effects(fresh.X)
    assert found.shape == (len(fresh), 2)
    if name == "odds":  # one number a treatment: only its size can be found, 0.4 for half of the users
        assert 0.1 < found[:, 0].mean() / (40.0 if money else 1.0) < 0.3
        return
    high = fresh.X[:, 0] > 0.5
    low = fresh.X[:, 0] < -0.5
    unit = 40.0 if money else 1.0
    assert found[high, 0].mean() - found[low, 0].mean() > 0.1 * unit
    assert abs(found[:, 1].mean()) < 0.08 * unit


@pytest.mark.parametrize("name", NAMES)
def test_what_was_saved_comes_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    trial = made_trial(800)
    fitted = LEARNERS[name].fit(trial, SMALL, 0)
    save_effects(tmp_path / name, fitted)
    assert np.array_equal(load_effects(tmp_path / name).effects(trial.X), fitted.effects(trial.X))
    assert {f.suffix for f in tmp_path.rglob("*") if f.is_file()} <= {".txt", ".json"}


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_effects_and_inputs_stay_as_they_were(name: str) -> None:
    trial = made_trial(600)
    before = trial.X.copy(), trial.y.copy(), trial.arm.copy()
    first, second = (LEARNERS[name].fit(trial, SMALL, 3).effects(trial.X) for _ in range(2))
    assert np.array_equal(first, second)
    assert np.array_equal(before[0], trial.X, equal_nan=True)
    assert np.array_equal(before[1], trial.y)
    assert np.array_equal(before[2], trial.arm)


def test_folds_keep_users_together_and_arms_even() -> None:
    user = np.repeat(np.arange(300), 2).astype(np.uint64)
    arm = np.repeat(np.arange(300) % 3, 2)
    fold = folds_of(user, arm, folds=3, seed=0)
    assert np.array_equal(fold[::2], fold[1::2])
    assert {tuple(np.bincount(fold[arm == a]).tolist()) for a in range(3)} <= {(68, 66, 66), (66, 68, 66), (66, 66, 68)}


def test_the_better_learner_is_chosen_and_the_choice_is_held_out() -> None:
    trial = made_trial(3000)
    found = compare(trial, ("mean", "odds"), sizes=SMALL)
    assert found.chosen == "mean"  # one shift of the odds cannot tell who is helped
    assert list(found.won) == list(found.qini) == ["mean", "odds"]
    assert found.won["mean"] > max(found.won["odds"], 0.0)
    held = held_out(trial, ("dr",), sizes=SMALL)
    assert held.chosen == ("dr", "dr")
    assert mean_qini(trial, held.effect) > 0.02


def test_a_real_effect_is_followed_and_none_is_not() -> None:
    trial = made_trial(6000)
    told = judge(trial, held_out(trial, ("dr",), sizes=SMALL))
    assert told.is_followed
    assert told.verdict.en.endswith("in all users and in each of 2 parts alone: use it")
    assert told.budgets[0].effect.low > 0  # type: ignore[operator]
    useless = made_trial(3000, effect=0.0)
    verdict = judge(useless, held_out(useless, ("dr",), sizes=SMALL))
    assert not verdict.is_followed
    assert verdict.verdict.en == "no ranking beats everyone with confidence; fall back to risk x value"


WON, LOST = Estimate(0.02, 0.01, 0.03), Estimate(0.01, -0.01, 0.03)
SURE, ALONE, NOT = Win(WON, (WON, WON)), Win(WON, (LOST, WON)), Win(LOST, (WON, WON))


@pytest.mark.parametrize(
    ("everyone", "by_risk", "en", "zh"),
    [
        (SURE, SURE, "use it", "建议使用"),
        (
            ALONE,
            SURE,
            "beats everyone with confidence: the one by effect does so over all users, but alone in 1 of 2",
            "1 个如此",
        ),
        (SURE, ALONE, "beats risk x value with confidence: the one by effect does so over all", "单独看只在 2 个部分"),
        (NOT, SURE, "no ranking beats everyone with confidence; fall back", "优于一视同仁；退回"),
        (SURE, NOT, "no ranking beats risk x value with confidence; fall back", "优于风险 x 价值；退回"),
        (ALONE, NOT, "no ranking beats everyone with confidence: the one", "优于一视同仁：按效应"),
    ],
)
def test_a_ranking_that_wins_in_one_half_only_is_not_followed(everyone: Win, by_risk: Win, en: str, zh: str) -> None:
    """Both wins must hold over all users and in each half alone; the verdict says which did not."""
    trial = made_trial(400)
    base = judge(trial, held_out(trial, ("odds",), sizes=SMALL))
    told = replace(base, over_everyone=everyone, over_risk=by_risk)
    assert told.is_followed == (everyone is SURE and by_risk is SURE)
    assert en in told.verdict.en
    assert zh in told.verdict.zh
    assert told.to_json()["folds"][0]["over_risk"] == by_risk.folds[0].to_json()


def test_each_half_is_judged_by_what_was_learnt_without_it() -> None:
    """What is said of a half of the users does not change when outcomes of that half do: only its judgement does."""
    trial = made_trial(1200)
    held = held_out(trial, ("linear",), sizes=SMALL)
    first = held.fold == 0
    changed = replace(trial, y=np.where(first, 1 - trial.y, trial.y))
    again = held_out(changed, ("linear",), sizes=SMALL)
    assert np.array_equal(held.fold, again.fold)
    assert np.array_equal(held.effect[first], again.effect[first])
    assert not np.array_equal(held.effect[~first], again.effect[~first])
    assert len(judge(trial, held).over_everyone.folds) == 2


def test_an_assignment_by_chance_passes_and_one_by_a_column_does_not() -> None:
    trial = made_trial(3000)
    assert not check_randomness(trial, (2, 1, 1)).is_suspicious
    order = np.argsort(trial.X[:, 1] + np.random.default_rng(0).normal(size=3000))
    biased = Trial(trial.X, np.empty(3000, np.int64), trial.y, trial.propensity, trial.names, trial.arms, trial.user)
    biased.arm[order] = np.repeat([0, 1, 2], 1000)
    with pytest.raises(DataError, match=r"not random.*most of all `x`.*--propensity COL"):
        check_randomness(biased).check()
    with pytest.raises(DataError, match="not as large as planned"):
        check_randomness(trial, (1, 1, 1)).check()


def test_estimated_chances_follow_the_assignment() -> None:
    """Arm b goes to high values of x: who has one is given a higher chance of it, and all chances add up to 1."""
    rng = np.random.default_rng(0)
    trial = made_trial(3000)
    arm = np.where(trial.X[:, 1] + rng.normal(size=3000) > 0.7, 2, rng.integers(0, 2, 3000))
    chance = estimated_propensity(Trial(trial.X, arm, trial.y, trial.propensity, trial.names, trial.arms, trial.user))
    assert np.allclose(chance.sum(axis=1), 1.0)
    assert chance[trial.X[:, 1] > 1, 2].mean() > 0.35 > 0.25 > chance[trial.X[:, 1] < -1, 2].mean()
