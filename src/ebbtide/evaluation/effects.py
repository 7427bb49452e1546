"""What an action changed in an experiment: the difference between two arms by intention to treat, with its interval.

Every user counts in the arm that was drawn, whatever happened afterwards. `treated` (N,) says who was drawn into
treatment, `y` (N,) is the outcome, `covariates` (N, K) are numbers known before the draw.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from ebbtide.evaluation.tally import Vector

LEAST_USERS = 2
"""Users an arm needs before it has a variance."""


@dataclass(frozen=True)
class Effect:
    """Treatment minus control. `explained` is the share of the outcome's variance that the covariates took away.

    `value`, interval and `p_value` are None where an arm has fewer than two users; where nothing varies, the interval
    is a point.
    """

    value: float | None
    low: float | None
    high: float | None
    p_value: float | None
    standard_error: float | None
    treated: int
    control: int
    treated_mean: float | None
    control_mean: float | None
    explained: float = 0.0

    @property
    def width(self) -> float | None:
        """Length of the interval."""
        return None if self.low is None or self.high is None else self.high - self.low

    @property
    def sign(self) -> int:
        """1 or -1 if the interval leaves out zero, else 0."""
        if self.low is None or self.high is None:
            return 0
        return 1 if self.low > 0 else -1 if self.high < 0 else 0

    def scaled(self, factor: float) -> Effect:
        """The same effect in another unit, `factor` > 0."""
        names = ("value", "low", "high", "standard_error", "treated_mean", "control_mean")
        numbers = {n: None if (x := getattr(self, n)) is None else x * factor for n in names}
        return Effect(**{**asdict(self), **numbers})

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return asdict(self)


def difference(y: NDArray[Any], treated: NDArray[np.bool_], *, alpha: float = 0.05) -> Effect:
    """The difference of the means with Welch's interval.

    Source: Welch 1947; degrees of freedom after Satterthwaite.

    >>> effect = difference(np.array([1.0, 2.0, 3.0, 0.0, 1.0, 2.0]), np.array([1, 1, 1, 0, 0, 0], bool))
    >>> effect.value, round(effect.low, 3), round(effect.high, 3)
    (1.0, -1.267, 3.267)
    """
    return _welch(np.asarray(y, np.float64), np.asarray(y, np.float64), treated, alpha, 0.0)


def adjusted_difference(
    y: NDArray[Any], treated: NDArray[np.bool_], covariates: NDArray[Any], *, alpha: float = 0.05
) -> Effect:
    """The difference after taking away what could be known before the draw: CUPED, or CUPAC with a prediction.

    `y - theta (x - mean x)`, with `theta` from least squares over both arms together. The expected difference stays
    what it is, because the draw does not know `x`; the variance falls by the share of it that `x` explains. A missing
    covariate is replaced by its mean and says nothing. Covariates that are constant or repeat each other are dropped.

    Sources: Deng, Xu, Kohavi, Walker 2013 (CUPED); Tang, Huang, Kastelman, Bauman 2020 (CUPAC: `x` is a prediction).
    """
    y, X = np.asarray(y, np.float64), _centred(covariates)
    if len(y) <= X.shape[1] + LEAST_USERS:
        return difference(y, treated, alpha=alpha)
    theta = np.linalg.lstsq(X, y - y.mean(), rcond=1e-10)[0]
    rest = y - X @ theta
    spread = float(np.var(y))
    explained = 1 - float(np.var(rest)) / spread if spread > 0 else 0.0
    return _welch(rest, y, treated, alpha, max(explained, 0.0))


def ratio_difference(
    above: NDArray[Any], below: NDArray[Any], treated: NDArray[np.bool_], *, alpha: float = 0.05
) -> Effect:
    """The difference of two ratios of sums, such as discount over turnover; users who bring nothing count as nothing.

    Linearised arm by arm (delta method: Deng, Knoblich, Lu 2018). Undefined where an arm's `below` adds up to 0.

    >>> ratio_difference(np.array([1, 2, 1, 0]), np.array([4, 4, 4, 4]), np.array([1, 1, 0, 0], bool)).value
    0.25
    """
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    treated = np.asarray(treated, np.bool_)
    linear = np.zeros(len(above))
    for arm in (treated, ~treated):
        base = float(below[arm].mean()) if arm.any() else 0.0
        if not base:
            return Effect(None, None, None, None, None, int(treated.sum()), int((~treated).sum()), None, None)
        ratio = float(above[arm].mean()) / base
        linear[arm] = ratio + (above[arm] - ratio * below[arm]) / base
    return _welch(linear, linear, treated, alpha, 0.0)


def explained_share(y: NDArray[Any], covariates: NDArray[Any]) -> float:
    """The share of the variance of `y` that a linear combination of the covariates explains; 0 if nothing varies."""
    y, X = np.asarray(y, np.float64), _centred(covariates)
    spread = float(np.var(y)) if len(y) else 0.0
    if not spread or len(y) <= X.shape[1] + LEAST_USERS:
        return 0.0
    theta = np.linalg.lstsq(X, y - y.mean(), rcond=1e-10)[0]
    return max(0.0, 1 - float(np.var(y - X @ theta)) / spread)


def unit_differences(y: NDArray[Any], treated: NDArray[np.bool_]) -> tuple[float, float]:
    """Mean and standard deviation of one user's contribution to the difference, for sequential read-out.

    A user contributes `D + T (y - m1) / p - (1 - T) (y - m0) / (1 - p)`, where D = m1 - m0 and p is the share of
    treated users: its mean over the users is D, its variance `s1^2 / p + s0^2 / (1 - p)` (the influence function of
    the difference in means). NaN where an arm has fewer than two users.
    """
    one, other = y[treated], y[~treated]
    if min(len(one), len(other)) < LEAST_USERS:
        return math.nan, math.nan
    share = len(one) / len(y)
    spread = np.var(one, ddof=1) / share + np.var(other, ddof=1) / (1 - share)
    return float(one.mean() - other.mean()), math.sqrt(float(spread))


def adjusted_outcome(y: NDArray[Any], covariates: NDArray[Any]) -> Vector:
    """The outcome less what the covariates explain, with the same mean: what `adjusted_difference` compares."""
    y, X = np.asarray(y, np.float64), _centred(covariates)
    if len(y) <= X.shape[1] + LEAST_USERS:
        return y
    return np.asarray(y - X @ np.linalg.lstsq(X, y - y.mean(), rcond=1e-10)[0])


def _welch(rest: Vector, y: Vector, treated: NDArray[np.bool_], alpha: float, explained: float) -> Effect:
    treated = np.asarray(treated, np.bool_)
    n, m = int(treated.sum()), int((~treated).sum())
    means = (float(y[treated].mean()) if n else None, float(y[~treated].mean()) if m else None)
    if min(n, m) < LEAST_USERS:
        return Effect(None, None, None, None, None, n, m, *means, explained)
    value = float(rest[treated].mean() - rest[~treated].mean())
    one, other = float(np.var(rest[treated], ddof=1)) / n, float(np.var(rest[~treated], ddof=1)) / m
    error = math.sqrt(one + other)
    if error == 0:
        return Effect(value, value, value, 1.0 if value == 0 else 0.0, 0.0, n, m, *means, explained)
    freedom = (one + other) ** 2 / (one**2 / (n - 1) + other**2 / (m - 1))
    reach = float(student.ppf(1 - alpha / 2, freedom)) * error
    p_value = 2 * float(student.sf(abs(value) / error, freedom))
    return Effect(value, value - reach, value + reach, p_value, error, n, m, *means, explained)


def _centred(covariates: NDArray[Any]) -> Vector:
    """(N, K) with mean 0 and missing values at the mean; columns in a common scale."""
    X = np.asarray(covariates, np.float64)
    X = X[:, None] if X.ndim == 1 else X
    known = np.isfinite(X)
    count = np.maximum(known.sum(0), 1)
    middle = np.where(known, X, 0.0).sum(0) / count
    centred = np.where(known, X - middle, 0.0)
    scale = np.sqrt((centred**2).mean(0)) if len(X) else np.ones(X.shape[1])
    return np.asarray(centred / np.where(scale > 0, scale, 1.0))
