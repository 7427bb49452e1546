"""What each column of a ready-made table holds, decided once for the whole file without a look at the label.

Numbers, yes/no, dates or categories; columns that can say nothing general are left out, each with its reason: those
with one value, those with a value of their own in nearly every row, and numberings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import polars as pl

from ebbtide.core.language import Text
from ebbtide.events.table_values import DecimalSign, day_order_of, days_of, flags_of, numbers_of, texts_of
from ebbtide.events.times import DayOrder

Kind = Literal["number", "flag", "date", "category"]
MOST_CATEGORIES = 1000
_READABLE = 0.95
_OWN_VALUES, _FEW = 0.5, 20
_ID_NAME = re.compile(
    r"(^|[\W_])(id|no|nr|number|index|key|rownames?|row|uuid|guid|unnamed\D*\d*)$|[a-z]I[dD]$|^column0$"
)
_EMPTY = Text("it is empty", "全部为空")
_CONSTANT = Text("it has one value in all rows", "所有行的值都相同")
_OWN = Text("nearly every row has a value of its own ({count:,} values in {rows:,} rows)", "几乎每行的值都不同（{rows:,} 行中有 {count:,} 个值）")  # fmt: skip
_MANY = Text("it has {count:,} categories, more than {most:,}", "类别多达 {count:,} 个，超过 {most:,}")
_NUMBERING = Text("it numbers the rows", "它只是行编号")
_ASKED = Text("you asked so", "按您的要求")
_UNREAD = Text(
    "{column}: {count:,} cells are no {kind} and count as missing", "{column}：{count:,} 个单元格不是{kind}，按缺失处理"
)
_KIND_WORDS: dict[str, Text] = {"number": Text("number", "数字"), "date": Text("date", "日期"), "flag": Text("yes or no", "是/否")}  # fmt: skip


@dataclass(frozen=True)
class TableField:
    """How one column of the file is read. `decimal` belongs to numbers in text, `order` to dates in text."""

    column: str
    kind: Kind
    decimal: DecimalSign = "."
    order: DayOrder = "day"

    def read(self, column: pl.Series) -> pl.Series:
        """The column as Float64 (numbers, flags, days since 1970) or String (categories); null where it says
        nothing. The same cell reads the same in every file format."""
        if self.kind == "number":
            return numbers_of(column, self.decimal)
        if self.kind == "flag":
            return numbers_of(column) if column.dtype.is_numeric() else flags_of(column)
        if self.kind == "date":
            return days_of(column, self.order)
        return texts_of(column)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**data)


@dataclass(frozen=True)
class LeftOut:
    """A column that is not learnt from, and why."""

    column: str
    reason: Text

    @property
    def text(self) -> Text:
        """The column with its reason."""
        return Text("{column} is left out: {reason}", "未使用 {column}：{reason}").format(
            column=self.column, reason=self.reason
        )


@dataclass(frozen=True)
class Fields:
    """The columns to learn from, those left out, and what is odd about cells."""

    kept: tuple[TableField, ...]
    left_out: tuple[LeftOut, ...]
    oddities: tuple[Text, ...]


def infer_fields(frame: pl.DataFrame, drop: Sequence[str] = ()) -> Fields:
    """Decide for every column of the frame; `drop` names columns that the user does not want."""
    kept: list[TableField] = []
    left_out = [LeftOut(name, _ASKED) for name in drop]
    oddities: list[Text] = []
    for column in frame.get_columns():
        if column.name in drop:
            continue
        field, texts = _field_of(column), texts_of(column)
        reason = _useless(field, column, texts)
        if reason:
            left_out.append(LeftOut(column.name, reason))
            continue
        kept.append(field)
        unread = len(texts) - texts.null_count() - (len(column) - field.read(column).null_count())
        if unread > 0:
            odd = _UNREAD.format(column=column.name, count=unread, kind=_KIND_WORDS.get(field.kind, ""))
            oddities.append(odd)
    return Fields(tuple(kept), tuple(left_out), tuple(oddities))


def _field_of(column: pl.Series) -> TableField:
    """The kind that fits at least 95 % of the cells that say something."""
    name = column.name
    if column.dtype == pl.Boolean:
        return TableField(name, "flag")
    if column.dtype.is_temporal():
        return TableField(name, "date")
    if column.dtype.is_numeric():
        return TableField(name, "number")
    texts = texts_of(column)
    known = texts.drop_nulls().unique()
    field = TableField(name, "category")
    if not len(known):
        return field
    if len(known) <= 6 and _fits(flags_of(known), 1.0) and not _fits(numbers_of(known), 1.0):
        return replace(field, kind="flag")
    signs: tuple[DecimalSign, ...] = (".", ",")
    fitting = [(numbers_of(known, sign).count(), sign) for sign in signs]
    most, decimal = max(fitting, key=lambda pair: (pair[0], pair[1] == "."))
    if most >= _READABLE * len(known):
        return replace(field, kind="number", decimal=decimal)
    order = day_order_of(known)
    if order is not None and known.str.contains(r"\d").all() and _fits(days_of(known, order or "day"), 0.5):
        return replace(field, kind="date", order=order or "day")
    return field


def _fits(read: pl.Series, share: float) -> bool:
    return read.count() >= share * len(read)


def _useless(field: TableField, column: pl.Series, texts: pl.Series) -> Text | None:
    """Why a column cannot help, None if it may."""
    read = field.read(column)
    known = read.drop_nulls()
    count = known.n_unique()
    if not len(known):
        return _EMPTY
    if count == 1 and read.null_count() == 0:
        return _CONSTANT
    if field.kind == "category":
        if count > max(_FEW, _OWN_VALUES * len(known)):
            return _OWN.format(count=count, rows=len(known))
        if count > MOST_CATEGORIES:
            return _MANY.format(count=count, most=MOST_CATEGORIES)
    if field.kind == "number" and count == len(read) > _FEW and _is_numbering(column.name, known.to_numpy()):
        return _NUMBERING
    return None


def _is_numbering(name: str, values: np.ndarray[Any, np.dtype[np.float64]]) -> bool:
    """Whether whole numbers, all different, are named like an id or run on without large gaps."""
    if not np.all(values == np.round(values)):
        return False
    dense = float(np.ptp(values)) < 1.5 * len(values)
    return dense or bool(_ID_NAME.search(name) or _ID_NAME.search(name.lower()))
