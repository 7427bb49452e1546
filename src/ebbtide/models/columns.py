"""Columns that fitted models add to the engine's: they follow the catalogue's columns, in X and in the reasons.

BG/NBD's expected orders always come first. Column makers come next: an encoder of event sequences, a compression of
the columns, the margin of a neural net. A maker that learns from labels may only be read by a model that learns nothing
more (`ReadModel`), for its columns fit the training rows too well; one without labels may feed any model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np

from ebbtide.core.language import Text
from ebbtide.features.declarations import Feature, Unit
from ebbtide.models.base import Matrix, Rows
from ebbtide.models.bgnbd import ExpectedOrders
from ebbtide.models.setting import Setting
from ebbtide.sequences.event_log import Sequences


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
    return np.column_stack([X, _expected_orders(X, names, setting)])


def rows_with_model_columns(rows: Rows, setting: Setting) -> Rows:
    """Rows with the model columns at their end."""
    return rows.widened(
        tuple(c.name for c in model_columns(setting.horizon_days)), _expected_orders(rows.X, rows.names, setting)
    )


class ColumnMaker(Protocol):
    """A fitted thing that makes columns from a row's base columns (catalogue, then expected orders) and its events.

    `columns` gives float32 (N, K), K = len(declarations()); the same for a row in any company. Saved as text, npz or
    safetensors in a folder of its own, never pickled.
    """

    @property
    def name(self) -> str: ...

    def fit(self, rows: Rows, *, seed: int) -> Self: ...

    def declarations(self) -> tuple[ModelColumn, ...]: ...

    def columns(self, X: Matrix, sequences: Sequences | None) -> Matrix: ...

    def save(self, folder: Path) -> None: ...

    @classmethod
    def load(cls, folder: Path) -> Self: ...


def _expected_orders(X: Matrix, names: tuple[str, ...], setting: Setting) -> Matrix:
    if setting.bgnbd is None:
        return np.full(len(X), np.nan, np.float32)
    return ExpectedOrders(setting.bgnbd, setting.horizon_days).column(X, names)
