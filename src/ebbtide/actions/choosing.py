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
from ebbtide.actions.learners import CONSIDERED, LEARNERS, Learner, expected_outcomes
from ebbtide.actions.trial import CONTROL, Trial, folds_of
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.evaluation.policy_value import doubly_robust_scores, targeting_terms
from ebbtide.evaluation.tally import ratio
from ebbtide.evaluation.uplift import perfect_qini, qini_of
from ebbtide.evaluation.uplift_tally import UpliftRanking
from ebbtide.models.base import Vector

_LEARNING = Text("learning effects", "学习效应")


@dataclass(frozen=True)
class HeldOut:
    """What models that had not seen a row say of it. effect (N, K - 1); expected (N, K) outcomes; fold (N,): the outer
    fold, whose rows had no part in its learner; chosen: the learner of each outer fold; won and qini: of every learner
    inside the folds, as in `Compared`, the best by `won` first; None where there was no choice."""

    effect: Vector
    expected: Vector
    fold: NDArray[np.int64]
    chosen: tuple[str, ...]
    won: dict[str, float | None]
    qini: dict[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """What was compared, without the rows."""
        return {"chosen": list(self.chosen), "won": self.won, "qini": self.qini}


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


@dataclass(frozen=True)
class Compared:
    """Learners on rows that each had not seen, the chosen one first. won: what targeting by a learner wins, over all budgets,
    in outcomes per user, by doubly robust scores (`evaluation.policy_value.targeting_terms`); qini: its mean Qini."""

    won: dict[str, float]
    qini: dict[str, float]

    @property
    def chosen(self) -> str:
        """The learner by which targeting wins most."""
        return next(iter(self.won))


def compare(
    trial: Trial,
    names: Sequence[str] = CONSIDERED,
    *,
    sizes: TreeSizes | None = None,
    folds: int = 3,
    seed: int = 0,
) -> Compared:
    """Compare learners by cross-fitting."""
    told = sizes or TreeSizes()
    scores = doubly_robust_scores(trial.y, trial.arm, trial.propensity, expected_outcomes(trial, told, seed))
    won, qini = dict[str, float](), dict[str, float]()
    for name in names:
        effect = cross_fitted(trial, LEARNERS[name], told, folds=folds, seed=seed)
        won[name] = float(targeting_terms(scores, effect.max(axis=1), effect.argmax(axis=1) + 1).mean())
        qini[name] = mean_qini(trial, effect)
    order = sorted(names, key=lambda name: (-won[name], name))
    return Compared({name: won[name] for name in order}, {name: qini[name] for name in order})


def fit_best(
    trial: Trial, names: Sequence[str] = CONSIDERED, *, sizes: TreeSizes | None = None, seed: int = 0
) -> tuple[str, Effects, Compared | None]:
    """Choose a learner and fit it on all rows: its name, its effects, and the comparison, None where there was no choice."""
    told = sizes or TreeSizes()
    found = compare(trial, names, sizes=told, seed=seed) if len(names) > 1 else None
    winner = found.chosen if found else names[0]
    return winner, LEARNERS[winner].fit(trial, told, seed), found


def held_out(
    trial: Trial,
    names: Sequence[str] = CONSIDERED,
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
    chosen, compared = list[str](), list[Compared]()
    for number in range(folds):
        progress(_LEARNING, number, folds + 1)
        held = fold == number
        name, fitted, found = fit_best(trial.take(~held), names, sizes=told, seed=seed)
        effect[held] = fitted.effects(trial.X[held])
        chosen.append(name)
        compared += [found] if found else []
    expected[:] = expected_outcomes(trial, told, seed, folds=max(folds, 2))
    won, qini = (_means([getattr(c, kind) for c in compared], names) for kind in ("won", "qini"))
    order = sorted(names, key=lambda name: -(won[name] or 0.0))
    return HeldOut(effect, expected, fold, tuple(chosen), {n: won[n] for n in order}, {n: qini[n] for n in order})


def _means(figures: Sequence[dict[str, float]], names: Sequence[str]) -> dict[str, float | None]:
    return {name: float(np.mean([f[name] for f in figures])) if figures else None for name in names}


def risk(expected: Vector, value: Vector | None = None) -> Vector:
    """Risk x value, the ranking to beat: the outcome that control leaves out, 1 - P(outcome), times the user's value."""
    missing = 1 - expected[:, CONTROL]
    return np.asarray(missing if value is None else missing * value)
