"""Kaplan-Meier curves of spells: the share of spells that last longer than d days, open spells respected."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebbtide.churn.spells import Spells

_Z = 1.959963984540054
_ENOUGH_AT_RISK = 50


@dataclass(frozen=True)
class SurvivalCurve:
    """A step curve: from `days[i]` on (until the next), `share[i]` of spells last longer; one entry a day on which any
    ended. `low` and `high` bound it at 95 %. `followed_days`: the last day on which at least 50 spells were at risk; beyond,
    single users would decide.
    """

    days: tuple[int, ...]
    at_risk: tuple[int, ...]
    ended: tuple[int, ...]
    share: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    followed_days: int

    def at(self, day: float) -> float:
        """The share of spells that last longer than `day` days; 1 before the first end."""
        place = int(np.searchsorted(self.days, day, side="right"))
        return self.share[place - 1] if place else 1.0

    @property
    def median_days(self) -> int | None:
        """The first day on which at most half of the spells last longer; null if the curve stays above one half."""
        return next((d for d, s in zip(self.days, self.share, strict=True) if s <= 0.5), None)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return asdict(self) | {"median_days": self.median_days}


def survival_curve(spells: Spells) -> SurvivalCurve:
    """The Kaplan-Meier estimate with Greenwood's variance and the log-log interval.

    A spell that is open on day d counts as at risk on day d. Where the share is 1 or 0 the bounds equal it.
    Source: Kaplan and Meier 1958; Kalbfleisch and Prentice 1980, section 1.3.

    >>> curve = survival_curve(Spells(np.array([0, 1, 1]), np.array([0, 1, 1])))
    >>> curve.days, curve.at_risk, curve.share
    ((1, 2), (4, 2), (0.75, 0.375))
    """
    lengths = spells.ended + spells.open
    at_risk = np.cumsum(lengths[::-1])[::-1]
    days = np.flatnonzero(spells.ended)
    followed = np.flatnonzero(at_risk >= _ENOUGH_AT_RISK)
    n, d = at_risk[days].astype(np.float64), spells.ended[days].astype(np.float64)
    share = np.cumprod(1 - d / n, dtype=np.float64)
    low, high = _log_log_bounds(n, d, share)
    return SurvivalCurve(
        tuple(days.tolist()),
        tuple(at_risk[days].tolist()),
        tuple(spells.ended[days].tolist()),
        tuple(share.tolist()),
        tuple(low.tolist()),
        tuple(high.tolist()),
        int(followed[-1]) if len(followed) else 0,
    )


def _log_log_bounds(
    n: NDArray[np.float64], d: NDArray[np.float64], share: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    low, high = share.copy(), share.copy()
    inside = (share > 0) & (share < 1)
    greenwood = np.cumsum((d / (n * np.maximum(n - d, 1)))[inside])
    width = _Z * np.sqrt(greenwood) / np.abs(np.log(share[inside]))
    low[inside] = share[inside] ** np.exp(width)
    high[inside] = share[inside] ** np.exp(-width)
    return low, high


def returning_share(curve: SurvivalCurve, silent_days: float) -> float | None:
    """Of spells of silence that have lasted `silent_days`, the share that still ends within `followed_days`.

    Null where too few spells were followed for so long, or where every one had ended by then.
    """
    lasting = curve.at(silent_days)
    if silent_days >= curve.followed_days or lasting <= 0:
        return None
    return 1 - curve.at(curve.followed_days) / lasting
