"""What to expect of each user: orders and value over the horizon and over a year, and when the next order comes.

Orders: BG/NBD on the user's distinct outcome days. Value: expected orders times gamma-gamma's expected order value.

Next order: while the user stays, BG/NBD waits for the next order with a gamma-mixed exponential, so that the time from
as_of is Lomax: P(it comes within u) = 1 - ((alpha + T) / (alpha + T + u))^(r + x). Given that it comes within a year,
its quantiles have a closed form; the date is the median, the interval holds 80 % of the orders that come.
Sources: Fader, Hardie, Lee 2005, section 4; Fader, Hardie 2013.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebbtide.models.bgnbd import BgNbd
from ebbtide.models.gamma_gamma import GammaGamma

YEAR_DAYS = 365.0
INTERVAL = (0.1, 0.9)

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Outlook:
    """All (N,), NaN where unknown: expected orders over the horizon and a year, expected value over a year, days until
    the next order (median, low and high end) if one comes within a year."""

    orders: Vector
    orders_year: Vector
    value_year: Vector
    next_days: Vector
    next_low_days: Vector
    next_high_days: Vector


def outlook_of(
    lifetimes: Vector, money: Vector, bgnbd: BgNbd | None, gamma_gamma: GammaGamma | None, horizon_days: float
) -> Outlook:
    """`lifetimes` (N, 3): x, t_x, T in days, NaN without an outcome event; `money` (N, 2): orders, mean order value."""
    nothing = np.full(len(lifetimes), np.nan)
    known = np.asarray(np.isfinite(lifetimes).all(axis=1))
    if bgnbd is None or not known.any():
        return Outlook(*(nothing.copy() for _ in range(6)))
    x, t_x, age = lifetimes[known].T
    worth = nothing if gamma_gamma is None else gamma_gamma.expected_value(money[:, 0], money[:, 1])
    orders, year = (_filled(bgnbd.expected_orders(x, t_x, age, d), known) for d in (horizon_days, YEAR_DAYS))
    ends = [_filled(next_order_days(bgnbd, x, age, q), known) for q in (0.5, *INTERVAL)]
    return Outlook(orders, year, year * worth, ends[0], ends[1], ends[2])


def next_order_days(bgnbd: BgNbd, x: Vector, age: Vector, share: float, within_days: float = YEAR_DAYS) -> Vector:
    """Days until the next order, the quantile `share`, given that it comes within `within_days`; (N,).

    >>> b = BgNbd(1.0, 10.0, 1.0, 1.0, 0.0, (0.0,) * 4, 1, True, None)
    >>> next_order_days(b, np.array([0.0]), np.array([20.0]), 0.5, 30.0).round(6).tolist()
    [10.0]
    """
    power, scale = bgnbd.r + x, bgnbd.alpha + age
    reached = -np.expm1(power * np.log(scale / (scale + within_days)))
    return np.asarray(scale * np.expm1(-np.log1p(-share * reached) / power))


def _filled(values: Vector, known: NDArray[np.bool_]) -> Vector:
    out = np.full(len(known), np.nan)
    out[known] = values
    return out
