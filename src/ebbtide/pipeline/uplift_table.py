"""A table of an experiment made ready: who got which arm, with what chance, what came of it, and what was known before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.actions.randomness import equal_propensity, estimated_propensity
from ebbtide.actions.trial import Trial
from ebbtide.core.errors import DataError, InputError
from ebbtide.core.ids import hash_texts
from ebbtide.core.language import Text
from ebbtide.events.table_file import TableFile
from ebbtide.events.table_values import flags_of, numbers_of, texts_of
from ebbtide.features.table_encoding import TableEncoding, read_fields
from ebbtide.features.table_fields import infer_fields
from ebbtide.models.base import Vector

Assigned = Literal["random", "columns"]
MOST_ARMS = 20
LEAST_ROWS, LEAST_OUTCOMES = 50, 10
_UNKNOWN_OUTCOME = Text(
    "{count:,} rows have no outcome and are not used: if arms differ in that, the figures are biased",
    "{count:,} 行没有结果，未使用：若各组缺失情况不同，则指标有偏",
)


@dataclass(frozen=True)
class UpliftQuestion:
    """What is asked of a table. outcome: yes/no, or a number (money). propensity: the chance of the arm that the row
    got. assigned: at random, or by what stands in the columns. shares: planned arm sizes, in the order of arms, control
    first. value: what an outcome of the customer is worth."""

    treatment: str
    control: str
    outcome: str
    id: str | None = None
    value: str | None = None
    propensity: str | None = None
    assigned: Assigned = "random"
    drop: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """The columns that must be there."""
        named = (self.treatment, self.outcome, self.id, self.value, self.propensity, *self.drop)
        return [c for c in named if c is not None]


@dataclass(frozen=True)
class TableTrial:
    """The trial of a table, with ids (N,) and values (N,) of its rows, and what was noticed."""

    trial: Trial
    ids: pl.Series
    value: Vector | None
    notes: tuple[Text, ...]


def assigned_how(text: str) -> Assigned:
    """The word for how arms were assigned. Raises InputError for another word."""
    for known in get_args(Assigned):
        if text == known:
            return known  # type: ignore[no-any-return]
    raise InputError(
        "--assigned: say `random`, or `columns` for an assignment by what stands in the columns",
        "--assigned：请填 `random`，或填 `columns` 表示按各列分组",
    )


def trial_of_table(source: TableFile, question: UpliftQuestion, *, seed: int = 0) -> TableTrial:
    """Make a table ready. Raises InputError for columns or values that are not there, DataError for an experiment that
    cannot be learnt from."""
    source.check_columns(question.columns)
    named = [c for c in question.columns if c not in question.drop]
    if len(set(named)) < len(named):
        raise InputError(
            "treatment, outcome, id, value and propensity must be different columns",
            "处理、结果、标识、价值与倾向列必须互不相同",
        )
    arm, arms = read_arms(source.frame[question.treatment], question.control)
    y = read_outcome(source.frame[question.outcome])
    known = np.flatnonzero(np.isfinite(y))
    notes = [_UNKNOWN_OUTCOME.format(count=len(y) - len(known))] if len(known) < len(y) else []
    frame, arm, y = source.frame[known], arm[known], y[known]
    check_enough(arm, y, arms)
    kept = infer_fields(frame.drop(named), question.drop)
    notes += [*(left.text for left in kept.left_out), *kept.oddities]
    if not kept.kept:
        raise DataError("no column is left to learn from", "没有可供学习的列")
    read = read_fields(kept.kept, frame)
    encoding = TableEncoding.fit(kept.kept, read)
    ids = texts_of(frame[question.id]) if question.id else pl.Series("id", (known + 1).astype(str))
    trial = Trial(
        X=encoding.design(read),
        arm=arm,
        y=y,
        propensity=equal_propensity(arm, len(arms)),
        names=encoding.names,
        arms=arms,
        user=hash_texts(ids.fill_null("")) if question.id else known.astype(np.uint64),
    )
    if question.propensity:
        chances = _given(frame[question.propensity], arm, trial.propensity)
        trial = _with_chances(trial, chances)
    elif question.assigned == "columns":
        trial = _with_chances(trial, estimated_propensity(trial, seed=seed))
    return TableTrial(trial, ids, _worth(frame, question.value), tuple(notes))


def read_arms(column: pl.Series, control: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """The arm of each row, control 0, and the arms' names, control first, then by name.

    Raises InputError for missing values, an unknown control value, or too many arms.
    """
    texts = _arm_names(column)
    missing = texts.null_count()
    if missing:
        raise InputError(
            "the treatment column `{column}` is empty in {count:,} of {rows:,} rows: who got nothing needs the control "
            "value; fill it in, or leave these rows out",
            "处理列 `{column}` 在 {rows:,} 行中有 {count:,} 行为空：未受处理者应填对照值；请补全或去掉这些行",
            column=column.name,
            count=missing,
            rows=len(texts),
        )
    values = sorted(texts.unique().to_list())
    if control not in values:
        listed = ": " + ", ".join(values) if len(values) <= MOST_ARMS else ""
        raise InputError(
            "`{column}` never has the control value given by --control; it has {count:,} values{listed}",
            "`{column}` 中没有 --control 所给的对照值；共有 {count:,} 个值{listed}",
            column=column.name,
            count=len(values),
            listed=listed,
        )
    if not 2 <= len(values) <= MOST_ARMS:
        raise InputError(
            "`{column}` has {count:,} arms; an experiment needs control and 1 to {most} treatments",
            "`{column}` 有 {count:,} 个组；实验需要对照组和 1 至 {most} 个处理组",
            column=column.name,
            count=len(values),
            most=MOST_ARMS - 1,
        )
    arms = (control, *(v for v in values if v != control))
    place = {name: number for number, name in enumerate(arms)}
    return texts.replace_strict(place, return_dtype=pl.Int64).to_numpy(), arms


def _arm_names(column: pl.Series) -> pl.Series:
    """Names of arms: as in `texts_of`, but "none" and the like are names here, and only an empty cell is missing."""
    if column.dtype != pl.String:
        return texts_of(column)
    trimmed = column.str.strip_chars()
    return trimmed.set(trimmed == "", None)


def read_outcome(column: pl.Series) -> Vector:
    """Outcomes as numbers, NaN where there is none. Raises InputError if a text is neither yes/no nor a number."""
    texts = texts_of(column)
    flags, numbers = flags_of(column) if not column.dtype.is_numeric() else None, numbers_of(column)
    read = flags if flags is not None and flags.count() == texts.count() else numbers
    if read.count() < texts.count():
        raise InputError(
            "the outcome `{column}` must be yes/no or numbers; {count:,} of {rows:,} cells are neither",
            "结果列 `{column}` 必须是是/否或数字；{rows:,} 个单元格中有 {count:,} 个不是",
            column=column.name,
            count=texts.count() - read.count(),
            rows=texts.count(),
        )
    return np.asarray(read.cast(pl.Float64).fill_null(np.nan).to_numpy())


def check_enough(arm: NDArray[np.int64], y: Vector, arms: Sequence[str]) -> None:
    """Raise DataError, naming every arm at fault, unless each has enough rows and the outcome varies."""
    if not len(y) or np.all(y == y[0]):
        raise DataError(
            "the outcome is the same in all {rows:,} rows: nothing can be learnt from it",
            "全部 {rows:,} 行的结果都相同：无法从中学习",
            rows=len(y),
        )
    sizes = np.bincount(arm, minlength=len(arms))
    happened = np.bincount(arm, weights=(y != 0).astype(np.float64), minlength=len(arms))
    short = [
        f"{name} ({size:,}, {int(count):,})"
        for name, size, count in zip(arms, sizes, happened, strict=True)
        if size < LEAST_ROWS or count < LEAST_OUTCOMES
    ]
    if short:
        raise DataError(
            "each arm needs {rows} rows and {count} outcomes; too few (rows, outcomes): {short}",
            "每组至少需要 {rows} 行和 {count} 个结果；不足的组（行数、结果数）：{short}",
            rows=LEAST_ROWS,
            count=LEAST_OUTCOMES,
            short="; ".join(short),
        )


def full_chances(own: Vector, arm: NDArray[np.int64], shares: Vector) -> Vector:
    """The chance of every arm, (N, K), from the chance of the row's own: the rest is split by the arms' shares."""
    rows = np.arange(len(own))
    rest = shares.copy()
    rest[rows, arm] = 0.0
    out = rest / rest.sum(axis=1, keepdims=True) * (1 - own)[:, None]
    out[rows, arm] = own
    return np.asarray(out)


def _given(column: pl.Series, arm: NDArray[np.int64], shares: Vector) -> Vector:
    own = numbers_of(column).cast(pl.Float64).fill_null(np.nan).to_numpy()
    bad = int(np.sum(~((own > 0) & (own < 1))))
    if bad:
        raise InputError(
            "the propensity `{column}` must be the chance of the row's own arm, above 0 and below 1; {count:,} of "
            "{rows:,} rows are not",
            "倾向列 `{column}` 应为该行所在组的概率，大于 0 小于 1；{rows:,} 行中有 {count:,} 行不是",
            column=column.name,
            count=bad,
            rows=len(own),
        )
    return full_chances(own, arm, shares)


def _with_chances(trial: Trial, chances: Vector) -> Trial:
    return Trial(trial.X, trial.arm, trial.y, chances, trial.names, trial.arms, trial.user)


def _worth(frame: pl.DataFrame, column: str | None) -> Vector | None:
    if column is None:
        return None
    worth = numbers_of(frame[column]).cast(pl.Float64).fill_null(np.nan).to_numpy()
    bad = int(np.sum(~(worth >= 0)))
    if bad:
        raise InputError(
            "the value `{column}` must be a number not below 0; {count:,} of {rows:,} rows are not",
            "价值列 `{column}` 必须为不小于 0 的数字；{rows:,} 行中有 {count:,} 行不是",
            column=column,
            count=bad,
            rows=len(worth),
        )
    return np.asarray(worth)
