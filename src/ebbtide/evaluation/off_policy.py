"""What another policy would have earned, told from the log of the policy that ran.

For each logged decision: the reward, the chance with which the logging policy took that very action, and the chance
with which the new policy would have taken it. The ratio of the two is the weight of the decision.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ebbtide.core.errors import DataError, InputError
from ebbtide.evaluation.intervals import Estimate
from ebbtide.evaluation.tally import Vector

_Z = 1.959963984540054
_FAR = 4.0
"""Standard errors by which a mean weight may miss 1 before the chances are said not to fit."""


@dataclass(frozen=True)
class Decisions:
    """N logged decisions, each array (N,).

    `expected` is a model's reward of the logged action, `expected_new` its mean reward under the new policy; both
    from a model that has not seen the row (cross-fitted). Without a model both are None.
    """

    reward: Vector
    propensity: Vector
    target: Vector
    expected: Vector | None = None
    expected_new: Vector | None = None

    def __post_init__(self) -> None:
        sound = np.isfinite(self.propensity) & (self.propensity > 0) & (self.propensity <= 1)
        possible = np.isfinite(self.target) & (self.target >= 0) & (self.target <= 1)
        if not (sound.all() and possible.all()):
            raise InputError(
                "{bad:,} of {all:,} logged decisions have no usable chance: a logged propensity lies in (0, 1], that of "
                "the new policy in [0, 1]; leave those rows out or log propensities",
                "{all:,} 条决策记录中有 {bad:,} 条没有可用概率：记录的倾向值应在 (0, 1] 内，新策略的概率应在 [0, 1] 内；"
                "请去掉这些行，或记录倾向值",
                bad=int((~(sound & possible)).sum()),
                all=len(sound),
            )

    @property
    def weight(self) -> Vector:
        """Chance under the new policy over chance under the old one, (N,)."""
        return self.target / self.propensity


@dataclass(frozen=True)
class PolicyValue:
    """Mean reward a decision under the logging policy (`logged`) and, four times over, under the new one.

    `ips`: weighted mean; `snips`: the same over the mean weight; `dm`: the model alone (its interval leaves out the
    error of the model, so it is too narrow); `dr`: the model, corrected by the weighted residuals. `effective` is the
    effective number of decisions, `(sum w)^2 / sum w^2`; `mean_weight` is about 1 if the chances fit the log.

    Sources: Horvitz and Thompson 1952; Swaminathan and Joachims 2015 (SNIPS); Dudik, Langford, Li 2011 (DR);
    Kong 1992 (effective size).
    """

    decisions: int
    effective: float
    mean_weight: float
    weights_fit: bool
    logged: Estimate
    ips: Estimate
    snips: Estimate
    dm: Estimate
    dr: Estimate

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return asdict(self)


def policy_value(decisions: Decisions, *, floor: float = 0.0) -> PolicyValue:
    """Estimate the mean reward of the new policy, with normal 95 % intervals.

    >>> logged = Decisions(np.array([1.0, 0.0]), np.array([0.5, 0.5]), np.array([0.5, 0.5]))
    >>> value = policy_value(logged)
    >>> value.ips.value, value.effective
    (0.5, 2.0)

    Raises DataError if the effective number of decisions is below `floor`: then no figure would mean anything.
    """
    w, r = decisions.weight, decisions.reward
    effective = float(w.sum() ** 2 / (w**2).sum()) if w.any() else 0.0
    check_effective(effective, len(w), floor)
    mean_weight = float(w.mean())
    ratio = float((w * r).sum() / w.sum()) if w.any() else math.nan
    dm = dr = Estimate(None, None, None)
    if decisions.expected is not None and decisions.expected_new is not None:
        dm = _mean(decisions.expected_new)
        dr = _mean(decisions.expected_new + w * (r - decisions.expected))
    return PolicyValue(
        decisions=len(w),
        effective=effective,
        mean_weight=mean_weight,
        weights_fit=abs(mean_weight - 1) <= _FAR * _error(w),
        logged=_mean(r),
        ips=_mean(w * r),
        snips=_around(ratio, _error(w * (r - ratio)) / mean_weight if mean_weight else math.nan),
        dm=dm,
        dr=dr,
    )


def check_effective(effective: float, decisions: int, floor: float) -> None:
    """Raise DataError if too few decisions of the log speak for the new policy."""
    if effective >= floor:
        return
    raise DataError(
        "the log cannot answer for this policy: its {decisions:,} decisions are worth {effective:,.0f} under it, fewer "
        "than {floor:,.0f}; log a policy that takes its actions more often, or test it in a campaign",
        "日志无法回答此策略：其 {decisions:,} 条决策对该策略仅相当于 {effective:,.0f} 条，少于 {floor:,.0f} 条；"
        "请记录更常采取这些动作的策略，或用活动来检验",
        decisions=decisions,
        effective=effective,
        floor=floor,
    )


def _mean(x: Vector) -> Estimate:
    return _around(float(x.mean()) if len(x) else math.nan, _error(x))


def _error(x: Vector) -> float:
    return float(np.std(x, ddof=1)) / math.sqrt(len(x)) if len(x) > 1 else math.nan


def _around(value: float, error: float) -> Estimate:
    if not math.isfinite(value):
        return Estimate(None, None, None)
    if not math.isfinite(error):
        return Estimate(value, None, None)
    return Estimate(value, value - _Z * error, value + _Z * error)
