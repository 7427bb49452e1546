"""Logistic regression with strong ridge on the logarithms of all columns.

Where a log is small or the base rate is steady, a straight line in logs beats trees; its terms are exact by
construction. The strength of the ridge is chosen on the newest moments inside the training rows.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import threadpool_limits

from ebbtide.core.errors import DefectError
from ebbtide.models.base import Matrix, Rows, Vector, sigmoid
from ebbtide.models.basis import Basis, Terms
from ebbtide.models.calibration import AffineCalibration
from ebbtide.models.continues import cannot_continue
from ebbtide.models.space import ANY_COLUMNS, COLUMNS, OneOf, Space, Whole
from ebbtide.models.thinning import thinned
from ebbtide.models.trainable import check_trainable

_CHUNK = 32_768
_MOST_STEPS = 60
_GAIN_LEFT, _GAIN_LEFT_TUNING = 1e-10, 1e-2
_SLOPE_SPREAD = 3.0
_SLOW = 0.3


@dataclass(frozen=True)
class LogisticConfig:
    """Settings. `strengths`: prior variances of a standardised coefficient to choose from (scikit-learn's C), `usual`:
    the one to keep unless the evidence against it is clear.

    `folds`: how many of the newest moments judge them; `most_rows`, `tuning_rows` and `curvature_rows`: the most rows
    that the fit, one of the fits that judge, and one Hessian look at. `knots`: bends a column, see `basis.py`.
    `strength`: the strength itself; 0: it is chosen.
    """

    strengths: tuple[float, ...] = (2e-4, 1e-3, 5e-3, 3e-2)
    usual: float = 1e-3
    folds: int = 3
    most_rows: int = 150_000
    tuning_rows: int = 10_000
    curvature_rows: int = 20_000
    knots: int = 2
    strength: float = 0.0


class LogisticModel:
    """Ridge logistic regression behind the model protocol. The base is the mean margin of the training rows."""

    name: ClassVar[str] = "logistic"
    space: ClassVar[Space] = {
        "knots": Whole(0, 4, usual=2),
        "strength": OneOf((0.0, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 3e-2), usual=0.0),
        COLUMNS: ANY_COLUMNS,
    }
    ways: ClassVar[tuple[str, ...]] = ("warm",)

    def __init__(self, config: LogisticConfig | None = None, strength: float | None = None) -> None:
        self.config = config or LogisticConfig()
        self.given_strength = strength or self.config.strength or None
        self.strength = self.given_strength
        self._terms: Terms | None = None
        self._basis: Basis | None = None
        self._point: Vector | None = None

    def fit(self, rows: Rows, *, seed: int) -> Self:
        """Fit on the rows, or on a sample of users where they are many; without a given `strength`, choose one first.

        `seed` is unused: nothing is random.

        Raises DataError if the rows cannot be learnt from.
        """
        check_trainable(rows)
        rows = thinned(rows, self.config.most_rows)
        self.strength = self.given_strength or choose_strength(rows, self.config)
        return self._descend(rows, Basis.fit(rows.X, self.config.knots), self.strength, None)

    def fit_more(self, rows: Rows, *, seed: int, way: str) -> Self:
        """Go on from the coefficients so far, on the same scales and with the same strength, to where all rows lead.

        `seed` is unused: nothing is random. Raises DataError as `fit` does, MissingBundleError for a model that was
        saved without its scales.
        """
        check_trainable(rows)
        if self._basis is None or self._point is None or self.strength is None:
            raise cannot_continue()
        more = type(self)(self.config, self.given_strength)
        return more._descend(thinned(rows, self.config.most_rows), self._basis, self.strength, self._point)

    def _descend(self, rows: Rows, basis: Basis, strength: float, start: Vector | None) -> Self:
        path = _Path(basis.design(rows.X), rows.y, self.config.curvature_rows, start)
        point = path.fit(strength, _GAIN_LEFT)
        self.strength, self._basis, self._point = strength, basis, point
        self._terms = basis.terms(point[:-1], float(point[-1])).centred(rows.X)
        return self

    @property
    def terms(self) -> Terms:
        """The fitted terms."""
        if self._terms is None:
            raise DefectError("the logistic model is used before it is fitted", "逻辑回归尚未拟合就被使用")
        return self._terms

    def margin(self, X: Matrix) -> Vector:
        """Log-odds of churn, (N,)."""
        return self.terms.margin(X)

    def contributions(self, X: Matrix) -> Vector:
        """Exact terms, (N, F + 1)."""
        return self.terms.contributions(X)

    def save(self, folder: Path) -> None:
        """One JSON file."""
        folder.mkdir(parents=True, exist_ok=True)
        data = {
            "given_strength": self.given_strength,
            "strength": self.strength,
            "config": asdict(self.config),
            "terms": self.terms.to_json(),
            "basis": self._basis.to_json() if self._basis else None,
            "point": self._point.tolist() if self._point is not None else None,
        }
        (folder / "logistic.json").write_text(json.dumps(data), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        data = json.loads((folder / "logistic.json").read_text(encoding="utf-8"))
        config = LogisticConfig(**{**data["config"], "strengths": tuple(data["config"]["strengths"])})
        model = cls(config, data["given_strength"])
        model.strength = data["strength"]
        model._terms = Terms.from_json(data["terms"])
        if data.get("basis") is not None:  # bundles of earlier versions lack it
            model._basis, model._point = Basis.from_json(data["basis"]), np.array(data["point"])
        return model


def choose_strength(rows: Rows, config: LogisticConfig) -> float:
    """The strength for these rows.

    Every strength is judged by its mean log loss on held-out newest moments, after the best affine calibration of
    each: the base rate moves between moments and is corrected elsewhere, and a strong ridge ranks well long before
    its margins are of the right size. Of the strengths within two standard errors of the best, the one nearest to the
    usual is taken: few moments judge badly. Where no fold can be made: the usual strength.
    """
    folds = _folds(rows, config)
    if not folds:
        return config.usual
    losses = np.array([_losses(older, held, config) for older, held in folds])
    worse = losses - losses[:, [losses.mean(axis=0).argmin()]]
    error = (
        worse.std(axis=0, ddof=1) / np.sqrt(len(folds)) if len(folds) > 1 else np.full(len(config.strengths), np.inf)
    )
    distance = np.abs(np.log(np.array(config.strengths) / config.usual))
    return config.strengths[int(np.where(worse.mean(axis=0) <= 2 * error, distance, np.inf).argmin())]


def _losses(older: Rows, held: Rows, config: LogisticConfig) -> Vector:
    """Mean log loss on `held` of every strength fitted on `older`, (S,)."""
    basis = Basis.fit(older.X, config.knots)
    path, design = _Path(basis.design(older.X), older.y, config.curvature_rows), basis.design(held.X)
    losses = np.empty(len(config.strengths))
    for k in np.argsort(config.strengths):
        point = path.fit(config.strengths[k], _GAIN_LEFT_TUNING)
        margin = design @ point[:-1] + point[-1]
        odds = AffineCalibration.fit(margin, held.y, slope_spread=_SLOPE_SPREAD).apply(margin)
        losses[k] = np.mean(np.logaddexp(0.0, odds) - held.y * odds)
    return losses


def _folds(rows: Rows, config: LogisticConfig) -> list[tuple[Rows, Rows]]:
    """(older, held) for each of the newest moments whose predecessors' labels were known; else split by user."""
    pairs = [(rows.known_at(int(m)), rows.at(int(m))) for m in rows.moments()[-config.folds :]]
    if not any(_both(older) and _both(held) for older, held in pairs):
        part = rows.user % np.uint64(max(2, config.folds))
        pairs = [(rows.take(part != p), rows.take(part == p)) for p in np.unique(part)]
    thin = config.tuning_rows
    return [(thinned(o, thin), thinned(h, thin)) for o, h in pairs if _both(o) and _both(h)]


def _both(rows: Rows) -> bool:
    return 0 < int(rows.y.sum()) < len(rows)


class _Path:
    """Ridge fits of one design (N, P), one strength after the other, each starting where the last one ended.

    A fit minimises log loss + |coefficients|^2 / (2 strength); the intercept, last, has no ridge. Steps are Newton's
    with the gradient of all rows and a Hessian from an even sample of them (Erdogdu, Montanari 2015), which is kept,
    also for the next strength, until steps with it stop paying: a Hessian costs as much as P gradients.
    """

    def __init__(
        self, design: NDArray[np.float32], y: Vector, curvature_rows: int, start: Vector | None = None
    ) -> None:
        self.design, self.y, self.curvature_rows = design, y, curvature_rows
        self.point = np.zeros(design.shape[1] + 1) if start is None else start.copy()
        if start is None:
            self.point[-1] = np.log((y.sum() + 0.5) / (len(y) - y.sum() + 0.5))
        self.curvature: Vector | None = None

    def fit(self, strength: float, gain_left: float) -> Vector:
        """Coefficients and intercept, (P + 1,), within `gain_left` of the least loss."""
        # One BLAS thread: the matrices are small, waiting threads cost more than they bring, and the last bit of a
        # sum must not depend on the number of cores.
        with threadpool_limits(limits=1, user_api="blas"):
            ridge = np.full(len(self.point), 1.0 / strength)
            ridge[-1] = 0.0
            self._descend(ridge, gain_left)
        return self.point

    def _descend(self, ridge: Vector, gain_left: float) -> None:
        loss, gradient = _loss_and_gradient(self.design, self.y, self.point, ridge)
        before = np.inf
        for _ in range(_MOST_STEPS):
            step, promised = self._step(ridge, gradient, renewed=self.curvature is None)
            if promised <= gain_left:
                return
            if promised > _SLOW * before:
                step, promised = self._step(ridge, gradient, renewed=True)
            before, size = promised, 1.0
            new_loss, new_gradient = _loss_and_gradient(self.design, self.y, self.point + step, ridge)
            while new_loss > loss - 1e-4 * size * promised and size > 1e-6:
                size *= 0.5
                new_loss, new_gradient = _loss_and_gradient(self.design, self.y, self.point + size * step, ridge)
            if new_loss >= loss:
                return
            self.point, loss, gradient = self.point + size * step, new_loss, new_gradient

    def _step(self, ridge: Vector, gradient: Vector, *, renewed: bool) -> tuple[Vector, float]:
        """The next step and what it promises to gain (twice the quadratic model's gain)."""
        if renewed or self.curvature is None:
            self.curvature = _curvature(self.design, self.point, self.curvature_rows)
        step = cho_solve(cho_factor(self.curvature + np.diag(ridge)), -gradient)
        return step, -float(gradient @ step)


def _loss_and_gradient(design: NDArray[np.float32], y: Vector, point: Vector, ridge: Vector) -> tuple[float, Vector]:
    gradient = ridge * point
    loss = _add_rows(design, y, point, gradient)
    return loss + 0.5 * float(ridge @ point**2), gradient


@njit(cache=True, fastmath={"reassoc", "contract"})
def _add_rows(design: NDArray[np.float32], y: Vector, point: Vector, gradient: Vector) -> float:
    """The log loss of all rows; their gradient is added to `gradient`. One pass, sums in 64 bits."""
    rows, width = design.shape
    loss = 0.0
    for i in range(rows):
        margin = point[width]
        for j in range(width):
            margin += design[i, j] * point[j]
        loss += max(margin, 0.0) + np.log1p(np.exp(-abs(margin))) - y[i] * margin
        residual = 1.0 / (1.0 + np.exp(-margin)) - y[i]
        for j in range(width):
            gradient[j] += residual * design[i, j]
        gradient[width] += residual
    return float(loss)


def _curvature(design: NDArray[np.float32], point: Vector, most: int) -> Vector:
    """Hessian of the log loss, in 32 bits: it only steers the steps; the gradient says where the optimum is."""
    sample = design[:: -(-len(design) // most)]
    share, narrow = len(design) / len(sample), point.astype(np.float32)
    out = np.zeros((len(point), len(point)))
    for first in range(0, len(sample), _CHUNK):
        block = sample[first : first + _CHUNK]
        p = sigmoid((block @ narrow[:-1] + narrow[-1]).astype(np.float64))
        weight = (share * p * (1 - p)).astype(np.float32)
        weighted = block * weight[:, None]
        out[:-1, :-1] += block.T @ weighted
        out[:-1, -1] += weighted.sum(axis=0)
        out[-1, -1] += float(weight.sum())
    out[-1, :-1] = out[:-1, -1]
    return out
