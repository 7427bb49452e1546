"""Gradient-boosted trees of full size: many rounds, small leaves, the best thresholds.

A shop's log drifts and its columns tell much the same, so there the small trees of `lightgbm.py` win. A ready-made
table is of one moment, and its columns may only tell something together: there large trees may find what small ones
cannot say.
"""

from __future__ import annotations

from typing import ClassVar

from ebbtide.models.lightgbm import BoostingConfig, LightGbmModel

LARGE = BoostingConfig(
    leaves=31,
    depth=12,
    learning_rate=0.08,
    seeds=3,
    rehearsal_seeds=1,
    leaf_rows=10,
    leaf_share=0.0,
    column_share=0.7,
    row_share=0.8,
    ridge=1.0,
    random_thresholds=False,
)


class LargeLightGbmModel(LightGbmModel):
    """LightGBM with large trees; all else is that of the small ones."""

    name: ClassVar[str] = "lightgbm_large"
    rounds_grid: ClassVar[tuple[int, ...]] = (25, 50, 80, 120, 180, 270, 400, 600)
    usual_rounds: ClassVar[int] = 120

    def __init__(self, config: BoostingConfig | None = None, rounds: int | None = None) -> None:
        super().__init__(config or LARGE, rounds)
