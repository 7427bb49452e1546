"""Calibration by a straight line in log-odds: probability = sigmoid(slope * margin + intercept).

A straight line keeps reasons additive: every contribution is multiplied by the slope, and the base takes the
intercept. The slope is a property of the model and turns about the mean margin, so that it leaves the mean where it is.
What moves the mean is the shop's base rate, from moment to moment. A model that has learnt from many moments at once is
first anchored on the newest cohort of them (`fitting_shift`); what the base rate did after that cohort is then seen at
each held-out moment, which gets a shift of its own, and of these shifts what lasted is carried on (`lasting_shift`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.errors import DataError
from ebbtide.models.base import Vector, sigmoid
from ebbtide.models.newton import Evaluation, maximise

_SLOPE_REACH, _SHIFT_REACH = 6.0, 20.0
_SLOPE_SPREAD, _TAIL = 0.1, 4.0
_USUAL_SHIFT, _DOUBT = 0.3, 8.0


@dataclass(frozen=True)
class AffineCalibration:
    """slope * margin + intercept, in log-odds; slope > 0, so that the ranking stays.

    >>> AffineCalibration(2.0, 1.0).apply(np.array([0.0, 1.0])).tolist()
    [1.0, 3.0]
    """

    slope: float = 1.0
    intercept: float = 0.0

    def apply(self, margin: Vector) -> Vector:
        """Calibrated log-odds, (N,)."""
        return self.slope * margin + self.intercept

    def apply_to_contributions(self, contributions: Vector) -> Vector:
        """Calibrated terms, (N, F + 1): each row sums to its calibrated log-odds."""
        out = self.slope * contributions
        out[:, -1] += self.intercept
        return out

    def shifted(self, shift: float) -> AffineCalibration:
        """The same slope with the intercept moved by `shift`."""
        return AffineCalibration(self.slope, self.intercept + shift)

    @classmethod
    def fit(cls, margin: Vector, y: Vector, weights: Vector | None = None, *, slope_spread: float = 0.5) -> Self:
        """Maximum likelihood with a weak prior: log slope within `slope_spread` about 0, with a heavy tail; infinity =
        no prior.

        Raises DataError if only one class is there.
        """
        w = np.ones(len(y)) if weights is None else weights
        centre = float(np.average(margin, weights=w)) if w.sum() > 0 else 0.0
        slope, shifts, _ = _fit_line(margin, y, np.zeros(len(y), np.intp), w, centre, slope_spread)
        return cls(slope, (1 - slope) * centre + float(shifts[0]))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**data)


@dataclass(frozen=True)
class ClosedMoment:
    """What a closed moment says: the shift in log-odds that would have fitted it, beside slope, and its standard error.

    `users`: how many were judged; `base_rate`: the share that churned; `predicted`: the mean uncalibrated probability.
    """

    as_of_us: int
    users: int
    base_rate: float
    predicted: float
    shift: float
    error: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def calibrate(
    margin: Vector, y: Vector, as_of_us: NDArray[np.int64], *, slope_spread: float = _SLOPE_SPREAD
) -> tuple[AffineCalibration, list[ClosedMoment]]:
    """Calibrate from honest margins of closed moments, and the history behind it.

    `margin`, `y`, `as_of_us` (N,): rows that the model had not learnt from. One slope for all moments, a shift for each
    of them, of which the lasting part is taken.
    Raises DataError if only one class is there.
    """
    moments, group = np.unique(as_of_us, return_inverse=True)
    centre = float(margin.mean()) if len(margin) else 0.0
    slope, shifts, errors = _fit_line(margin, y, group, np.ones(len(y)), centre, slope_spread)
    history = []
    for k, moment in enumerate(moments):
        own = group == k
        predicted = float(sigmoid(margin[own]).mean())
        rate, users = float(y[own].mean()), int(own.sum())
        history.append(ClosedMoment(int(moment), users, rate, predicted, float(shifts[k]), float(errors[k])))
    return AffineCalibration(settled(slope), settled((1 - slope) * centre + lasting_shift(history))), history


def lasting_shift(history: Sequence[ClosedMoment]) -> float:
    """The shift to expect, given those of closed moments: their mean beside eight moments without any; 0 if none.

    A moment counts less where its standard error is not small beside the usual shift. Mostly a shift does not outlive
    its moment: of four equal ones a third is carried on, of many nearly all.
    """
    weights = [_USUAL_SHIFT**2 / (_USUAL_SHIFT**2 + h.error**2) for h in history]
    return sum(w * h.shift for w, h in zip(weights, history, strict=True)) / (sum(weights) + _DOUBT)


def fitting_shift(margin: Vector, y: Vector) -> float:
    """The shift s that makes sigmoid(margin + s) fit the outcomes best; prior normal(0, 3), which matters where one
    class is missing.

    >>> round(fitting_shift(np.zeros(1000), np.arange(1000) % 4 > 0), 2)  # three of four churned
    1.1
    """

    def posterior(point: Vector) -> Evaluation:
        odds = margin + point[0]
        p = sigmoid(odds)
        value = float(np.sum(y * odds - np.logaddexp(0.0, odds))) - point[0] ** 2 / 18
        gradient, curvature = float(np.sum(y - p)) - point[0] / 9, -float(p @ (1 - p)) - 1 / 9
        return value, np.array([gradient]), np.array([[curvature]])

    reach = np.array([_SHIFT_REACH])
    return settled(float(maximise(posterior, np.zeros(1), -reach, reach).point[0]))


def settled(fitted: float) -> float:
    """A fitted number to nine decimals: the last bits of a search, which hang on how a machine sums, change no score."""
    return round(fitted, 9)


def _fit_line(
    margin: Vector, y: Vector, group: NDArray[np.intp], w: Vector, centre: float, slope_spread: float
) -> tuple[float, Vector, Vector]:
    """A common slope about `centre`, and a shift with its standard error for each group; weights `w` (N,).

    The prior of the log slope is Student's t of scale `slope_spread` with 4 degrees of freedom: a slope near 1 is taken
    for 1, one that is clearly far from it for what it is. The prior of a shift, normal(0, 3), only matters where a
    group has one class.
    """
    _check_two_classes(y, w)
    count, tightness = int(group.max()) + 1, slope_spread**-2.0

    def posterior(point: Vector) -> Evaluation:
        scaled = np.exp(point[0]) * (margin - centre)
        odds = scaled + centre + point[1:][group]
        p = sigmoid(odds)
        residual, weight = w * (y - p), w * p * (1 - p)
        value = float(np.sum(w * (y * odds - np.logaddexp(0.0, odds))))
        gradient = np.r_[residual @ scaled, np.bincount(group, residual, count)]
        cross = -np.bincount(group, weight * scaled, count)
        hessian = np.diag(np.r_[-(weight * scaled) @ scaled + gradient[0], -np.bincount(group, weight, count)])
        hessian[0, 1:] = hessian[1:, 0] = cross
        far = 1 + point[0] ** 2 * tightness / _TAIL
        value -= float(point[1:] @ point[1:]) / 18 + (_TAIL + 1) / 2 * float(np.log(far))
        gradient -= np.r_[(1 + 1 / _TAIL) * tightness * point[0] / far, point[1:] / 9]
        bent = (1 + 1 / _TAIL) * tightness * (2 - far) / far**2
        return value, gradient, hessian - np.diag(np.r_[bent, np.full(count, 1 / 9)])

    reach = np.r_[_SLOPE_REACH, np.full(count, _SHIFT_REACH)]
    found = maximise(posterior, np.zeros(count + 1), -reach, reach)
    spread = np.sqrt(np.diag(np.linalg.inv(-found.hessian + 1e-9 * np.eye(count + 1))))
    return float(np.exp(found.point[0])), found.point[1:], spread[1:]


def _check_two_classes(y: Vector, weights: Vector) -> None:
    churned, total = float(weights @ y), float(weights.sum())
    if not 0 < churned < total:
        raise DataError(
            "calibration needs both churned and retained users: found {churned:,.0f} churned of {total:,.0f}",
            "校准需要同时有流失和留存的用户：{total:,.0f} 位中有 {churned:,.0f} 位流失",
            churned=churned,
            total=total,
        )
