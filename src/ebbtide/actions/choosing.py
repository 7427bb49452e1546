"""Which learner, and is any ranking by effect worth following? Judged on users who had no part in choosing.

Choosing the best of several noisy figures flatters it (the winner's curse). So the whole procedure, fitting every
learner and choosing among them, is itself cross-fitted: in each outer fold the learners are compared by cross-fitting
inside the other folds, the winner is fitted there, and the held-out fold only judges it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebbtide.actions.boosters import TreeSizes
from ebbtide.actions.fitted import Effects
from ebbtide.actions.learners import LEARNERS, Learner, expected_outcomes
from ebbtide.actions.trial import CONTROL, Trial, folds_of
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.evaluation.tally import ratio
from ebbtide.evaluation.uplift import perfect_qini, qini_of
from ebbtide.evaluation.uplift_tally import UpliftRanking
from ebbtide.models.base import Vector

_LEARNING = Text("learning effects", "学习效应")


@dataclass(frozen=True)
class HeldOut:
    """What models that had not seen a row say of it. effect (N, K - 1); expected (N, K) outcomes; fold (N,): the outer
    fold, whose rows had no part in its learner; chosen: the learner of each outer fold; qini: the mean Qini of every
    learner inside the folds, by which they were chosen; None where there was no choice."""

    effect: Vector
    expected: Vector
    fold: NDArray[np.int64]
    chosen: tuple[str, ...]
    qini: dict[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """What was compared, without the rows."""
        return {"chosen": list(self.chosen), "qini": self.qini}


def mean_qini(trial: Trial, effect: Vector) -> float:
    """Qini of the treatments against control, averaged over the treatments for which it is defined."""
    found = []
    for t in trial.treatments:
        rows = trial.between(t)
        y, on, weight = trial.y[rows], trial.arm[rows] == t, trial.weight[rows]
        rankings = (UpliftRanking(y, s, on, weight).count() for s in (effect[rows, t - 1], perfect_qini(y, on)))
        found.append(float(qini_of(*rankings)[0]))
    defined = np.array(found)[np.isfinite(found)]
    return float(ratio(np.array(defined.sum()), np.array(len(defined))))


def cross_fitted(trial: Trial, learner: Learner, sizes: TreeSizes, *, folds: int, seed: int) -> Vector:
    """Effects of every row by the learner fitted on the other folds, (N, K - 1)."""
    fold = folds_of(trial.user, trial.arm, folds=folds, seed=seed)
    out = np.empty((len(trial), len(trial.treatments)))
    for number in range(folds):
        out[fold == number] = learner.fit(trial.take(fold != number), sizes, seed).effects(trial.X[fold == number])
    return out


def compare(
    trial: Trial,
    names: Sequence[str] = tuple(LEARNERS),
    *,
    sizes: TreeSizes | None = None,
    folds: int = 3,
    seed: int = 0,
) -> dict[str, float]:
    """The cross-fitted Qini of each learner, best first."""
    told = sizes or TreeSizes()
    found = {
        name: mean_qini(trial, cross_fitted(trial, LEARNERS[name], told, folds=folds, seed=seed)) for name in names
    }
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def fit_best(
    trial: Trial, names: Sequence[str] = tuple(LEARNERS), *, sizes: TreeSizes | None = None, seed: int = 0
) -> tuple[str, Effects, dict[str, float]]:
    """Choose a learner by its cross-fitted Qini and fit it on all rows: its name, its effects, all figures."""
    told = sizes or TreeSizes()
    found = compare(trial, names, sizes=told, seed=seed) if len(names) > 1 else dict[str, float]()
    winner = next(iter(found), names[0])
    return winner, LEARNERS[winner].fit(trial, told, seed), found


def held_out(
    trial: Trial,
    names: Sequence[str] = tuple(LEARNERS),
    *,
    sizes: TreeSizes | None = None,
    folds: int = 2,
    seed: int = 0,
    progress: Progress = silent,
) -> HeldOut:
    """Run the whole procedure in outer folds, so that every row is judged by a choice that it had no part in."""
    told = sizes or TreeSizes()
    fold = folds_of(trial.user, trial.arm, folds=folds, seed=seed + 1)
    effect, expected = np.empty((len(trial), len(trial.treatments))), np.empty((len(trial), len(trial.arms)))
    chosen, figures = [], []
    for number in range(folds):
        progress(_LEARNING, number, folds + 1)
        held = fold == number
        name, fitted, found = fit_best(trial.take(~held), names, sizes=told, seed=seed)
        effect[held] = fitted.effects(trial.X[held])
        chosen.append(name)
        figures.append(found)
    expected[:] = expected_outcomes(trial, told, seed, folds=max(folds, 2))
    mean = {name: float(np.mean([f[name] for f in figures])) if figures[0] else None for name in figures[0] or names}
    return HeldOut(effect, expected, fold, tuple(chosen), mean)


def risk(expected: Vector, value: Vector | None = None) -> Vector:
    """Risk x value, the ranking to beat: the outcome that control leaves out, 1 - P(outcome), times the user's value."""
    missing = 1 - expected[:, CONTROL]
    return np.asarray(missing if value is None else missing * value)
