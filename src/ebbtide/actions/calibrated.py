"""Effects drawn towards their average as far as held-out users say, with a lower bound.

Predicted effects of the most promising are too large (the winner's curse), and with little data they say nothing at all.
So the doubly robust score of each user is regressed on the effect that was predicted without that user: a line whose
slope is 1 where predictions are right and 0 where they are noise.
Source: Chernozhukov, Demirer, Duflo and Fernandez-Val 2018, "Generic machine learning inference on heterogeneous
treatment effects" (best linear predictor).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from ebbtide.models.base import Vector

_Z = 1.6448536269514722
"""The lower bound is that of a 90 % interval: one in twenty lies below it."""


@dataclass(frozen=True)
class EffectLine:
    """effect = average + slope (predicted - centre), for one treatment; `average_error` and `slope_error` are standard
    errors. slope lies in [0, 1]; 0 where predictions are not to be followed."""

    centre: float
    average: float
    slope: float
    average_error: float
    slope_error: float

    def effect(self, predicted: Vector) -> Vector:
        """The effect to believe, (N,)."""
        return np.asarray(self.average + self.slope * (predicted - self.centre))

    def lower(self, predicted: Vector) -> Vector:
        """What the effect is above with 95 % confidence, for users of such a prediction on average, (N,)."""
        spread = np.sqrt(self.average_error**2 + ((predicted - self.centre) * self.slope_error) ** 2)
        return np.asarray(self.effect(predicted) - _Z * spread)

    def to_json(self) -> dict[str, float]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**data)


def effect_lines(predicted: Vector, scores: Vector, *, follow: bool) -> tuple[EffectLine, ...]:
    """One line a treatment. predicted (N, K - 1) by models that had not seen the row; scores (N, K) doubly robust.
    follow: whether the ranking by effect is to be used at all; if not, everybody is told the average.

    >>> line, = effect_lines(np.array([[0.0], [1.0]] * 50), np.array([[0.0, 0.2], [0.0, 0.4]] * 50), follow=True)
    >>> round(line.average, 3), round(line.slope, 3)
    (0.3, 0.2)
    """
    return tuple(_line(p, scores[:, t + 1] - scores[:, 0], follow=follow) for t, p in enumerate(predicted.T))


def believed(lines: Sequence[EffectLine], predicted: Vector) -> tuple[Vector, Vector]:
    """The effects to believe and their lower bounds, each (N, K - 1)."""
    columns = list(zip(lines, predicted.T, strict=True))
    return (
        np.column_stack([line.effect(p) for line, p in columns]),
        np.column_stack([line.lower(p) for line, p in columns]),
    )


def _line(predicted: Vector, gained: Vector, *, follow: bool) -> EffectLine:
    centre, average, rows = float(predicted.mean()), float(gained.mean()), len(gained)
    error = float(gained.std() / np.sqrt(rows))
    away = predicted - centre
    spread = float(away @ away)
    if not follow or spread <= 1e-12 * rows:
        return EffectLine(centre, average, 0.0, error, 0.0)
    slope = float(away @ gained) / spread
    left = gained - average - slope * away
    slope_error = float(np.sqrt((away**2) @ (left**2)) / spread)
    return EffectLine(centre, average, float(np.clip(slope, 0.0, 1.0)), error, slope_error)
