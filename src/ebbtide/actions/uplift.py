"""Uplift judged: how well held-out effects rank users, what policies would bring, and whether the ranking is to be used.

The ranking by effect is followed only where, on users who had no part in learning or choosing, it wins with confidence
both over treating everyone alike and over the ranking by risk x value: over all of them, and again, with a one-sided
confidence of 90 %, among the users of every fold alone. What changes how money is spent must be found again on other users, by
what was learnt without them. Otherwise risk x value is followed, and which condition failed is said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebbtide.actions.choosing import HeldOut, risk
from ebbtide.actions.trial import CONTROL, Trial
from ebbtide.core.language import Text
from ebbtide.evaluation.intervals import Estimate
from ebbtide.evaluation.policy_value import doubly_robust_scores, means_with_intervals, targeting_terms, top_choice
from ebbtide.evaluation.uplift import UpliftFigures, evaluate_uplift, random_qini
from ebbtide.models.base import Vector

BUDGETS = (0.1, 0.2, 0.3, 0.5, 1.0)
FOLD_LEVEL = 0.8
"""Of the intervals of one fold; their lower ends are one-sided bounds of 90 %."""
_FOLLOW = Text(
    "the ranking by effect wins over treating everyone alike and over risk x value, in all users and in each of {folds} parts "
    "alone: use it",
    "按效应排序优于一视同仁，也优于风险 x 价值，在全体用户中如此，在 {folds} 个部分中各自也如此：建议使用",
)
_NOT_EVERYONE = Text("no ranking beats everyone with confidence", "没有任何排序能有把握地优于一视同仁")
_NOT_RISK = Text("no ranking beats risk x value with confidence", "没有任何排序能有把握地优于风险 x 价值")
_ALONE = Text(
    ": the one by effect does so over all users, but alone in {won} of {folds} parts of them only",
    "：按效应排序在全体用户中如此，但单独看只在 {folds} 个部分中的 {won} 个如此",
)
_FALL_BACK = Text("; fall back to risk x value", "；退回到风险 x 价值")


@dataclass(frozen=True)
class Win:
    """How much more the ranking by effect brings than another policy: the area between gain curves, averaged over all
    budgets, in outcomes per user. overall: all users, with a 95 % interval; folds: the users of each outer fold ranked
    among themselves by what was learnt and chosen without them, with 80 % intervals."""

    overall: Estimate
    folds: tuple[Estimate, ...]

    @property
    def alone(self) -> int:
        """In how many folds the interval lies above 0."""
        return sum(map(_is_above_zero, self.folds))

    @property
    def is_sure(self) -> bool:
        """Whether the interval lies above 0 over all users and in each fold."""
        return _is_above_zero(self.overall) and self.alone == len(self.folds)

    @property
    def doubt(self) -> Text:
        """Where it wins if not everywhere; empty where it does not win over all users either."""
        if not _is_above_zero(self.overall):
            return Text("", "")
        return _ALONE.format(won=self.alone, folds=len(self.folds))


@dataclass(frozen=True)
class Budget:
    """What contacting a share of users brings per user of all, over contacting nobody: by the ranking of effects, by
    risk x value with the arm that is best on average, by chance with that arm; `more`: effects less risk."""

    share: float
    effect: Estimate
    risk: Estimate
    chance: Estimate
    more: Estimate

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        told = {name: getattr(self, name).to_json() for name in ("effect", "risk", "chance", "more")}
        return {"share": self.share, **told}


@dataclass(frozen=True)
class Judgement:
    """figures: by treatment; random: Qini of rankings that know nothing, by treatment. over_everyone, over_risk: what the
    ranking by effect wins over treating everyone alike, and over risk x value."""

    figures: dict[str, UpliftFigures]
    random: dict[str, Estimate]
    budgets: tuple[Budget, ...]
    over_everyone: Win
    over_risk: Win
    held_out: HeldOut

    @property
    def beats_everyone(self) -> bool:
        """Whether it wins over treating everyone alike, over all users and in each fold."""
        return self.over_everyone.is_sure

    @property
    def beats_risk(self) -> bool:
        """Whether it wins over the ranking by risk x value, over all users and in each fold."""
        return self.over_risk.is_sure

    @property
    def is_followed(self) -> bool:
        """Whether users are to be ranked by effect."""
        return self.beats_everyone and self.beats_risk

    @property
    def verdict(self) -> Text:
        """What to do, in words; which condition failed, if one did."""
        if not self.beats_everyone:
            return _NOT_EVERYONE + self.over_everyone.doubt + _FALL_BACK
        if not self.beats_risk:
            return _NOT_RISK + self.over_risk.doubt + _FALL_BACK
        return _FOLLOW.format(folds=len(self.over_everyone.folds))

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {
            "treatments": {name: f.to_json() for name, f in self.figures.items()},
            "random_qini": {name: e.to_json() for name, e in self.random.items()},
            "budgets": [b.to_json() for b in self.budgets],
            "over_everyone": self.over_everyone.overall.to_json(),
            "over_risk": self.over_risk.overall.to_json(),
            "fold_level": FOLD_LEVEL,
            "folds": [
                {"over_everyone": everyone.to_json(), "over_risk": by_risk.to_json()}
                for everyone, by_risk in zip(self.over_everyone.folds, self.over_risk.folds, strict=True)
            ],
            "beats_everyone": self.beats_everyone,
            "beats_risk_x_value": self.beats_risk,
            "follow": "effect" if self.is_followed else "risk_x_value",
            "verdict": self.verdict.en,
            "learners": self.held_out.to_json(),
        }


def judge(trial: Trial, held: HeldOut, *, value: Vector | None = None, seed: int = 0) -> Judgement:
    """Judge held-out effects. value (N,): what an outcome of the user is worth; default 1 each."""
    worth = np.ones(len(trial)) if value is None else value
    scores = doubly_robust_scores(trial.y, trial.arm, trial.propensity, held.expected) * worth[:, None]
    effect = held.effect * worth[:, None]
    at_risk = risk(held.expected, worth)
    best = np.full(len(trial), 1 + int(np.argmax((scores[:, 1:] - scores[:, :1]).mean(axis=0))))
    figures, chance = {}, {}
    for t in trial.treatments:
        rows = trial.between(t)
        y, on = trial.y[rows] * worth[rows], trial.arm[rows] == t
        weight = trial.weight[rows]
        even = bool(np.allclose(weight, 1.0))
        figures[trial.arms[t]] = evaluate_uplift(
            y, effect[rows, t - 1], on, weight=None if even else weight, user=trial.user[rows], seed=seed
        )
        chance[trial.arms[t]] = random_qini(y, on, seed=seed)
    parts = [_budget_terms(scores, effect, at_risk, best, share) for share in BUDGETS]
    terms = np.column_stack([_won(scores, effect, at_risk, best), *parts])
    everyone, by_risk, *rest = means_with_intervals(terms, user=trial.user, seed=seed)
    folds = [
        means_with_intervals(
            _won(scores[r], effect[r], at_risk[r], best[r]), user=trial.user[r], seed=seed, level=FOLD_LEVEL
        )
        for r in (held.fold == number for number in np.unique(held.fold))
    ]
    return Judgement(
        figures=figures,
        random=chance,
        budgets=tuple(Budget(share, *rest[4 * n : 4 * n + 4]) for n, share in enumerate(BUDGETS)),
        over_everyone=Win(everyone, tuple(f[0] for f in folds)),
        over_risk=Win(by_risk, tuple(f[1] for f in folds)),
        held_out=held,
    )


def _won(scores: Vector, effect: Vector, at_risk: Vector, best: NDArray[np.int64]) -> Vector:
    """What each user adds to the win over everyone and over risk x value, (N, 2)."""
    by_effect = targeting_terms(scores, effect.max(axis=1), effect.argmax(axis=1) + 1)
    return np.column_stack([by_effect, by_effect - targeting_terms(scores, at_risk, best)])


def _budget_terms(scores: Vector, effect: Vector, at_risk: Vector, best: NDArray[np.int64], share: float) -> Vector:
    """What each user adds to the four figures of a `Budget`, (N, 4)."""
    rows = np.arange(len(scores))
    size = int(np.floor(share * len(scores) + 1e-9))
    riskiest = np.zeros(len(scores), np.int64)
    top = np.argsort(-at_risk, kind="stable")[:size]
    riskiest[top] = best[top]
    gain = scores - scores[:, [CONTROL]]
    own, by_risk = gain[rows, top_choice(effect, share)], gain[rows, riskiest]
    return np.column_stack([own, by_risk, share * gain[rows, best], own - by_risk])


def _is_above_zero(figure: Estimate) -> bool:
    return figure.low is not None and figure.low > 0
