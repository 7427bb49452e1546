"""A support vector machine with a linear and a radial kernel, affordable on large data.

The kernel of two users is z . z' / P + exp(-width |z - z'|^2) on P standardised logarithms (`basis.py`). The radial part
is approximated from 256 landmark rows (Nystroem: Williams, Seeger 2001), which makes the machine linear in
P + 256 numbers a row; it is fitted in the primal by Newton steps on the squared hinge (Chapelle 2007). Platt scaling
(1999) on users that a machine had not seen turns its scores into log-odds. Of more than 30,000 rows a sample of users is
learnt from, chosen by their hash, so that the choice depends on no order.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import threadpool_limits

from ebbtide.core.errors import DefectError
from ebbtide.models.attribution import reference_row
from ebbtide.models.base import Matrix, Rows, Vector
from ebbtide.models.basis import Basis
from ebbtide.models.calibration import AffineCalibration
from ebbtide.models.space import Real, Space, Whole
from ebbtide.models.svm_kernels import POINTS, add_terms, gauss_legendre, margins
from ebbtide.models.thinning import thinned
from ebbtide.models.trainable import check_trainable, is_enough

_PARTS = np.uint64(3)
_MOST_STEPS = 50
_GAIN_LEFT = 1e-7
_LEAST_EIGENVALUE = 1e-6
_DECIMALS = 3
_PLATT_SPREAD = 3.0


@dataclass(frozen=True)
class SvmConfig:
    """Settings. `landmarks`: rows that the radial kernel is spanned by; `reach`: its width times 2 P, 1 = the mean squared
    distance of two users; `hinge`: how much the mean squared hinge counts beside half the squared norm; `most_rows`: the
    most rows that are learnt from."""

    landmarks: int = 256
    reach: float = 1.0
    hinge: float = 150.0
    most_rows: int = 30_000


@dataclass(frozen=True)
class _Machine:
    """A fitted machine on P regressors: slopes (P,), landmarks (M, P) and their weights (M,), width, constant."""

    slopes: Vector
    landmarks: Vector
    weights: Vector
    width: float
    constant: float

    def margin(self, z: NDArray[np.float32]) -> Vector:
        return np.asarray(margins(z, self.slopes, self.landmarks, self.weights, self.width) + self.constant)

    def scaled(self, line: AffineCalibration) -> _Machine:
        """The machine whose margins are those of this one put through `line`."""
        constant = float(line.apply(np.array([self.constant]))[0])
        return _Machine(line.slope * self.slopes, self.landmarks, line.slope * self.weights, self.width, constant)


class SvmModel:
    """The machine behind the model protocol. The base of its reasons is the margin of a usual user."""

    name: ClassVar[str] = "svm"
    space: ClassVar[Space] = {
        "landmarks": Whole(64, 512, usual=256, log=True),
        "reach": Real(0.1, 4.0, usual=1.0, log=True),
        "hinge": Real(10.0, 2000.0, usual=150.0, log=True),
    }

    def __init__(self, config: SvmConfig | None = None) -> None:
        self.config = config or SvmConfig()
        self._basis: Basis | None = None
        self._machine: _Machine | None = None
        self._reference = np.zeros(0, np.float32)

    def fit(self, rows: Rows, *, seed: int) -> Self:
        """Fit on the rows, or on a sample of users where they are many; `seed` draws the landmarks.

        Raises DataError if the rows cannot be learnt from.
        """
        check_trainable(rows)
        rows = thinned(rows, self.config.most_rows)
        basis = Basis.fit(rows.X)
        z = basis.design(rows.X)
        # One BLAS thread: the last bit of a sum must not depend on the number of cores.
        with threadpool_limits(limits=1, user_api="blas"):
            line = self._platt(rows, z, seed)
            self._machine = _fit(z, rows.y, self.config, seed).scaled(line)
        self._basis, self._reference = basis, basis.design(reference_row(rows.X)[None, :])[0]
        return self

    def margin(self, X: Matrix) -> Vector:
        """Log-odds of churn, (N,)."""
        basis, machine = self._fitted()
        return machine.margin(basis.design(X))

    def contributions(self, X: Matrix) -> Vector:
        """Exact Shapley terms against a usual user, (N, F + 1)."""
        basis, machine = self._fitted()
        out = np.zeros((len(X), X.shape[1] + 1))
        out[:, -1] = machine.margin(self._reference[None, :])
        add_terms(
            basis.design(X),
            self._reference,
            basis.owners(),
            machine.slopes,
            machine.landmarks,
            machine.weights,
            machine.width,
            gauss_legendre(POINTS),
            out,
        )
        return out

    def save(self, folder: Path) -> None:
        """One JSON file."""
        basis, machine = self._fitted()
        folder.mkdir(parents=True, exist_ok=True)
        data = {
            "config": asdict(self.config),
            "basis": basis.to_json(),
            "machine": {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in vars(machine).items()},
            "reference": self._reference.tolist(),
        }
        (folder / "svm.json").write_text(json.dumps(data), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        data: dict[str, Any] = json.loads((folder / "svm.json").read_text(encoding="utf-8"))
        model, kept = cls(SvmConfig(**data["config"])), data["machine"]
        slopes, weights = np.array(kept["slopes"], np.float64), np.array(kept["weights"], np.float64)
        landmarks = np.array(kept["landmarks"], np.float64).reshape(len(weights), len(slopes))
        model._machine = _Machine(slopes, landmarks, weights, kept["width"], kept["constant"])
        model._basis = Basis.from_json(data["basis"])
        model._reference = np.array(data["reference"], np.float32)
        return model

    def _platt(self, rows: Rows, z: NDArray[np.float32], seed: int) -> AffineCalibration:
        """The line from scores to log-odds: each third of the users is scored by a machine that learnt from the others.

        Where a third of so few users would be too little to learn from, all are scored by one machine.
        """
        part = rows.user % _PARTS
        if not all(is_enough(rows.take(part != own)) for own in range(int(_PARTS))):
            part = np.zeros(len(rows), np.uint64)
        score = np.zeros(len(rows))
        for own in np.unique(part):
            held = part == own
            seen = held if held.all() else ~held
            score[held] = _fit(z[seen], rows.y[seen], self.config, seed).margin(z[held])
        return AffineCalibration.fit(score, rows.y, slope_spread=_PLATT_SPREAD)

    def _fitted(self) -> tuple[Basis, _Machine]:
        if self._basis is None or self._machine is None:
            raise DefectError("the machine is used before it is fitted", "支持向量机尚未拟合就被使用")
        return self._basis, self._machine


def _fit(z: NDArray[np.float32], y: Vector, config: SvmConfig, seed: int) -> _Machine:
    """The machine that separates y = 1 from y = 0. Landmarks are rows, rounded so that they are short in a file."""
    rng, (rows, regressors) = np.random.default_rng(seed), z.shape
    drawn = rng.choice(rows, min(config.landmarks, rows), replace=False)
    landmarks = np.round(z[drawn].astype(np.float64), _DECIMALS)
    width, share = config.reach / (2 * max(regressors, 1)), 1 / np.sqrt(max(regressors, 1))
    size, axes = np.linalg.eigh(_radial(landmarks, landmarks, width))
    strong = size > _LEAST_EIGENVALUE * size[-1]
    whiten = axes[:, strong] / np.sqrt(size[strong])
    wide = z.astype(np.float64)
    features = np.column_stack([share * wide, _radial(wide, landmarks, width) @ whiten, np.ones(rows)])
    found = _separate(features, 2 * y - 1, config.hinge / rows)
    return _Machine(
        share * found[:regressors], landmarks, whiten @ found[regressors:-1], width, constant=float(found[-1])
    )


def _radial(rows: Vector, landmarks: Vector, width: float) -> Vector:
    """exp(-width |row - landmark|^2), (N, M)."""
    squares = (rows**2).sum(axis=1)[:, None] + (landmarks**2).sum(axis=1) - 2 * rows @ landmarks.T
    return np.asarray(np.exp(-width * np.maximum(squares, 0.0)))


def _separate(features: Vector, sign: Vector, hinge: float) -> Vector:
    """The weights (D,) with the least  |weights|^2 / 2 + hinge * sum of max(0, 1 - sign * score)^2; the last one, the
    constant, is free.

    Only rows inside the margin bend the loss; a Newton step solves for those, and is halved until the loss falls.
    """
    ridge = np.ones(features.shape[1])
    ridge[-1] = 1e-9
    point = np.zeros(features.shape[1])

    def loss_at(point: Vector) -> tuple[float, NDArray[np.bool_]]:
        short = 1 - sign * (features @ point)
        inside = short > 0
        return 0.5 * float(ridge @ point**2) + hinge * float(short[inside] @ short[inside]), inside

    loss, inside = loss_at(point)
    for _ in range(_MOST_STEPS):
        own = features[inside]
        curvature = 2 * hinge * own.T @ own + np.diag(ridge)
        step = cho_solve(cho_factor(curvature), 2 * hinge * own.T @ sign[inside]) - point
        size, (new_loss, new_inside) = 1.0, loss_at(point + step)
        while new_loss > loss and size > 1e-6:
            size /= 2
            new_loss, new_inside = loss_at(point + size * step)
        if loss - new_loss <= _GAIN_LEFT * loss:
            break
        point, loss, inside = point + size * step, new_loss, new_inside
    return point
