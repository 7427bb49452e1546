"""Whether probabilities mean what they say: log loss, Brier score, expected calibration error, calibration curve.

Functions named `..._of` take a `Tally` and answer once a draw, (D,).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebbtide.evaluation.intervals import wilson
from ebbtide.evaluation.tally import Tally, Vector, check_probabilities, tally

BINS = 10
_FLOOR = 1e-6


@dataclass(frozen=True)
class CalibrationBin:
    """One bin of the calibration curve: users, mean probability, churn rate with its 95 % Wilson interval.

    `users` may be a fraction: users of equal probability are spread over the bins that they straddle.
    """

    users: float
    probability: float
    churn_rate: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """JSON-safe fields."""
        return asdict(self)


def log_loss(y: NDArray[Any], p: NDArray[Any]) -> float:
    """Mean negative log-likelihood; probabilities are kept 1e-6 away from 0 and 1.

    >>> round(log_loss(np.array([1, 0]), np.array([0.5, 0.5])), 4)
    0.6931
    """
    return float(log_loss_of(_checked(y, p))[0])


def brier(y: NDArray[Any], p: NDArray[Any]) -> float:
    """Mean squared distance of probability and outcome.

    >>> brier(np.array([1, 0]), np.array([0.5, 0.0]))
    0.125
    """
    return float(brier_of(_checked(y, p))[0])


def ece(y: NDArray[Any], p: NDArray[Any], *, bins: int = BINS) -> float:
    """Expected calibration error: |mean probability - churn rate|, averaged over `bins` bins of equally many users.

    Ties: users of equal probability share their average outcome, so row order does not matter.
    Small samples push it up: with 10 bins of n users each a perfect model shows about 0.4 / sqrt(n) at base rate .5.

    >>> round(ece(np.array([1, 1, 0, 0]), np.array([0.9, 0.9, 0.2, 0.2]), bins=2), 4)
    0.15
    """
    return float(ece_of(_checked(y, p), bins=bins)[0])


def calibration_curve(y: NDArray[Any], p: NDArray[Any], *, bins: int = BINS) -> tuple[CalibrationBin, ...]:
    """The bins of `ece`, lowest probabilities first; bins without users (fewer users than bins) are left out."""
    t = _checked(y, p)
    spread = _bin_shares(t.total[0], bins)
    users, churned = t.total[0] @ spread, t.churned[0] @ spread
    expected = (t.total[0] * t.score) @ spread
    curve = []
    for n, k, e in zip(users.tolist(), churned.tolist(), expected.tolist(), strict=True):
        if n > 0:
            low, high = wilson(k, n)
            curve.append(CalibrationBin(n, e / n, k / n, low, high))
    return tuple(curve)


def log_loss_of(t: Tally) -> Vector:
    """Log loss of each draw, (D,)."""
    p = np.clip(t.score, _FLOOR, 1 - _FLOOR)
    return np.asarray(-(t.churned @ np.log(p) + t.retained @ np.log1p(-p)) / t.total.sum(1))


def brier_of(t: Tally) -> Vector:
    """Brier score of each draw, (D,)."""
    return np.asarray((t.churned @ (1 - t.score) ** 2 + t.retained @ t.score**2) / t.total.sum(1))


def ece_of(t: Tally, *, bins: int = BINS, reference: Tally | None = None) -> Vector:
    """Expected calibration error of each draw, (D,). The bins are those of `reference` (default: of the first draw)."""
    spread = _bin_shares((reference or t).total[0], bins)
    gaps = (t.churned - t.total * t.score) @ spread
    return np.asarray(np.abs(gaps).sum(1) / t.total.sum(1))


def _bin_shares(users: Vector, bins: int) -> Vector:
    """Which share of each distinct score's users falls into each bin, (G, bins), lowest scores in bin 0.

    Bin sizes differ by one at most, larger ones first, as in `numpy.array_split`.
    """
    end = np.cumsum(users[::-1])[::-1]
    count = round(float(end[0]))
    sizes = np.full(bins, count // bins) + (np.arange(bins) < count % bins)
    edges = np.r_[0, np.cumsum(sizes)].astype(np.float64)
    overlap = np.minimum(end[:, None], edges[1:]) - np.maximum((end - users)[:, None], edges[:-1])
    return np.asarray(np.clip(overlap, 0, None) / np.maximum(users, 1e-300)[:, None])


def _checked(y: NDArray[Any], p: NDArray[Any]) -> Tally:
    check_probabilities(p)
    return tally(y, p)
