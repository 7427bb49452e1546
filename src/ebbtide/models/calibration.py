"""Calibration by a straight line in log-odds: probability = sigmoid(slope * margin + intercept).

A straight line keeps reasons additive: every contribution is multiplied by the slope, and the base takes the
intercept. The slope is a property of the model and turns about the mean margin, so that it leaves the mean where it is.
What moves the mean is the shop's base rate, from moment to moment, and the newest labels are always one outcome window
old. So each closed moment gets a shift of its own, and the shift at as_of is forecast from them (`forecast_shift`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.errors import DataError
from ebbtide.core.windows import DAY_US
from ebbtide.models.base import Vector, sigmoid
from ebbtide.models.newton import Evaluation, maximise

_SLOPE_REACH, _SHIFT_REACH = 6.0, 20.0
_YEAR_DAYS = 365.25
_LEVEL = 0.05
_DRIFTS = (0.0, 0.03, 0.06, 0.12, 0.25, 0.5)
_MEMORIES = (0.5, 1.0, 2.0, 4.0, 8.0)
_SEASONS = (0.0, 0.1, 0.3)
_USUAL_DRIFT, _USUAL_SEASON = 0.05, 0.1


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
        """Maximum likelihood with a weak prior: log slope ~ normal(0, `slope_spread`); infinity = no prior.

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
    margin: Vector, y: Vector, as_of_us: NDArray[np.int64], *, at_us: int, horizon_us: int, slope_spread: float = 0.5
) -> tuple[AffineCalibration, list[ClosedMoment]]:
    """Calibrate for the moment `at_us` from honest margins of closed moments, and the history behind it.

    `margin`, `y`, `as_of_us` (N,): rows that the model had not learnt from. One slope for all moments, a shift for each
    of them, from which the shift at `at_us` is forecast.
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
    shift = forecast_shift(history, at_us=at_us, horizon_us=horizon_us)
    return AffineCalibration(slope, (1 - slope) * centre + shift), history


def forecast_shift(history: list[ClosedMoment], *, at_us: int, horizon_us: int) -> float:
    """The shift to expect at `at_us`, given the shifts of closed moments; 0 without any.

    A Gaussian process: a small lasting level plus a drift that is forgotten exponentially, plus a yearly season where
    the history spans more than a year. Size and memory of the drift and the size of the season are averaged over,
    weighted by how well they explain the history and by a prior for small ones with a heavy tail. So a lasting shift
    is carried on, one that jumps about is shrunk to nothing, and a far as_of trusts the last moment less than a near
    one. The prior is for small shifts because models are refitted on the newest labels: carrying the newest shift on
    in full did worse than no shift at all on every real log tried.
    """
    if not history:
        return 0.0
    when = np.array([h.as_of_us for h in history], np.float64) / DAY_US
    seen = np.array([h.shift for h in history])
    noise = np.array([h.error for h in history]) ** 2
    target, horizon = at_us / DAY_US, max(horizon_us / DAY_US, 1e-9)
    forecasts, evidence = [], []
    for kernel in _kernels(horizon, seasonal=float(np.ptp(when)) > _YEAR_DAYS):
        between = kernel.covariance(when[:, None] - when[None, :]) + np.diag(noise)
        solved = np.linalg.solve(between, seen)
        forecasts.append(float(kernel.covariance(target - when) @ solved))
        evidence.append(kernel.log_prior - 0.5 * float(seen @ solved) - 0.5 * float(np.linalg.slogdet(between)[1]))
    weight = np.exp(np.array(evidence) - max(evidence))
    return float(weight @ np.array(forecasts) / weight.sum())


@dataclass(frozen=True)
class _Kernel:
    """Covariance of shifts that lie some days apart; spreads in log-odds, `memory` in days."""

    drift: float
    memory: float
    season: float

    @property
    def log_prior(self) -> float:
        """Half-Cauchy on the drift, exponential on the season."""
        return float(-np.log1p((self.drift / _USUAL_DRIFT) ** 2) - self.season / _USUAL_SEASON)

    def covariance(self, days: Vector) -> Vector:
        forgotten = self.drift**2 * np.exp(-np.abs(days) / self.memory)
        yearly = self.season**2 * np.exp(-2 * np.sin(np.pi * days / _YEAR_DAYS) ** 2)
        return np.asarray(_LEVEL**2 + forgotten + yearly)


def _kernels(horizon: float, *, seasonal: bool) -> Iterator[_Kernel]:
    for drift, memory, season in product(_DRIFTS, _MEMORIES, _SEASONS if seasonal else (0.0,)):
        yield _Kernel(drift, memory * horizon, season)


def _fit_line(
    margin: Vector, y: Vector, group: NDArray[np.intp], w: Vector, centre: float, slope_spread: float
) -> tuple[float, Vector, Vector]:
    """A common slope about `centre`, and a shift with its standard error for each group; weights `w` (N,).

    The prior of a shift, normal(0, 3), only matters where a group has one class.
    """
    _check_two_classes(y, w)
    count = int(group.max()) + 1

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
        pull = np.r_[slope_spread**-2.0, np.full(count, 1 / 9)]
        return value - 0.5 * float(pull @ point**2), gradient - pull * point, hessian - np.diag(pull)

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
