"""Gamma-gamma: what a user's orders are worth on average, shrunk to the shop's level (Fader, Hardie 2013).

Order values of a user are gamma(p, nu), and nu is gamma(q, gamma) over users. Seen of a user: the number of orders
`orders` and their mean value. Few orders: the estimate stays near the shop's mean; many: near the user's own.
Source: "The Gamma-Gamma Model of Monetary Value", brucehardie.com/notes/025, equations 1a and 5.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma, gammaln, polygamma

from ebbtide.core.errors import DataError
from ebbtide.core.language import Text
from ebbtide.models.base import Vector
from ebbtide.models.newton import Evaluation, maximise

_PARAMETERS = ("p", "q", "gamma")
_STARTS = ((4.0, 4.0, 4.0), (1.0, 2.0, 1.0))
_LEAST_Q, _REACH = 1.1, 9.0
_LEAST_USERS = 10


class ValueBasis(Enum):
    """What a user's expected order value rests on."""

    OWN = Text("the user's own orders, shrunk to the shop's level", "用户自己的订单，并向全店水平收缩")
    NO_ORDER = Text("no order with a known value: the shop's mean", "没有已知金额的订单：取全店平均")
    NOT_POSITIVE = Text("orders worth nothing or less in all: the shop's mean", "订单金额合计为零或为负：取全店平均")


@dataclass(frozen=True)
class GammaGamma:
    """A fitted gamma-gamma model; `gamma` is in the unit of the values; standard errors in the order p, q, gamma.

    `users` were used; `left_out` had no order or no positive value. A standard error is NaN at a limit.
    """

    p: float
    q: float
    gamma: float
    log_likelihood: float
    standard_errors: tuple[float, float, float]
    users: int
    left_out: int
    converged: bool
    message: Text

    @property
    def mean_value(self) -> float:
        """The shop's mean order value, p gamma / (q - 1)."""
        return self.p * self.gamma / (self.q - 1.0)

    def expected_value(self, orders: ArrayLike, mean_value: ArrayLike) -> Vector:
        """Expected value of an average order of each user, (N,); the shop's mean where `basis` is not OWN."""
        x, z = np.asarray(orders, np.float64), np.asarray(mean_value, np.float64)
        usable = _usable(x, z)
        x, z = np.where(usable, x, 0.0), np.where(usable, z, 0.0)
        return np.asarray(self.p * (self.gamma + x * z) / (self.p * x + self.q - 1.0))

    def basis(self, orders: ArrayLike, mean_value: ArrayLike) -> list[ValueBasis]:
        """What each user's expected value rests on, (N,)."""
        x, z = np.asarray(orders, np.float64), np.asarray(mean_value, np.float64)
        none = ~(np.isfinite(x) & np.isfinite(z) & (x > 0))
        own = _usable(x, z)
        return [
            ValueBasis.OWN if o else ValueBasis.NO_ORDER if n else ValueBasis.NOT_POSITIVE
            for o, n in zip(own, none, strict=True)
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain values; an unknown standard error is null."""
        return {**asdict(self), "standard_errors": [None if np.isnan(e) else e for e in self.standard_errors]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        errors = tuple(np.nan if e is None else e for e in data["standard_errors"])
        return cls(**{**data, "standard_errors": errors, "message": Text(**data["message"])})


def fit_gamma_gamma(orders: ArrayLike, mean_value: ArrayLike) -> GammaGamma:
    """Maximum likelihood over the users with at least one order and a positive mean value; the rest are left out.

    q is held at 1.1 or more, because the shop's mean order value is infinite at 1.
    Raises DataError if fewer than 10 users can be used.
    """
    x, z = np.asarray(orders, np.float64), np.asarray(mean_value, np.float64)
    usable = _usable(x, z)
    if usable.sum() < _LEAST_USERS:
        raise DataError(
            "the order value model needs at least {least} users with an order of positive value: found {found:,}"
            " of {users:,}",
            "订单金额模型至少需要 {least} 位有正金额订单的用户：{users:,} 位中找到 {found:,} 位",
            least=_LEAST_USERS,
            found=int(usable.sum()),
            users=len(x),
        )
    return _fit(x[usable], z[usable], left_out=int((~usable).sum()))


def _fit(x: Vector, z: Vector, left_out: int) -> GammaGamma:
    scale = np.log([1.0, 1.0, float(z.mean())])
    lower, upper = scale - _REACH, scale + _REACH
    lower[1] = np.log(_LEAST_Q)
    found = [maximise(lambda t: _evaluate(t, x, z), np.log(s) + scale, lower, upper) for s in _STARTS]
    best = max(found, key=lambda o: o.value)
    p, q, gamma = (float(v) for v in np.exp(best.point))
    errors = tuple((np.exp(best.point) * best.spread(best.hessian)).tolist())
    return GammaGamma(p, q, gamma, best.value, errors, len(x), left_out, best.converged, best.describe(_PARAMETERS))


def _usable(x: Vector, z: Vector) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(x) & np.isfinite(z) & (x > 0) & (z > 0))


def _evaluate(point: Vector, x: Vector, z: Vector) -> Evaluation:
    """Log-likelihood, gradient and Hessian in the logs of (p, q, gamma)."""
    p, q, gamma = np.exp(point)
    px, pool, total = p * x, gamma + x * z, p * x + q
    share = np.log(x * z) - np.log(pool)
    value = np.sum(gammaln(total) - gammaln(px) - np.log(z) + px * share + q * (np.log(gamma) - np.log(pool)))
    value -= len(x) * gammaln(q)
    tri = polygamma(1, total)
    gradient = np.array(
        [
            np.sum(x * (digamma(total) - digamma(px) + share)),
            np.sum(digamma(total) - np.log(pool)) + len(x) * (np.log(gamma) - digamma(q)),
            np.sum(q / gamma - total / pool),
        ]
    )
    pp, pq = np.sum(x * x * (tri - polygamma(1, px))), np.sum(x * tri)
    qq, p_gamma = np.sum(tri) - len(x) * polygamma(1, q), -np.sum(x / pool)
    q_gamma, gg = np.sum(1.0 / gamma - 1.0 / pool), np.sum(total / pool**2 - q / gamma**2)
    hessian = np.array([[pp, pq, p_gamma], [pq, qq, q_gamma], [p_gamma, q_gamma, gg]])
    size = np.exp(point)
    return float(value), gradient * size, hessian * np.outer(size, size) + np.diag(gradient * size)
