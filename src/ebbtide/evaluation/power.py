"""How many users an experiment needs, and what it can find with those it has: told before it starts."""

from __future__ import annotations

import math

from scipy.stats import norm


def minimum_detectable_effect(
    variance: float,
    treated: int,
    control: int,
    *,
    explained: float = 0.0,
    alpha: float = 0.05,
    power: float = 0.8,
) -> float:
    """The smallest true difference that is found with this power by a two-sided test at `alpha`.

    `variance` is that of the outcome of one user, `explained` the share of it that covariates take away. Infinite
    for an empty arm. Normal approximation: `(z(1 - alpha/2) + z(power)) * sqrt(var (1 - explained) (1/n + 1/m))`.

    >>> round(minimum_detectable_effect(0.25, 800, 200), 4)
    0.1107
    """
    if min(treated, control) < 1:
        return math.inf
    return _reach(alpha, power) * math.sqrt(variance * (1 - explained) * (1 / treated + 1 / control))


def sample_size(
    variance: float,
    effect: float,
    *,
    control_share: float = 0.5,
    explained: float = 0.0,
    alpha: float = 0.05,
    power: float = 0.8,
) -> int:
    """Users in both arms together that find a true difference of `effect` with this power.

    The inverse of `minimum_detectable_effect`. `effect` is not 0, `control_share` lies between 0 and 1.

    >>> sample_size(0.25, 0.1)
    785
    """
    per_user = variance * (1 - explained) * (1 / control_share + 1 / (1 - control_share))
    return math.ceil(per_user * (_reach(alpha, power) / effect) ** 2)


def power_of(
    variance: float, effect: float, treated: int, control: int, *, explained: float = 0.0, alpha: float = 0.05
) -> float:
    """The chance to find a true difference of `effect`; 0 for an empty arm."""
    if min(treated, control) < 1 or variance * (1 - explained) <= 0:
        return 0.0
    error = math.sqrt(variance * (1 - explained) * (1 / treated + 1 / control))
    limit = float(norm.isf(alpha / 2))
    return float(norm.sf(limit - abs(effect) / error) + norm.cdf(-limit - abs(effect) / error))


def _reach(alpha: float, power: float) -> float:
    return float(norm.isf(alpha / 2) + norm.ppf(power))
