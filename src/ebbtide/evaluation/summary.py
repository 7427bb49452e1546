"""Everything that is said about one score on one set of outcomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.settings import ProfitConfig
from ebbtide.evaluation.calibration import CalibrationBin, brier_of, calibration_curve, ece_of, log_loss_of
from ebbtide.evaluation.intervals import Estimate, affordable_draws, draw_weights, row_users
from ebbtide.evaluation.profit import ValuePolicy, empc_of, value_policy
from ebbtide.evaluation.quality import Quality, quality_of
from ebbtide.evaluation.ranking import auroc_of, average_precision_of, gain_of, lift_of
from ebbtide.evaluation.slices import Slice, evaluate_slices
from ebbtide.evaluation.tally import Ranking, Tally, Vector, check_probabilities
from ebbtide.evaluation.threshold import best_f1_threshold, confusion_of

CURVE_SHARES: Vector = np.linspace(0, 1, 51)
_GAIN = "gain_at_{}"
_BIASED = {"ece"}
_METRICS = ("auroc", "average_precision", "log_loss", "brier", "ece", "lift_at_5", "lift_at_10", "lift_at_20")


@dataclass(frozen=True)
class AtThreshold:
    """Decisions when everybody with a probability of at least `threshold` is called a churner; counts are rows."""

    threshold: float
    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    accuracy: Estimate


@dataclass(frozen=True)
class CampaignProfit:
    """What a campaign would earn per user, in shop currency, under `assumptions` (`[profit]`).

    `expected` and `share`: EMPC and the share of users that it targets. The rest is null without a value of each
    user: profit of targeting whoever is expected to pay, by own value; the same number of users by probability
    alone; the share targeted.
    """

    assumptions: ProfitConfig
    expected: Estimate
    share: Estimate
    by_value: Estimate | None
    by_value_blind: Estimate | None
    by_value_share: Estimate | None

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return asdict(self) | {"assumptions": self.assumptions.model_dump()}


@dataclass(frozen=True)
class CurvePoint:
    """One point of the gain curve: among the top `share` of users, the share of all churned users found, and lift."""

    share: float
    gain: Estimate
    lift: float | None


@dataclass(frozen=True)
class Evaluation:
    """All figures of one score, each with its 95 % bootstrap interval by user.

    `metrics` has auroc, average_precision, log_loss, brier, ece, lift_at_5, lift_at_10 and lift_at_20. `draws` is
    the number of draws that were made (fewer than wanted on many rows). Undefined figures are null.
    """

    rows: int
    users: int
    churned: int
    base_rate: Estimate
    mean_probability: float
    draws: int
    metrics: dict[str, Estimate]
    at_threshold: AtThreshold
    profit: CampaignProfit
    curve: tuple[CurvePoint, ...]
    calibration: tuple[CalibrationBin, ...]
    slices: tuple[Slice, ...]
    quality: Quality

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields: numbers, texts, lists and null, never NaN."""
        return asdict(self) | {"profit": self.profit.to_json()}


def evaluate(
    y: NDArray[Any],
    p: NDArray[Any],
    *,
    user: NDArray[Any] | None = None,
    value: NDArray[Any] | None = None,
    groups: Mapping[str, NDArray[Any]] | None = None,
    profit: ProfitConfig | None = None,
    threshold: float | None = None,
    draws: int = 300,
    seed: int = 0,
) -> Evaluation:
    """Judge probabilities `p` (N,) against outcomes `y` (N,), 1 churned, 0 retained.

    `user` (N,) names the user of each row (default: each row its own); intervals draw users. `value` (N,) is what
    each user is worth, NaN unknown. `groups`: name -> label of each row, for slices. `threshold`: where decisions
    are made (default: where F1 is highest). With one class only, ranking figures are null.

    Row order changes nothing. Raises InputError on empty or unfit arrays.
    """
    check_probabilities(p)
    assumptions = profit or ProfitConfig()
    ranking = Ranking(y, p)
    users = row_users(np.asarray(p), np.asarray(y)) if user is None else np.asarray(user)
    made = affordable_draws(draws, len(users))
    whole = ranking.count()
    cut = best_f1_threshold(whole) if threshold is None else threshold
    policy = None if value is None else value_policy(y, p, value, assumptions)

    point = _figures(whole, whole, cut, assumptions) | _value_figures(policy, np.ones((1, len(users))))
    cells = ranking.merged(keep=cut)
    bins = cells.count()
    drawn = [
        _figures(cells.count(w), bins, cut, assumptions) | _value_figures(policy, w)
        for w in draw_weights(users, draws=made, seed=seed)
    ]
    figures = {name: _estimate(name, figure, [d[name] for d in drawn]) for name, figure in point.items()}
    return Evaluation(
        rows=len(users),
        users=len(np.unique(users)),
        churned=int(whole.churned.sum()),
        base_rate=figures["base_rate"],
        mean_probability=float(np.mean(p)),
        draws=made,
        metrics={name: figures[name] for name in _METRICS},
        at_threshold=_at_threshold(whole, cut, figures),
        profit=_campaign(assumptions, figures),
        curve=_curve(figures),
        calibration=calibration_curve(y, p),
        slices=evaluate_slices(np.asarray(y), np.asarray(p), users, groups or {}, draws=made, seed=seed),
        quality=quality_of(figures["auroc"], figures["ece"]),
    )


def _figures(t: Tally, whole: Tally, threshold: float, profit: ProfitConfig) -> dict[str, Vector]:
    """Every figure of each draw, name -> (D,)."""
    confusion = confusion_of(t, threshold)
    earned, share = empc_of(t, profit)
    gains = gain_of(t, CURVE_SHARES)
    return {
        "base_rate": t.churned.sum(1) / t.total.sum(1),
        "auroc": auroc_of(t),
        "average_precision": average_precision_of(t),
        "log_loss": log_loss_of(t),
        "brier": brier_of(t),
        "ece": ece_of(t, reference=whole),
        "lift_at_5": lift_of(t, 0.05),
        "lift_at_10": lift_of(t, 0.10),
        "lift_at_20": lift_of(t, 0.20),
        "precision": confusion.precision,
        "recall": confusion.recall,
        "f1": confusion.f1,
        "accuracy": confusion.accuracy,
        "empc": earned,
        "empc_share": share,
        **{_GAIN.format(i): gains[:, i] for i in range(len(CURVE_SHARES))},
    }


def _value_figures(policy: ValuePolicy | None, weights: Vector) -> dict[str, Vector]:
    if policy is None:
        return {}
    return dict(zip(("by_value", "by_value_blind", "by_value_share"), policy.profit_of(weights), strict=True))


def _estimate(name: str, point: Vector, draws: list[Vector]) -> Estimate:
    make = Estimate.of_biased if name in _BIASED else Estimate.of
    return make(float(point[0]), np.concatenate(draws))


def _at_threshold(whole: Tally, threshold: float, figures: Mapping[str, Estimate]) -> AtThreshold:
    counts = confusion_of(whole, threshold)
    return AtThreshold(
        threshold,
        int(counts.true_positive[0]),
        int(counts.false_positive[0]),
        int(counts.false_negative[0]),
        int(counts.true_negative[0]),
        *(figures[name] for name in ("precision", "recall", "f1", "accuracy")),
    )


def _campaign(assumptions: ProfitConfig, figures: Mapping[str, Estimate]) -> CampaignProfit:
    by_value = [figures.get(name) for name in ("by_value", "by_value_blind", "by_value_share")]
    return CampaignProfit(assumptions, figures["empc"], figures["empc_share"], *by_value)


def _curve(figures: Mapping[str, Estimate]) -> tuple[CurvePoint, ...]:
    points = []
    for i, share in enumerate(CURVE_SHARES.tolist()):
        gain = figures[_GAIN.format(i)]
        points.append(CurvePoint(share, gain, None if gain.value is None or not share else gain.value / share))
    return tuple(points)
