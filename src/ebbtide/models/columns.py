"""Columns that a fitted model adds to the engine's: they follow the catalogue's columns, in X and in the reasons."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ebbtide.core.language import Text
from ebbtide.features.declarations import Feature, Unit
from ebbtide.models.base import Matrix, Rows
from ebbtide.models.bgnbd import ExpectedOrders
from ebbtide.models.registry import Setting


@dataclass(frozen=True)
class ModelColumn(Feature):
    """The declaration of a column that a model computes, for reasons and documentation."""

    column: str
    words: Text
    counted: Unit = "number"
    kind: str = "rhythm"

    @property
    def name(self) -> str:
        """Column name."""
        return self.column

    @property
    def unit(self) -> Unit:
        """What the number counts."""
        return self.counted

    @property
    def family(self) -> str:
        """A key of `families.FAMILIES`."""
        return self.kind

    @property
    def description(self) -> Text:
        """The column in words."""
        return self.words

    @property
    def requires(self) -> frozenset[str]:
        """Nothing beyond the outcome."""
        return frozenset()


def model_columns(horizon_days: float) -> tuple[ModelColumn, ...]:
    """The columns that follow the catalogue's."""
    words = Text(
        f"orders to expect in the next {horizon_days:g} days from timing alone (BG/NBD)",
        f"仅由时间规律推算的未来 {horizon_days:g} 天预期订单数（BG/NBD）",
    )
    return (ModelColumn(column=ExpectedOrders.name, words=words),)


def with_model_columns(X: Matrix, names: tuple[str, ...], setting: Setting) -> Matrix:
    """X with the model columns at its end; without BG/NBD parameters they are unknown."""
    if setting.bgnbd is None:
        extra = np.full(len(X), np.nan, np.float32)
    else:
        extra = ExpectedOrders(setting.bgnbd, setting.horizon_days).column(X, names)
    return np.column_stack([X, extra])


def rows_with_model_columns(rows: Rows, setting: Setting) -> Rows:
    """Rows with the model columns at their end."""
    names = (*rows.names, *(c.name for c in model_columns(setting.horizon_days)))
    return replace(rows, X=with_model_columns(rows.X, rows.names, setting), names=names)
