"""A ready-made table made ready to learn from: label, ids, times, what each column holds, and which rows repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.errors import DataError, InputError
from ebbtide.core.ids import hash_texts
from ebbtide.core.language import Text
from ebbtide.core.windows import DAY_US
from ebbtide.evaluation.ranking import auroc
from ebbtide.events.table_file import TableFile
from ebbtide.events.table_values import day_order_of, days_of, texts_of
from ebbtide.events.times import DayOrder
from ebbtide.features.table_encoding import TIME, read_fields
from ebbtide.features.table_fields import LeftOut, TableField, infer_fields
from ebbtide.models.base import Vector
from ebbtide.pipeline.table_label import read_label

LEAK_AUROC = 0.995
LEAST_OF_A_CLASS = 10
_SHOWN_ROWS = 5
_REPEATED = Text(
    "{count:,} rows repeat another in all but the id: they stay in one fold, so that none is predicted by its twin",
    "{count:,} 行除标识外与另一行相同：它们留在同一折中，不会由自己的副本来预测",
)
_COARSE = 0.5
_COARSE_TOLD = Text(
    "most rows equal another in all but the id: the columns are too coarse to tell a copy from another customer, so "
    "rows stand in folds one by one",
    "大多数行除标识外与另一行相同：各列太粗，无法区分副本与另一位顾客，因此各行单独分折",
)
_UNLABELLED = Text("{count:,} rows have no label and are not used", "{count:,} 行没有标签，未使用")
_UNTIMED = Text("{count:,} rows have no readable time and are not used", "{count:,} 行没有可读的时间，未使用")
_BROKEN = Text("{count:,} rows could not be cut into columns and are not used", "{count:,} 行无法拆分成列，未使用")
_LEAK = Text(
    "`{column}` alone tells the label almost perfectly (AUROC {auroc:.3f}): if it was written after the outcome, the "
    "figures are worth nothing; leave it out with --drop {column}",
    "仅凭 `{column}` 就几乎能完全判断标签（AUROC {auroc:.3f}）：如果它是在结果之后才写入的，则所有指标都没有意义；"
    "请用 --drop {column} 排除",
)


@dataclass(frozen=True)
class TableQuestion:
    """What is asked of a table. `id` None: rows are numbered. `time` None: the rows are of one moment.

    `positive`: the label's value that means churned; None: it speaks for itself. `horizon_days`: how long after its
    time a row's label is known. `drop`: columns not to learn from.
    """

    label: str
    id: str | None = None
    time: str | None = None
    positive: str | None = None
    horizon_days: float = 0.0
    drop: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The columns that must be there."""
        return [c for c in (self.label, self.id, self.time, *self.drop) if c is not None]


@dataclass(frozen=True)
class LabelledTable:
    """N rows in an order that does not depend on the file's. `read`: the columns to learn from, as their fields read
    them, and each row's time in days under TIME where there is one.

    ids (N,) texts; y (N,) 1 churned; time_us (N,), 0 without times; group (N,): equal for rows that are equal in all
    but the id, unless most rows are; user (N,): whose rows are drawn together in intervals. notes: what was done, warnings: what to look at.
    """

    name: str
    fingerprint: str
    fields: tuple[TableField, ...]
    left_out: tuple[LeftOut, ...]
    positive: str
    time_order: DayOrder
    read: pl.DataFrame
    ids: pl.Series
    y: Vector
    time_us: NDArray[np.int64]
    group: NDArray[np.uint64]
    user: NDArray[np.uint64]
    notes: tuple[Text, ...]
    warnings: tuple[Text, ...]

    def __len__(self) -> int:
        return len(self.y)


def prepare_table(source: TableFile, question: TableQuestion) -> LabelledTable:
    """Make a table ready. Raises InputError for columns that are not there or a label that cannot be read, DataError
    for one class, too few rows of one, ids that occur twice, or no column to learn from."""
    source.check_columns(question.columns)
    _check_apart(question)
    frame = source.frame
    y, positive = read_label(frame[question.label], question.positive)
    time_order = _time_order(frame, question.time)
    days = _times(frame, question.time, time_order)
    labelled, timed = ~np.isnan(y), ~np.isnan(days)
    notes = [
        text.format(count=int(count))
        for text, count in (
            (_BROKEN, source.broken),
            (_UNLABELLED, np.sum(~labelled)),
            (_UNTIMED, np.sum(labelled & ~timed)),
        )
        if count
    ]
    kept = np.flatnonzero(labelled & timed)
    frame, y, days = frame[kept], y[kept], days[kept]
    _check_classes(question.label, y)
    ids = _ids(frame, question, days, kept)
    own = [c for c in (question.label, question.id, question.time) if c is not None]
    fields = infer_fields(frame.drop(own), question.drop)
    if not fields.kept:
        raise DataError("no column is left to learn from", "没有可用于学习的列")
    read = read_fields(fields.kept, frame)
    group = _content_hash(read)
    repeated = len(group) - len(np.unique(group))
    if repeated > _COARSE * len(group):
        group, repeated = _content_hash(read.with_columns(ids.alias("id"))), 0
        notes.append(_COARSE_TOLD)
    time_us = np.round(days * DAY_US).astype(np.int64)
    if repeated and not question.time:
        notes.append(_REPEATED.format(count=repeated))
    order = np.lexsort((hash_texts(ids), group, time_us))
    table = read.with_columns(pl.Series(TIME, days)) if question.time else read
    return LabelledTable(
        name=source.name,
        fingerprint=source.fingerprint,
        fields=fields.kept,
        left_out=fields.left_out,
        positive=positive,
        time_order=time_order,
        read=table[order],
        ids=ids[order],
        y=y[order],
        time_us=time_us[order],
        group=group[order],
        user=(hash_texts(ids) if question.time else group)[order],
        notes=(*notes, *fields.oddities, *(left.text for left in fields.left_out)),
        warnings=tuple(_LEAK.format(column=c, auroc=a) for c, a in label_copies(fields.kept, read, y)),
    )


def label_copies(fields: Sequence[TableField], read: pl.DataFrame, y: Vector) -> list[tuple[str, float]]:
    """Columns that alone tell the label almost perfectly, with their AUROC: by value, by category, or by being
    missing."""
    found = []
    for field in fields:
        values = read[field.column]
        signs = [values.is_null().cast(pl.Float64)]
        if field.kind == "category":
            rates = (
                pl.DataFrame({"value": values, "y": y}).group_by("value").agg(rate=pl.col("y").mean(), rows=pl.len())
            )
            common = rates.filter(pl.col("rows") >= LEAST_OF_A_CLASS)
            rate = dict(zip(common["value"].to_list(), common["rate"].to_list(), strict=True))
            signs.append(values.replace_strict(rate, default=float(y.mean()), return_dtype=pl.Float64))
        elif values.null_count() < len(values):
            signs.append(values.fill_null(float(values.min()) - 1))  # type: ignore[arg-type]
        best = max(max(a, 1 - a) for a in (auroc(y, s.to_numpy()) for s in signs))
        if best > LEAK_AUROC:
            found.append((field.column, best))
    return found


def _check_apart(question: TableQuestion) -> None:
    """Raises InputError if one column is to be two things."""
    twice = sorted({c for c in question.columns if question.columns.count(c) > 1})
    if twice:
        raise InputError(
            "{columns}: label, id, time and the columns to drop must be different ones",
            "{columns}：标签、标识、时间和要排除的列必须各不相同",
            columns=", ".join(f"`{c}`" for c in twice),
        )


def _time_order(frame: pl.DataFrame, column: str | None) -> DayOrder:
    """Whether the day or the month stands first in the times; raises DataError if no row tells."""
    if column is None or frame[column].dtype != pl.String:
        return "day"
    order = day_order_of(frame[column])
    if not order:
        raise DataError(
            "the times of `{column}` do not tell whether the day or the month stands first: write them as 2024-12-31",
            "`{column}` 的时间看不出日在前还是月在前：请写成 2024-12-31 的形式",
            column=column,
        )
    return order


def _times(frame: pl.DataFrame, column: str | None, order: DayOrder) -> Vector:
    """Each row's time in days since 1970, NaN where it cannot be read; 0 without a time column."""
    if column is None:
        return np.zeros(len(frame))
    days = days_of(frame[column], order)
    if not days.count():
        raise DataError("no cell of `{column}` is a time", "`{column}` 中没有时间", column=column)
    return days.fill_null(np.nan).to_numpy()


def _check_classes(label: str, y: Vector) -> None:
    churned = int(y.sum())
    if min(churned, len(y) - churned) < LEAST_OF_A_CLASS:
        raise DataError(
            "too few rows to learn from `{label}`: {churned:,} churned and {retained:,} retained, at least {least} of "
            "each are needed",
            "`{label}` 可用的行太少：{churned:,} 行流失、{retained:,} 行留存，每类至少需要 {least} 行",
            label=label,
            churned=churned,
            retained=len(y) - churned,
            least=LEAST_OF_A_CLASS,
        )


def _ids(frame: pl.DataFrame, question: TableQuestion, days: Vector, kept: NDArray[np.int64]) -> pl.Series:
    """The ids as text; a customer may come back at another time, never twice at one."""
    if question.id is None:
        return pl.Series("id", (kept + 1).astype(str), dtype=pl.String)
    ids = texts_of(frame[question.id])
    if ids.null_count():
        rows = _rows_told(kept[np.flatnonzero(ids.is_null().to_numpy())])
        raise DataError(
            "{count:,} rows have no `{id}` (rows {rows})", "{count:,} 行没有 `{id}`（第 {rows} 行）",
            count=ids.null_count(), id=question.id, rows=rows,
        )  # fmt: skip
    again = pl.DataFrame({"id": ids, "at": days}).is_duplicated().to_numpy()
    if again.any():
        raise DataError(
            "`{id}` should name each row once{at}, but {count:,} rows share theirs with another (rows {rows}): keep one "
            "row a customer{hint}",
            "`{id}` 应当每行唯一{at}，但有 {count:,} 行与其他行相同（第 {rows} 行）：请为每位顾客保留一行{hint}",
            id=question.id,
            at=Text(" and time", "（同一时间）") if question.time else "",
            count=int(again.sum()),
            rows=_rows_told(kept[np.flatnonzero(again)]),
            hint=""
            if question.time
            else Text(", or name the time of each row with --time", "，或用 --time 指明各行的时间"),
        )
    return ids


def _rows_told(places: NDArray[np.int64]) -> str:
    more = ", ..." if len(places) > _SHOWN_ROWS else ""
    return ", ".join(str(p + 1) for p in places[:_SHOWN_ROWS].tolist()) + more


def _content_hash(read: pl.DataFrame) -> NDArray[np.uint64]:
    """A hash of each row's cells."""
    cells = [pl.col(c).cast(pl.String).fill_null("\x00") for c in read.columns]
    return hash_texts(read.select(pl.concat_str(cells, separator="\x1f").alias("row"))["row"])
