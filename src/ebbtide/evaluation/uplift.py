"""How well a score finds the users whom a treatment changes: Qini, AUUC, uplift at the top, by decile.

Functions named `..._of` take an `UpliftTally` and answer once a draw, (D,); the others take outcomes, scores and arms.
All compare treated with untreated users along one ranking, so they are honest only where the arm was assigned by
chance. Curves and their normalisation are those of scikit-uplift 0.5 (`qini_auc_score`, `uplift_auc_score`).
Source: Radcliffe 2007, "Using control groups to target on predicted lift"; Devriendt, Guns and Verbeke 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebbtide.evaluation.intervals import Estimate, affordable_draws, draw_weights, row_users
from ebbtide.evaluation.tally import Vector, ratio
from ebbtide.evaluation.uplift_tally import UpliftRanking, UpliftTally

DECILES = np.arange(11) / 10
TOP_SHARES = (0.1, 0.2, 0.3)


def qini(y: NDArray[Any], score: NDArray[Any], treated: NDArray[Any]) -> float:
    """Area between the Qini curve and the straight line, over the same area of the perfect curve.

    The curve at the top n users is the outcomes won: `Y_t - Y_c N_t / N_c`. Perfect: treated users with the outcome
    first, untreated ones with it last. 0: a random ranking; 1: perfect; NaN where nothing can be won.

    >>> qini(np.array([1, 0, 0, 1]), np.array([0.9, 0.8, 0.2, 0.1]), np.array([1, 0, 1, 0]))
    1.0
    """
    return float(qini_of(*_counted(y, score, treated, perfect_qini(y, treated)))[0])


def auuc(y: NDArray[Any], score: NDArray[Any], treated: NDArray[Any]) -> float:
    """The same with the uplift curve, `(Y_t / N_t - Y_c / N_c) (N_t + N_c)`; normalised likewise.

    >>> auuc(np.array([1, 0, 0, 1]), np.array([0.9, 0.8, 0.2, 0.1]), np.array([1, 0, 1, 0]))
    1.0
    """
    return float(auuc_of(*_counted(y, score, treated, perfect_uplift(y, treated)))[0])


def uplift_at(y: NDArray[Any], score: NDArray[Any], treated: NDArray[Any], *, share: float) -> float:
    """Mean outcome of the treated less that of the untreated among the top `share` of users; ties share their average.

    NaN where one arm has nobody there. `share=1` is the average effect of the treatment.

    >>> uplift_at(np.array([1, 0, 0, 1]), np.array([0.9, 0.8, 0.2, 0.1]), np.array([1, 0, 1, 0]), share=0.5)
    1.0
    """
    counted = UpliftRanking(y, score, treated).count()
    return float(mean_difference(counted.at(np.array([share])))[0, 0])


def perfect_qini(y: NDArray[Any], treated: NDArray[Any]) -> Vector:
    """The score that no ranking can beat by Qini: the outcome of the treated, less that of the untreated."""
    outcome, arm = np.asarray(y, np.float64), np.asarray(treated, np.float64)
    return outcome * arm - outcome * (1 - arm)


def perfect_uplift(y: NDArray[Any], treated: NDArray[Any]) -> Vector:
    """The score that no ranking can beat by AUUC; for money, which has no such form, that of Qini."""
    outcome, arm = np.asarray(y, np.float64), np.asarray(treated, np.float64)
    if not np.all((outcome == 0) | (outcome == 1)):
        return perfect_qini(y, treated)
    won_anyway, not_won = np.sum((outcome == 1) & (arm == 0)), np.sum((outcome == 0) & (arm == 1))
    return np.asarray(2.0 * (outcome == arm) + (outcome if won_anyway > not_won else arm))


def qini_of(counted: UpliftTally, perfect: UpliftTally) -> Vector:
    """Qini of each draw, (D,)."""
    return ratio(_area(counted, _won(counted)), _area(perfect, _won(perfect)))


def auuc_of(counted: UpliftTally, perfect: UpliftTally) -> Vector:
    """AUUC of each draw, (D,)."""
    return ratio(_area(counted, _uplifted(counted)), _area(perfect, _uplifted(perfect)))


def mean_difference(totals: UpliftTally) -> Vector:
    """Mean outcome of the treated less that of the untreated, of each draw and place; NaN where an arm is empty."""
    return ratio(totals.treated_y, totals.treated) - ratio(totals.control_y, totals.control)


def by_part(totals: UpliftTally) -> UpliftTally:
    """What lies between neighbouring places: (D, K) running totals become (D, K - 1) parts."""
    return UpliftTally(*(np.diff(t) for t in (totals.treated, totals.control, totals.treated_y, totals.control_y)))


@dataclass(frozen=True)
class UpliftFigures:
    """Every uplift metric of one score with its interval. average: the effect on all. at: by share of users from the
    top, not cumulated in `deciles`, which begins with the top tenth."""

    rows: int
    treated: int
    average: Estimate
    qini: Estimate
    auuc: Estimate
    at: dict[float, Estimate]
    deciles: tuple[Estimate, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {
            "rows": self.rows,
            "treated": self.treated,
            "average": self.average.to_json(),
            "qini": self.qini.to_json(),
            "auuc": self.auuc.to_json(),
            "uplift_at": {f"{share:g}": e.to_json() for share, e in self.at.items()},
            "deciles": [e.to_json() for e in self.deciles],
        }


def evaluate_uplift(
    y: NDArray[Any],
    score: NDArray[Any],
    treated: NDArray[Any],
    *,
    weight: NDArray[Any] | None = None,
    user: NDArray[Any] | None = None,
    draws: int = 300,
    seed: int = 0,
) -> UpliftFigures:
    """All metrics with 95 % bootstrap intervals by user. `user` (N,) names whose a row is; without it each row is one.

    Row order does not matter. Raises InputError as `UpliftRanking` says.
    """
    rankings = [
        UpliftRanking(y, s, treated, weight) for s in (score, perfect_qini(y, treated), perfect_uplift(y, treated))
    ]
    users = row_users(*(np.asarray(c) for c in (y, treated, score))) if user is None else user

    def figures(weights: Vector | None) -> Vector:
        counted, for_qini, for_auuc = (r.count(weights) for r in rankings)
        top = mean_difference(counted.at(np.r_[1.0, TOP_SHARES]))
        parts = mean_difference(by_part(counted.at(DECILES)))
        return np.column_stack([qini_of(counted, for_qini), auuc_of(counted, for_auuc), top, parts])

    value = figures(None)[0]
    times = affordable_draws(draws, len(users))
    drawn = np.concatenate([figures(w) for w in draw_weights(users, draws=times, seed=seed)])
    told = [Estimate.of(v, d) for v, d in zip(value, drawn.T, strict=True)]
    first = 3 + len(TOP_SHARES)
    return UpliftFigures(
        rows=len(users),
        treated=int(np.sum(np.asarray(treated) == 1)),
        average=told[2],
        qini=told[0],
        auuc=told[1],
        at=dict(zip(TOP_SHARES, told[3:first], strict=True)),
        deciles=tuple(told[first:]),
    )


def qini_difference(
    y: NDArray[Any],
    p: NDArray[Any],
    q: NDArray[Any],
    treated: NDArray[Any],
    *,
    user: NDArray[Any] | None = None,
    draws: int = 300,
    seed: int = 0,
) -> Estimate:
    """How much higher the Qini of score `p` is than that of score `q` on the same rows, with its 95 % interval."""
    one, other, best = (UpliftRanking(y, s, treated) for s in (p, q, perfect_qini(y, treated)))
    users = row_users(*(np.asarray(c) for c in (y, treated, q, p))) if user is None else user

    def difference(weights: Vector | None) -> Vector:
        perfect = best.count(weights)
        return qini_of(one.count(weights), perfect) - qini_of(other.count(weights), perfect)

    times = affordable_draws(draws, len(users))
    drawn = np.concatenate([difference(w) for w in draw_weights(users, draws=times, seed=seed)])
    return Estimate.of(float(difference(None)[0]), drawn)


def random_qini(y: NDArray[Any], treated: NDArray[Any], *, draws: int = 200, seed: int = 0) -> Estimate:
    """Where the Qini of rankings that know nothing lies: the middle 95 % of `draws` random orders, and their mean."""
    rng = np.random.default_rng(seed)
    perfect = UpliftRanking(y, perfect_qini(y, treated), treated).count()
    found = np.array(
        [
            qini_of(UpliftRanking(y, rng.random(len(np.asarray(y))), treated).count(), perfect)[0]
            for _ in range(affordable_draws(draws, len(np.asarray(y))))
        ]
    )
    return Estimate.of(float(found.mean()), found)


def _counted(
    y: NDArray[Any], score: NDArray[Any], treated: NDArray[Any], perfect: Vector
) -> tuple[UpliftTally, UpliftTally]:
    return UpliftRanking(y, score, treated).count(), UpliftRanking(y, perfect, treated).count()


def _won(t: UpliftTally) -> Vector:
    """The Qini curve, (D, G + 1)."""
    return t.treated_y - t.control_y * np.nan_to_num(ratio(t.treated, t.control))


def _uplifted(t: UpliftTally) -> Vector:
    """The uplift curve, (D, G + 1)."""
    treated, control = (np.nan_to_num(ratio(a, b)) for a, b in ((t.treated_y, t.treated), (t.control_y, t.control)))
    return np.asarray((treated - control) * t.users)


def _area(t: UpliftTally, curve: Vector) -> Vector:
    """Area between a curve and the straight line to its end, (D,)."""
    users = t.users
    return np.asarray(np.trapezoid(curve, users, axis=1) - users[:, -1] * curve[:, -1] / 2)
