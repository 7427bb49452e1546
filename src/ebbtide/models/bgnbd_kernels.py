"""The numbers behind BG/NBD, compiled: likelihood with its derivatives, expectation, log-odds of no order.

Times and alpha are in one unit. Equations of Fader, Hardie, Lee (2005); see `bgnbd.py` for the words.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ebbtide.models.base import Vector

MARGIN_LIMIT = 30.0
_LEAST_LOG = -600.0


@njit(cache=True)
def log_likelihood(
    r: float,
    alpha: float,
    a: float,
    b: float,
    x: Vector,
    t_x: Vector,
    age: Vector,
    weights: Vector,
    more_than: Vector,
) -> Vector:
    """Equation 6 summed over users: value, gradient (4), Hessian (16) in (r, alpha, a, b).

    Ratios of gamma functions at whole distances are sums of logarithms, gamma(r + x) / gamma(r) = r (r+1) ... (r+x-1),
    and those are shared by all users with more than k repeats.
    """
    value, g, h = 0.0, np.zeros(4), np.zeros((4, 4))
    for k in range(len(more_than)):
        w, rk, bk, ck = more_than[k], r + k, b + k, a + b + k
        value += w * (np.log(rk) + np.log(bk) - np.log(ck))
        g[0] += w / rk
        g[2] -= w / ck
        g[3] += w / bk - w / ck
        h[0, 0] -= w / rk**2
        h[2, 2] += w / ck**2
        h[2, 3] += w / ck**2
        h[3, 3] += w / ck**2 - w / bk**2
    log_alpha = np.log(alpha)
    for i in range(len(x)):
        w, s, late, early = weights[i], r + x[i], alpha + age[i], alpha + t_x[i]
        log_late = np.log(late)
        value += w * (r * log_alpha - s * log_late)
        g[0] += w * (log_alpha - log_late)
        g[1] += w * (r / alpha - s / late)
        h[0, 1] += w * (1.0 / alpha - 1.0 / late)
        h[1, 1] += w * (s / late**2 - r / alpha**2)
        if x[i] > 0:
            # log(1 + e^d), d = log-odds of having left at t_x; n = its gradient, p = its sigmoid
            log_ratio, left = log_late - np.log(early), b + x[i] - 1.0
            d = np.log(a) - np.log(left) + s * log_ratio
            p = 1.0 / (1.0 + np.exp(-d)) if d > 0 else np.exp(d) / (1.0 + np.exp(d))
            value += w * (max(d, 0.0) + np.log1p(np.exp(-abs(d))))
            n1, n2, n3 = s * (1.0 / late - 1.0 / early), 1.0 / a, -1.0 / left
            wp, wv = w * p, w * p * (1.0 - p)
            g[0] += wp * log_ratio
            g[1] += wp * n1
            g[2] += wp * n2
            g[3] += wp * n3
            h[0, 0] += wv * log_ratio * log_ratio
            h[0, 1] += wv * log_ratio * n1 + wp * (1.0 / late - 1.0 / early)
            h[0, 2] += wv * log_ratio * n2
            h[0, 3] += wv * log_ratio * n3
            h[1, 1] += wv * n1 * n1 + wp * s * (1.0 / early**2 - 1.0 / late**2)
            h[1, 2] += wv * n1 * n2
            h[1, 3] += wv * n1 * n3
            h[2, 2] += wv * n2 * n2 - wp / a**2
            h[2, 3] += wv * n2 * n3
            h[3, 3] += wv * n3 * n3 + wp / left**2
    out = np.empty(21)
    out[0] = value
    out[1:5] = g
    for i in range(4):
        for j in range(4):
            out[5 + 4 * i + j] = h[min(i, j), max(i, j)]
    return out


@njit(cache=True)
def _log_dead(r: float, alpha: float, a: float, b: float, x: float, t_x: float, age: float) -> float:
    """Log-odds that the user has left already; minus infinity for a one-time buyer."""
    if x <= 0.0:
        return -np.inf
    return float(np.log(a / max(b + x - 1.0, 1e-9)) + (r + x) * np.log((alpha + age) / (alpha + t_x)))


@njit(cache=True)
def expected_orders(
    r: float, alpha: float, a: float, b: float, x: Vector, t_x: Vector, age: Vector, horizon: float
) -> Vector:
    out = np.empty(len(x))
    for i in range(len(x)):
        if np.isnan(x[i] + t_x[i] + age[i]):
            out[i] = np.nan
            continue
        alive = 1.0 / (1.0 + np.exp(min(700.0, _log_dead(r, alpha, a, b, x[i], t_x[i], age[i]))))
        out[i] = alive * _expected_if_alive(r + x[i], a, b + x[i], horizon / (alpha + age[i] + horizon))
    return out


@njit(cache=True)
def _expected_if_alive(s: float, a: float, b: float, z: float) -> float:
    """Sum over k >= 1 of P(N >= k) P(stays k - 1 times); N negative binomial (s, z), leaving probability beta(a, b).

    It ends where the rest is below 1e-13 of the sum; at 100,000 terms at the latest, which needs a horizon of more
    than a thousand times alpha + T.
    """
    log_p = s * np.log1p(-z)
    p = np.exp(log_p) if log_p > _LEAST_LOG else 0.0
    tail, total, stays, k = -np.expm1(log_p), 0.0, 1.0, 1
    while k < 100_000:
        total += tail * stays
        ratio = z * (s + k - 1.0) / k
        if p > 0.0:
            p *= ratio
        else:
            log_p += np.log(ratio)
            p = np.exp(log_p) if log_p > _LEAST_LOG else 0.0
        shrink = z * (s + k) / (k + 1.0)
        if shrink < 1.0 and p * stays < 1e-13 * total * (1.0 - shrink) ** 2:
            break
        tail = max(tail - p, 0.0)
        stays *= (b + k - 1.0) / (a + b + k - 1.0)
        k += 1
    return float(total)


@njit(cache=True)
def log_odds_none(
    r: float, alpha: float, a: float, b: float, x: Vector, t_x: Vector, age: Vector, horizon: float
) -> Vector:
    out = np.empty(len(x))
    for i in range(len(x)):
        dead = _log_dead(r, alpha, a, b, x[i], t_x[i], age[i])
        log_alive = -(max(dead, 0.0) + np.log1p(np.exp(-abs(dead))))
        log_some = log_alive + np.log(-np.expm1(-(r + x[i]) * np.log1p(horizon / (alpha + age[i]))))
        none = -np.expm1(log_some)
        margin = np.log(none) - log_some if none > 0.0 else -MARGIN_LIMIT
        out[i] = min(max(margin, -MARGIN_LIMIT), MARGIN_LIMIT)
    return out
