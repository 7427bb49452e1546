"""BG/NBD: how many orders a user will still place, from three numbers about the user (Fader, Hardie, Lee 2005).

While a user is a customer, orders come at a rate of their own, and after each order the user leaves for good with a
probability of their own; rates are gamma(r, alpha) and leaving probabilities beta(a, b) over users. The three numbers:

    x    `frequency`  repeat orders: distinct days with an order, less the first one
    t_x  `recency`    age at the last order: last day minus first day
    T    `age`        time from the first day to as_of

All three in one unit of time (ours: days); alpha is in that unit too. Source: "Counting Your Customers the Easy Way",
Marketing Science 24(2), equations 6 (likelihood) and 10 (expectation).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ebbtide.core.errors import DataError, DefectError, InputError
from ebbtide.core.language import Text
from ebbtide.models import bgnbd_kernels as kernels
from ebbtide.models.base import Matrix, Rows, Vector
from ebbtide.models.newton import Evaluation, Optimum, maximise
from ebbtide.models.shapley import shapley_few

_PARAMETERS = ("r", "alpha", "a", "b")
_STARTS = ((1.0, 1.0, 1.0, 2.0), (0.25, 0.25, 0.5, 2.0), (3.0, 1.0, 0.1, 0.5))
_REACH = 9.0  # the box in logs: parameters between e^-9 and e^9, alpha in units of the mean age


@dataclass(frozen=True)
class BgNbd:
    """A fitted BG/NBD. `alpha` is in the unit of the ages; `standard_errors` in the order r, alpha, a, b.

    A standard error is NaN where the parameter lies on the edge of what can be told apart (see `message`).
    `converged` is false only if the search stopped without reaching a maximum; then `message` says why.
    """

    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float
    standard_errors: tuple[float, float, float, float]
    users: int
    converged: bool
    message: Text

    def expected_orders(self, x: ArrayLike, t_x: ArrayLike, age: ArrayLike, horizon_days: float) -> Vector:
        """Expected number of order days in the next `horizon_days`, (N,); equation 10.

        Given that the user is still there, it is the sum over k >= 1 of P(at least k orders would come) times
        P(the user stays through the first k - 1 of them): a series of positive terms, equal to the paper's
        hypergeometric form but without its cancellation and its pole at a = 1.
        """
        x, t_x, age = _columns(x, t_x, age)
        return np.asarray(kernels.expected_orders(self.r, self.alpha, self.a, self.b, x, t_x, age, float(horizon_days)))

    def log_odds_none(self, x: ArrayLike, t_x: ArrayLike, age: ArrayLike, horizon_days: float) -> Vector:
        """Log-odds of no order at all in the next `horizon_days`, (N,), within +-30.

        Exact: P(some) = P(alive) * (1 - ((alpha + T) / (alpha + T + horizon))^(r + x)), because the next order of a
        user who is still there needs no decision to stay.
        """
        x, t_x, age = _columns(x, t_x, age)
        return np.asarray(kernels.log_odds_none(self.r, self.alpha, self.a, self.b, x, t_x, age, float(horizon_days)))

    def probability_none(self, x: ArrayLike, t_x: ArrayLike, age: ArrayLike, horizon_days: float) -> Vector:
        """P(no order in the next `horizon_days`), (N,)."""
        return np.asarray(1.0 / (1.0 + np.exp(-self.log_odds_none(x, t_x, age, horizon_days))))

    def p_alive(self, x: ArrayLike, t_x: ArrayLike, age: ArrayLike) -> Vector:
        """P(the user has not left yet), (N,). Never rank by it: every one-time buyer counts as certainly alive."""
        x, t_x, age = _columns(x, t_x, age)
        with np.errstate(over="ignore"):
            dead = (
                self.a / np.maximum(self.b + x - 1.0, 1e-9) * ((self.alpha + age) / (self.alpha + t_x)) ** (self.r + x)
            )
        return np.asarray(1.0 / (1.0 + np.where(x > 0, dead, 0.0)))

    def to_json(self) -> dict[str, Any]:
        """Plain values; an unknown standard error is null."""
        return {**asdict(self), "standard_errors": [None if np.isnan(e) else e for e in self.standard_errors]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        errors = tuple(np.nan if e is None else e for e in data["standard_errors"])
        return cls(**{**data, "standard_errors": errors, "message": Text(**data["message"])})


def fit_bgnbd(
    x: ArrayLike, t_x: ArrayLike, age: ArrayLike, weights: ArrayLike | None = None, *, ridge: float = 0.0
) -> BgNbd:
    """Maximum likelihood over users; `weights` (N,) counts a row several times.

    `ridge` > 0 adds a weak pull of every log-parameter towards the start value (ridge / 2 times the squared distance,
    for all users together): where the data cannot tell parameters apart it keeps them finite, and with thousands of
    users it changes nothing that can be seen. The reported log-likelihood is without it.

    Raises InputError if a number is missing, negative, or out of order (0 <= t_x <= T, x whole);
    DataError if there is no user.
    """
    sample = _Sample.of(x, t_x, age, weights)
    scale = np.array([1.0, sample.mean_age, 1.0, 1.0])
    centre = np.log(np.array(_STARTS[0]) * scale)

    def penalised(point: Vector) -> Evaluation:
        value, gradient, hessian = sample.evaluate(point)
        away = point - centre
        return value - 0.5 * ridge * float(away @ away), gradient - ridge * away, hessian - ridge * np.eye(4)

    middle = np.log(scale)
    best: Optimum | None = None
    for start in _STARTS:
        found = maximise(penalised, np.log(np.array(start) * scale), middle - _REACH, middle + _REACH)
        agrees = best is not None and best.converged and abs(found.value - best.value) <= 1e-6
        if best is None or found.value > best.value:
            best = found
        if agrees:
            break
    assert best is not None
    return _result(best, sample)


COLUMNS = ("outcome_repeat_days", "outcome_last_age_days", "outcome_age_days")
"""The columns that hold x, t_x and T, in days."""


@dataclass(frozen=True)
class ExpectedOrders:
    """Expected order days over the horizon as one more column for other models."""

    parameters: BgNbd
    horizon_days: float

    name: ClassVar[str] = "expected_orders"

    def column(self, X: Matrix, names: tuple[str, ...]) -> NDArray[np.float32]:
        """The column, (N,); NaN where one of the three numbers is unknown."""
        x, t_x, age = (X[:, i] for i in _positions(names))
        return self.parameters.expected_orders(x, t_x, age, self.horizon_days).astype(np.float32)


class BgNbdModel:
    """BG/NBD behind the model protocol: the margin is the exact log-odds of no order within the horizon.

    Only three columns matter, so contributions are exact Shapley values over those three, the reference user being
    the cohort's median in each (2^3 evaluations a user). An unknown number is taken as the reference's.
    """

    name: ClassVar[str] = "bgnbd"

    def __init__(self, parameters: BgNbd | None = None, horizon_days: float = 30.0) -> None:
        self.parameters = parameters
        self.horizon_days = horizon_days
        self.reference = np.zeros(3)
        self.positions: tuple[int, ...] = (0, 1, 2)

    def fit(self, rows: Rows, *, seed: int) -> Self:
        """Take the reference user from `rows`; without given parameters, also fit them on the newest moment's rows."""
        self.positions = _positions(rows.names)
        columns = rows.X[:, self.positions].astype(np.float64)
        known = columns[~np.isnan(columns).any(axis=1)]
        if len(known) == 0:
            raise DataError("BG/NBD needs at least one user with an order", "BG/NBD 至少需要一位有订单的用户")
        self.reference = np.quantile(known, 0.5, axis=0, method="lower")
        if self.parameters is None:
            newest = rows.at(int(rows.moments()[-1])).X[:, self.positions].astype(np.float64)
            self.parameters = fit_bgnbd(*newest[~np.isnan(newest).any(axis=1)].T, ridge=0.01)
        return self

    def margin(self, X: Matrix) -> Vector:
        """Log-odds of churn, (N,)."""
        return self._margin(self._filled(X))

    def contributions(self, X: Matrix) -> Vector:
        """Exact Shapley terms, (N, F + 1); zero for every column but the three."""
        shares, base = shapley_few(self._margin, self._filled(X), self.reference)
        out = np.zeros((len(X), X.shape[1] + 1))
        out[:, self.positions] = shares
        out[:, -1] = base
        return out

    def save(self, folder: Path) -> None:
        """One JSON file."""
        folder.mkdir(parents=True, exist_ok=True)
        data = {
            "parameters": self._fitted().to_json(),
            "horizon_days": self.horizon_days,
            "reference": self.reference.tolist(),
            "positions": list(self.positions),
        }
        (folder / "bgnbd.json").write_text(json.dumps(data, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        data = json.loads((folder / "bgnbd.json").read_text(encoding="utf-8"))
        model = cls(BgNbd.from_json(data["parameters"]), data["horizon_days"])
        model.reference, model.positions = np.array(data["reference"]), tuple(data["positions"])
        return model

    def _fitted(self) -> BgNbd:
        if self.parameters is None:
            raise DefectError("BG/NBD is used before it is fitted", "BG/NBD 尚未拟合就被使用")
        return self.parameters

    def _filled(self, X: Matrix) -> Vector:
        columns = X[:, self.positions].astype(np.float64)
        return np.where(np.isfinite(columns), columns, self.reference)

    def _margin(self, columns: Vector) -> Vector:
        return self._fitted().log_odds_none(columns[:, 0], columns[:, 1], columns[:, 2], self.horizon_days)


def _positions(names: tuple[str, ...]) -> tuple[int, ...]:
    missing = [c for c in COLUMNS if c not in names]
    if missing:
        raise InputError(
            "BG/NBD needs the columns {columns}, which are not there",
            "BG/NBD 需要列 {columns}，但没有找到",
            columns=", ".join(missing),
        )
    return tuple(names.index(c) for c in COLUMNS)


def _result(best: Optimum, sample: _Sample) -> BgNbd:
    value, _, hessian = sample.evaluate(best.point)
    r, alpha, a, b = (float(v) for v in np.exp(best.point))
    errors = np.exp(best.point) * best.spread(hessian)
    return BgNbd(
        r, alpha, a, b, value, tuple(errors.tolist()), sample.users, best.converged, best.describe(_PARAMETERS)
    )


@dataclass(frozen=True)
class _Sample:
    """Distinct (x, t_x, T) with their weights, and `more_than[k]`: the weight of users with more than k repeats."""

    x: Vector
    t_x: Vector
    age: Vector
    weights: Vector
    more_than: Vector
    users: int
    mean_age: float

    @classmethod
    def of(cls, x: ArrayLike, t_x: ArrayLike, age: ArrayLike, weights: ArrayLike | None) -> Self:
        x, t_x, age = _columns(x, t_x, age)
        w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
        _check(x, t_x, age, w)
        first, total = _distinct(x, t_x, age, w)
        counts = np.bincount(x.astype(np.int64), w)
        more_than = counts[::-1].cumsum()[::-1][1:].copy()
        mean_age = max(float(np.average(age, weights=w)), 1e-9)
        return cls(x[first], t_x[first], age[first], total, more_than, len(x), mean_age)

    def evaluate(self, point: Vector) -> Evaluation:
        """Log-likelihood, gradient and Hessian in the logs of (r, alpha, a, b)."""
        r, alpha, a, b = np.exp(point)
        out = kernels.log_likelihood(r, alpha, a, b, self.x, self.t_x, self.age, self.weights, self.more_than)
        gradient, hessian = out[1:5], out[5:].reshape(4, 4)
        size = np.exp(point)
        return float(out[0]), gradient * size, hessian * np.outer(size, size) + np.diag(gradient * size)


def _columns(x: ArrayLike, t_x: ArrayLike, age: ArrayLike) -> tuple[Vector, Vector, Vector]:
    x, t_x, age = (np.ascontiguousarray(v, np.float64) for v in (x, t_x, age))
    return x, t_x, age


def _check(x: Vector, t_x: Vector, age: Vector, weights: Vector) -> None:
    if len(x) == 0 or weights.sum() <= 0:
        raise DataError("BG/NBD needs at least one user with an order", "BG/NBD 至少需要一位有订单的用户")
    good = np.isfinite(x + t_x + age + weights) & (x >= 0) & (x == np.floor(x)) & (weights >= 0)
    bad = int((~(good & (t_x >= 0) & (t_x <= age))).sum())
    if bad:
        raise InputError(
            "{bad:,} of {users:,} users have impossible counts: expected a whole x >= 0 and 0 <= t_x <= T",
            "{users:,} 位用户中有 {bad:,} 位的数值不可能：应满足 x 为非负整数且 0 <= t_x <= T",
            bad=bad,
            users=len(x),
        )


def _distinct(x: Vector, t_x: Vector, age: Vector, weights: Vector) -> tuple[NDArray[np.intp], Vector]:
    """Positions of one user of each distinct triple and the triple's weight; whole numbers only, others stay apart."""
    span = float(age.max()) + 1.0
    whole = bool((t_x == np.floor(t_x)).all() and (age == np.floor(age)).all())
    if not whole or (x.max() + 1.0) * span * span >= 2.0**62:
        return np.arange(len(x)), weights
    width = np.int64(span)
    key = (x.astype(np.int64) * width + t_x.astype(np.int64)) * width + age.astype(np.int64)
    _, first, group = np.unique(key, return_index=True, return_inverse=True)
    return first, np.asarray(np.bincount(group, weights), np.float64)
