"""Learners of uplift over boosted trees: S, T, X, DR and class transformation, for any number of treatments.

Every learner takes a trial and gives `Effects`. Outcomes that a learner subtracts are expected by models that had not
seen the row (cross-fitting). With equal chances all weights are 1.
Sources: Kuenzel et al. 2019, "Metalearners for estimating heterogeneous treatment effects" (S, T, X); Kennedy 2023,
"Towards optimal doubly robust estimation of heterogeneous causal effects" (DR); Jaskowski and Jaroszewicz 2012 (class
transformation); Athey and Imbens 2015 (transformed outcome, its form for money).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ebbtide.actions.boosters import Boosted, TreeSizes, boost
from ebbtide.actions.fitted import Contrast, Direct, Effects, Mixture, Switch, with_arm
from ebbtide.actions.linear_effects import fit_linear
from ebbtide.actions.shifted import fit_shifted
from ebbtide.actions.trial import CONTROL, Trial, folds_of
from ebbtide.core.language import Text
from ebbtide.evaluation.policy_value import doubly_robust_scores
from ebbtide.models.base import Vector

Fit = Callable[[Trial, TreeSizes, int], Effects]


@dataclass(frozen=True)
class Learner:
    """A way to learn effects. `fit(trial, sizes, seed)`; words: what it does, in one line."""

    name: str
    words: Text
    fit: Fit


def fit_s(trial: Trial, sizes: TreeSizes, seed: int) -> Switch:
    """S: one model of the outcome that sees the arm as columns. Its trees split by the arm late, so they are
    more and larger than those of learners that see effects only; what it finds is shrunk towards zero."""
    X = with_arm(trial.X, trial.arm, len(trial.treatments))
    told = replace(sizes, rounds=4 * sizes.rounds, leaves=4 * sizes.leaves, depth=2 * sizes.depth)
    return Switch(boost(X, trial.y, trial.weight, sizes=told, seed=seed), len(trial.treatments))


def fit_t(trial: Trial, sizes: TreeSizes, seed: int) -> Contrast:
    """T: one model of the outcome for each arm."""
    return Contrast(tuple(_arm_model(trial, arm, sizes, seed + arm) for arm in range(len(trial.arms))))


def fit_x(trial: Trial, sizes: TreeSizes, seed: int) -> Direct:
    """X: effects imputed for the users of each arm from the other arm's model, then learnt, and weighted by the arms'
    shares."""
    expected = expected_outcomes(trial, sizes, seed)
    models: list[Boosted] = []
    weights = np.zeros((len(trial.treatments), 2 * len(trial.treatments)))
    for place, treatment in enumerate(trial.treatments):
        on, off = trial.arm == treatment, trial.arm == CONTROL
        gained = trial.y[on] - expected[on, CONTROL]
        missed = expected[off, treatment] - trial.y[off]
        for side, (rows, target) in enumerate(((on, gained), (off, missed))):
            fitted = boost(trial.X[rows], target, trial.weight[rows], sizes=sizes, seed=seed + 31 * side, binary=False)
            models.append(fitted)
        share = trial.shares[treatment] / (trial.shares[treatment] + trial.shares[CONTROL])
        weights[place, 2 * place : 2 * place + 2] = 1 - share, share
    return _direct(models, weights)


def fit_dr(trial: Trial, sizes: TreeSizes, seed: int) -> Direct:
    """DR: each user's doubly robust score of the treatment less that of control, learnt as it is."""
    scores = doubly_robust_scores(trial.y, trial.arm, trial.propensity, expected_outcomes(trial, sizes, seed))
    models = [
        boost(trial.X, scores[:, t] - scores[:, CONTROL], sizes=sizes, seed=seed + t, binary=False)
        for t in trial.treatments
    ]
    return _direct(models, np.eye(len(models)))


def fit_class_transformation(trial: Trial, sizes: TreeSizes, seed: int) -> Direct:
    """Class transformation: "treated with the outcome, or untreated without it" as one class; for money the transformed
    outcome."""
    models, scale, shift = [], [], []
    for t in trial.treatments:
        rows = trial.between(t)
        part = trial.take(rows)
        on = part.arm == t
        chance = part.propensity[:, [CONTROL, t]] / part.propensity[:, [CONTROL, t]].sum(axis=1, keepdims=True)
        own = np.where(on, chance[:, 1], chance[:, 0])
        if trial.is_binary:
            target = np.where(on, part.y, 1 - part.y)
            models.append(boost(part.X, target, 0.5 / own, sizes=sizes, seed=seed + t, binary=True))
            scale.append(2.0)
            shift.append(-1.0)
        else:
            models.append(boost(part.X, np.where(on, part.y, -part.y) / own, sizes=sizes, seed=seed + t, binary=False))
            scale.append(1.0)
            shift.append(0.0)
    return Direct(tuple(models), tuple(tuple(r) for r in np.diag(scale).tolist()), tuple(shift))


def fit_mean(trial: Trial, sizes: TreeSizes, seed: int) -> Mixture:
    """The mean of S, DR and the linear learner, whose mistakes differ."""
    members = (fit_s(trial, sizes, seed), fit_dr(trial, sizes, seed), fit_linear(trial))
    return Mixture(members, (1 / 3, 1 / 3, 1 / 3))


LEARNERS: Mapping[str, Learner] = {
    learner.name: learner
    for learner in (
        Learner("s", Text("one model that sees the arm", "一个能看到分组的模型"), fit_s),
        Learner("t", Text("one model an arm", "每组一个模型"), fit_t),
        Learner("x", Text("imputed effects, learnt", "学习插补的效应"), fit_x),
        Learner("dr", Text("doubly robust scores, learnt", "学习双重稳健得分"), fit_dr),
        Learner("ct", Text("class transformation", "类别变换"), fit_class_transformation),
        Learner("linear", Text("columns times the arm", "各列与分组的交互"), lambda trial, *_: fit_linear(trial)),
        Learner("odds", Text("one shift of the odds a treatment", "每种处理一个优势比"), fit_shifted),
        Learner("mean", Text("the mean of S, DR and linear", "S、DR 与线性的平均"), fit_mean),
    )
}
CONSIDERED = tuple(name for name in LEARNERS if name != "odds")
"""The learners among which `auto` chooses: those that look for who is moved more. One shift of the odds supposes that who orders
anyway is moved more, whatever the data say; it is there to be asked for."""


def expected_outcomes(trial: Trial, sizes: TreeSizes, seed: int, *, folds: int = 3) -> Vector:
    """What is expected of each user under each arm, (N, K), by models of the arm that had not seen the user."""
    fold = folds_of(trial.user, trial.arm, folds=folds, seed=seed)
    out = np.empty((len(trial), len(trial.arms)))
    for number in range(folds):
        held = fold == number
        learnt = trial.take(~held)
        for arm in range(len(trial.arms)):
            out[held, arm] = _arm_model(learnt, arm, sizes, seed + arm + 97 * number).predict(trial.X[held])
    return out


def _arm_model(trial: Trial, arm: int, sizes: TreeSizes, seed: int) -> Boosted:
    rows = trial.arm == arm
    binary = trial.is_binary and 0 < trial.y[rows].sum() < rows.sum()
    return boost(trial.X[rows], trial.y[rows], trial.weight[rows], sizes=sizes, seed=seed, binary=binary)


def _direct(models: list[Boosted], weights: Vector) -> Direct:
    return Direct(tuple(models), tuple(tuple(row) for row in weights.tolist()), (0.0,) * len(weights))
