"""A ready-made table as a design matrix. What depends on the rows is fitted on training rows only, without labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.features.table_columns import (
    KINDS,
    DateColumn,
    FlagColumn,
    LevelColumn,
    MissingColumn,
    NumberColumn,
    SharedColumn,
    TableColumn,
)
from ebbtide.features.table_fields import TableField

LEAST_ROWS = 10
"""Rows that a category needs for a column of its own: fewer say little, and could point at a person."""
MOST_LEVELS = 30
TIME = "\x00time"
"""The column of a read table that holds each row's own time, in days since 1970."""


@dataclass(frozen=True)
class TableEncoding:
    """The columns of the design, in order. `shares`: column -> category -> share of the training rows that say
    something, for columns with rare categories, which are not named: they count as unseen."""

    columns: tuple[TableColumn, ...]
    shares: dict[str, dict[str, float]]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the design's columns."""
        return tuple(c.name for c in self.columns)

    @classmethod
    def fit(cls, fields: Sequence[TableField], table: pl.DataFrame, time: str = "") -> Self:
        """Learn categories and reference days from a read table (`read_fields`). `time` names the file's time column.

        Row order does not matter.
        """
        columns: list[TableColumn] = []
        shares: dict[str, dict[str, float]] = {}
        newest = _newest_day(fields, table)
        for field in fields:
            values = table[field.column]
            if field.kind == "category":
                own, rare = _categories(values)
                columns += own
                if rare:
                    columns.append(SharedColumn(field.column))
                    shares[field.column] = rare
            elif field.kind == "date":
                columns.append(_date_column(values, table, time, newest))
            else:
                columns.append((FlagColumn if field.kind == "flag" else NumberColumn)(field.column))
        return cls(tuple(columns), shares)

    def design(self, table: pl.DataFrame) -> NDArray[np.float32]:
        """The design matrix of a read table, (N, F), NaN where a value is missing."""
        X = np.empty((len(table), len(self.columns)), np.float32)
        for place, column in enumerate(self.columns):
            X[:, place] = self._values(column, table).cast(pl.Float64).fill_null(np.nan).to_numpy()
        return X

    def _values(self, column: TableColumn, table: pl.DataFrame) -> pl.Series:
        given = table[column.column]
        match column:
            case LevelColumn():
                return (given == column.level).fill_null(False)
            case MissingColumn():
                return given.is_null()
            case SharedColumn():
                share = given.replace_strict(self.shares[column.column], default=0.0, return_dtype=pl.Float64)
                return share.set(given.is_null(), None)
            case DateColumn():
                days = (table[TIME] if column.time else column.reference_day) - given
                return -days if column.is_later else days
            case _:
                return given

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        told = [
            {"kind": type(c).__name__} | {k: v for k, v in asdict(c).items() if k != "outcome"} for c in self.columns
        ]
        return {"columns": told, "shares": self.shares}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        columns = [KINDS[c["kind"]](**{k: v for k, v in c.items() if k != "kind"}) for c in data["columns"]]
        return cls(tuple(columns), data["shares"])


def read_fields(fields: Sequence[TableField], frame: pl.DataFrame) -> pl.DataFrame:
    """The columns of a file as their fields read them."""
    return pl.DataFrame([field.read(frame[field.column]).alias(field.column) for field in fields])


def _categories(values: pl.Series) -> tuple[list[TableColumn], dict[str, float]]:
    """Columns for the frequent categories, and the share of every category if some are not frequent."""
    name, known = values.name, values.drop_nulls()
    counted = known.value_counts(name="rows").sort(["rows", name], descending=[True, False])
    frequent = counted.filter(pl.col("rows") >= LEAST_ROWS).head(MOST_LEVELS)
    columns: list[TableColumn] = [LevelColumn(name, level=level) for level in frequent[name]]
    if values.null_count() >= LEAST_ROWS:
        columns.append(MissingColumn(name))
    if len(frequent) == len(counted):
        return columns, {}
    common = counted.filter(pl.col("rows") >= LEAST_ROWS)
    return columns, dict(zip(common[name].to_list(), (common["rows"] / len(known)).to_list(), strict=True))


def _date_column(values: pl.Series, table: pl.DataFrame, time: str, newest: float) -> DateColumn:
    """The declaration of a date column, counted in the direction in which most of its days are positive."""
    middle = (table[TIME] - values).median() if time else 0.0
    is_later = isinstance(middle, float) and middle < 0
    return DateColumn(values.name, time=time, reference_day=0.0 if time else newest, is_later=is_later)


def _newest_day(fields: Sequence[TableField], table: pl.DataFrame) -> float:
    """The newest day that any date column names, whole; one day for all, so that their differences stay comparable."""
    newest = [table[f.column].max() for f in fields if f.kind == "date"]
    return float(np.ceil(max((float(d) for d in newest if d is not None), default=0.0)))  # type: ignore[arg-type]
