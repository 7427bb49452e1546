"""Which of the two values of a label column means "churned"."""

from __future__ import annotations

import numpy as np
import polars as pl

from ebbtide.core.errors import DataError, InputError
from ebbtide.events.table_values import numbers_of, texts_of
from ebbtide.models.base import Vector

CHURNED = frozenset([
    "1", "yes", "y", "true", "t", "churn", "churned", "churner", "left", "leaver", "lost", "gone", "exited", "attrited",
    "attrited customer", "attrition", "cancelled", "canceled", "inactive", "lapsed", "ja", "oui", "si", "sí", "是",
    "流失", "已流失",
])  # fmt: skip
RETAINED = frozenset([
    "0", "-1", "no", "n", "false", "f", "retained", "retain", "stayed", "stay", "stayer", "kept", "current", "existing",
    "existing customer", "active", "loyal", "not churned", "no churn", "non-churn", "non-churner", "nein", "non", "否",
    "留存", "未流失",
])  # fmt: skip

_NEVER = "\x00"
"""A value that no cell has: all of the one class that is there are retained."""


def read_label(column: pl.Series, positive: str | None = None) -> tuple[Vector, str]:
    """The label of each row, 1 churned, 0 retained, NaN where it is missing, and the value that means churned.

    With `positive`, every other value means retained; without, the two values must speak for themselves.
    Raises InputError if the values leave it open, DataError if only one class is there.
    """
    texts = texts_of(column)
    values = sorted(texts.drop_nulls().unique().to_list())
    if not values:
        raise DataError(
            "the label `{label}` is empty in all rows", "标签列 `{label}` 在所有行中都为空", label=column.name
        )
    churned = _named(column.name, values, positive) if positive is not None else _inferred(column.name, texts, values)
    y = (texts == churned).cast(pl.Float64).fill_null(np.nan).to_numpy()
    known = y[~np.isnan(y)]
    if not 0 < known.sum() < len(known):
        raise DataError(
            "the label `{label}` has one class only: {churned:,} churned and {retained:,} retained; a model needs both",
            "标签列 `{label}` 只有一类：{churned:,} 行流失、{retained:,} 行留存；模型两类都需要",
            label=column.name,
            churned=int(known.sum()),
            retained=int(len(known) - known.sum()),
        )
    return y, churned


def _named(label: str, values: list[str], positive: str) -> str:
    wanted = positive.strip()
    found = [v for v in values if v == wanted] or [v for v in values if v.lower() == wanted.lower()]
    if not found:
        raise InputError(
            "`{label}` never has the value given by --positive; it has {count:,} values",
            "`{label}` 中没有 --positive 所给的值；共有 {count:,} 个值",
            label=label,
            count=len(values),
        )
    return found[0]


def _inferred(label: str, texts: pl.Series, values: list[str]) -> str:
    """The value that means churned, by words that everybody uses."""
    if len(values) > 2:
        raise InputError(
            "the label `{label}` has {count:,} values where two are expected: name the one that means churned with "
            "--positive, or another column with --label",
            "标签列 `{label}` 有 {count:,} 个值，应为两个：请用 --positive 指明表示流失的值，或用 --label 换一列",
            label=label,
            count=len(values),
        )
    plain = {v: v.lower() for v in values}
    churned = [v for v, word in plain.items() if word in CHURNED]
    retained = [v for v, word in plain.items() if word in RETAINED]
    if len(values) == 1:
        return values[0] if churned else _NEVER
    numbers = numbers_of(pl.Series(values)).to_list()
    speaks = None in numbers or numbers in ([0.0, 1.0], [-1.0, 1.0])  # 1 and 2 say nothing, for example
    if len(churned) == 1 and speaks:
        return churned[0]
    if len(retained) == 1 and not churned and speaks:
        return next(v for v in values if v not in retained)
    places = [int(texts.eq(v).arg_max() or 0) + 1 for v in values]
    raise InputError(
        "nobody can tell which of the two values of `{label}` means churned (see rows {first} and {second}): "
        "name it with --positive",
        "无法判断 `{label}` 的两个值中哪个表示流失（见第 {first} 行和第 {second} 行）：请用 --positive 指明",
        label=label,
        first=min(places),
        second=max(places),
    )
