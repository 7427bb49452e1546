"""Columns on a scale where a straight line makes sense: signed logarithm, clipped, standardised, missing kept apart.

Counts, money and days are skewed, so each value v becomes u = sign(v) log(1 + |v|), clipped to the range of the
training rows (0.1 % at either end left out). A column's effect is a straight line in u, or, with knots, a line that
may bend at a few quantiles; a missing value has an effect of its own. Each column stays one additive term, so its
contribution to a score is exact.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.models.base import Matrix, Vector

_TAIL = 0.001
_SAMPLE_ROWS = 100_000
_LEAST_MISSING_SCALE = 0.1


@dataclass(frozen=True)
class Basis:
    """How F columns become standardised regressors; fitted on training rows. K knots a column, perhaps 0.

    low, high, mean, scale, missing_mean, missing_scale (F,); knots, hinge_mean, hinge_scale (F, K).
    A scale of 0 marks a regressor that is constant in training: it is left out of the design.
    """

    low: Vector
    high: Vector
    mean: Vector
    scale: Vector
    missing_mean: Vector
    missing_scale: Vector
    knots: Vector
    hinge_mean: Vector
    hinge_scale: Vector

    @classmethod
    def fit(cls, X: Matrix, knots: int = 0) -> Self:
        """Learn ranges, centres and scales from X (N, F); from an even sample of its rows when there are many."""
        sample = X[:: -(-len(X) // _SAMPLE_ROWS)] if len(X) else X
        width = X.shape[1]
        shares = np.linspace(0, 1, knots + 2)[1:-1]
        out = {name: np.zeros(width) for name in ("low", "high", "mean", "scale", "missing_mean", "missing_scale")}
        hinges = {name: np.zeros((width, knots)) for name in ("knots", "hinge_mean", "hinge_scale")}
        for j in range(width):
            u = signed_log(sample[:, j])
            missing = np.isnan(u)
            out["missing_mean"][j] = missing.mean() if len(u) else 0.0
            if missing.any() and not missing.all():
                out["missing_scale"][j] = max(float(missing.std()), _LEAST_MISSING_SCALE)
            u = u[~missing]
            if len(u) == 0:
                continue
            low, high, *inner = np.quantile(u, [_TAIL, 1 - _TAIL, *shares])
            u = np.clip(u, low, high)
            out["low"][j], out["high"][j], out["mean"][j] = low, high, u.mean()
            out["scale"][j] = _spread(u)
            for k, knot in enumerate(inner):
                bent = np.maximum(u - knot, 0.0)
                hinges["knots"][j, k], hinges["hinge_mean"][j, k] = knot, bent.mean()
                hinges["hinge_scale"][j, k] = _spread(bent)
        return cls(**out, **hinges)

    @property
    def regressors(self) -> int:
        """P, the number of regressors that vary in training."""
        return int(sum((s > 0).sum() for s in (self.scale, self.missing_scale, self.hinge_scale)))

    def design(self, X: Matrix) -> NDArray[np.float32]:
        """The regressors, (N, P): the lines of all columns, then what is missing, then the hinges."""
        line, gap, bend = self._places()
        out = np.zeros((len(X), self.regressors), np.float32)
        _design(
            np.ascontiguousarray(X),
            (self.low, self.high),
            (line, self.mean, _inverse(self.scale)),
            (gap, self.missing_mean, _inverse(self.missing_scale)),
            (bend, self.hinge_mean, _inverse(self.hinge_scale)),
            self.knots,
            out,
        )
        return out

    def terms(self, coefficients: Vector, intercept: float) -> Terms:
        """The additive terms that a linear model on `design` amounts to."""
        spread = np.r_[coefficients, 0.0]
        line, gap, bends = (spread[places] for places in self._places())
        line, gap = line * _inverse(self.scale), gap * _inverse(self.missing_scale)
        bends = bends * _inverse(self.hinge_scale)
        present = -line * self.mean - gap * self.missing_mean - (bends * self.hinge_mean).sum(axis=1)
        return Terms(self.low, self.high, present, line, self.knots, bends, gap * (1 - self.missing_mean), intercept)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {k: v.tolist() for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        width = len(data["low"])
        flat = {k: np.array(v, np.float64) for k, v in data.items()}
        return cls(
            **{k: v.reshape(width, -1) if k in ("knots", "hinge_mean", "hinge_scale") else v for k, v in flat.items()}
        )

    def owners(self) -> NDArray[np.int64]:
        """The column that each regressor of the design belongs to, (P,)."""
        scales = (self.scale, self.missing_scale, self.hinge_scale)
        columns = [np.broadcast_to(np.arange(len(s)).reshape(-1, *[1] * (s.ndim - 1)), s.shape)[s > 0] for s in scales]
        return np.concatenate(columns).astype(np.int64)

    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Where each regressor stands in the design: line (F,), missing (F,), hinges (F, K); -1 = left out."""
        scales = (self.scale, self.missing_scale, self.hinge_scale)
        varies = np.concatenate([s.ravel() > 0 for s in scales])
        place = np.where(varies, np.cumsum(varies) - 1, -1)
        width = len(self.scale)
        return place[:width], place[width : 2 * width], place[2 * width :].reshape(self.hinge_scale.shape)


@dataclass(frozen=True)
class Terms:
    """One additive term a column: start + slope * u + sum of bends * max(u - knot, 0), or `missing`; plus `base`.

    low, high, start, slope, missing (F,); knots, bends (F, K).
    """

    low: Vector
    high: Vector
    start: Vector
    slope: Vector
    knots: Vector
    bends: Vector
    missing: Vector
    base: float

    def contributions(self, X: Matrix) -> Vector:
        """The terms of each row and the base, (N, F + 1)."""
        out = np.empty((len(X), X.shape[1] + 1))
        X = np.ascontiguousarray(X)
        _terms(X, self.low, self.high, self.start, self.slope, self.knots, self.bends, self.missing, out)
        out[:, -1] = self.base
        return out

    def margin(self, X: Matrix) -> Vector:
        """The sum of the terms, (N,)."""
        X = np.ascontiguousarray(X)
        return np.asarray(
            _margin(X, self.low, self.high, self.start, self.slope, self.knots, self.bends, self.missing, self.base)
        )

    def centred(self, X: Matrix) -> Terms:
        """The same margins, with every term's mean over X moved into the base."""
        means = np.zeros(X.shape[1])
        for chunk in range(0, len(X), _SAMPLE_ROWS):
            means += self.contributions(X[chunk : chunk + _SAMPLE_ROWS])[:, :-1].sum(axis=0) / len(X)
        base = self.base + float(means.sum())
        return replace(self, start=self.start - means, missing=self.missing - means, base=base)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        columns = len(data["low"])
        flat = {k: np.array(v, np.float64) for k, v in data.items() if k != "base"}
        grids = {k: flat[k].reshape(columns, -1) for k in ("knots", "bends")}
        return cls(**{**flat, **grids}, base=float(data["base"]))


def signed_log(values: Matrix) -> Vector:
    """sign(v) log(1 + |v|), (N,); NaN stays.

    >>> signed_log(np.array([0.0, np.e - 1, 1 - np.e], np.float32)).round(6).tolist()
    [0.0, 1.0, -1.0]
    """
    v = values.astype(np.float64)
    return np.asarray(np.copysign(np.log(1.0 + np.abs(v)), v))  # three times faster than log1p, and as good here


def _spread(u: Vector) -> float:
    """Standard deviation; 0 when it is only rounding."""
    spread = float(u.std())
    return spread if spread > 1e-6 * max(1.0, float(np.abs(u).max())) else 0.0


def _inverse(scale: Vector) -> Vector:
    return np.asarray(np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0))


_Scaled = tuple[NDArray[np.int64], Vector, Vector]
"""Place in the design, centre, inverse scale of a set of regressors."""


@njit(cache=True)
def _design(
    X: Matrix,
    edges: tuple[Vector, Vector],
    line: _Scaled,
    gap: _Scaled,
    bend: _Scaled,
    knots: Vector,
    out: NDArray[np.float32],
) -> None:
    (low, high), (line_at, line_mean, line_by), (gap_at, gap_mean, gap_by) = edges, line, gap
    bend_at, bend_mean, bend_by = bend
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            v = float(X[i, j])
            missing = np.isnan(v)
            if gap_at[j] >= 0:
                out[i, gap_at[j]] = ((1.0 if missing else 0.0) - gap_mean[j]) * gap_by[j]
            if missing or line_at[j] < 0:
                continue
            u = min(max(np.copysign(np.log(1.0 + abs(v)), v), low[j]), high[j])
            out[i, line_at[j]] = (u - line_mean[j]) * line_by[j]
            for k in range(knots.shape[1]):
                if bend_at[j, k] >= 0:
                    out[i, bend_at[j, k]] = (max(u - knots[j, k], 0.0) - bend_mean[j, k]) * bend_by[j, k]


@njit(cache=True, nogil=True)
def _term(
    v: float, low: float, high: float, start: float, slope: float, knots: Vector, bends: Vector, missing: float
) -> float:
    if np.isnan(v):
        return missing
    u = min(max(np.copysign(np.log(1.0 + abs(v)), v), low), high)
    total = start + slope * u
    for k in range(len(knots)):
        total += bends[k] * max(u - knots[k], 0.0)
    return float(total)


@njit(cache=True, nogil=True)
def _terms(
    X: Matrix,
    low: Vector,
    high: Vector,
    start: Vector,
    slope: Vector,
    knots: Vector,
    bends: Vector,
    missing: Vector,
    out: Vector,
) -> None:
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            out[i, j] = _term(float(X[i, j]), low[j], high[j], start[j], slope[j], knots[j], bends[j], missing[j])


@njit(cache=True, nogil=True)
def _margin(
    X: Matrix,
    low: Vector,
    high: Vector,
    start: Vector,
    slope: Vector,
    knots: Vector,
    bends: Vector,
    missing: Vector,
    base: float,
) -> Vector:
    out = np.full(X.shape[0], base)
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            out[i] += _term(float(X[i, j]), low[j], high[j], start[j], slope[j], knots[j], bends[j], missing[j])
    return out
