"""Who of the lapsed comes back: a model of its own beside churn, with the figures of its test.

The lapsed are users whose last outcome event lies outside the eligibility window; they come back if they have an
outcome event in the outcome window. Inside, the stack speaks of not coming back, so that it is trained, chosen and
calibrated by the same code as churn.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from ebbtide.evaluation.intervals import Estimate
from ebbtide.models.base import Matrix, Vector, sigmoid
from ebbtide.models.calibration import AffineCalibration
from ebbtide.models.registry import load_stack
from ebbtide.models.sealed import read_json, write_json
from ebbtide.models.stack import StackModel

COMEBACK = "comeback"
_ABOUT = "comeback.json"


@dataclass(frozen=True)
class ComebackFigures:
    """What was learnt from, and the test: past moments up to `tested_at`, each by models that had not seen it.

    `auroc` ranks those who came back above those who did not; `predicted` and `observed` are shares that came back.
    """

    rows: int
    returned: int
    tested_at: str
    test_moments: int
    test_users: int
    test_returned: int
    auroc: Estimate
    predicted: float
    observed: float

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**{**data, "auroc": Estimate(**data["auroc"])})


@dataclass(frozen=True)
class Comeback:
    """A fitted model of coming back; it reads the bundle's base columns (catalogue and expected orders)."""

    stack: StackModel
    calibration: AffineCalibration
    figures: ComebackFigures

    def probability(self, X: Matrix) -> Vector:
        """Calibrated probability of coming back within the horizon, (N,)."""
        if not len(X):
            return np.empty(0)
        return sigmoid(-self.calibration.apply(self.stack.margin(X)))

    def save(self, folder: Path) -> None:
        """The stack's folders and one JSON file."""
        self.stack.save(folder)
        about = {"calibration": self.calibration.to_json(), "figures": self.figures.to_json()}
        write_json(folder / _ABOUT, about)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        about = read_json(folder / _ABOUT)
        calibration = AffineCalibration.from_json(about["calibration"])
        return cls(load_stack(folder), calibration, ComebackFigures.from_json(about["figures"]))
