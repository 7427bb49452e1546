"""Can a model learn anything from these rows? Asked before the first hour of training is spent, not after."""

from __future__ import annotations

import numpy as np

from ebbtide.core.errors import DataError
from ebbtide.models.base import Rows

LEAST_ROWS = 10
_MOST_NAMES = 5


def check_trainable(rows: Rows) -> None:
    """Raises DataError that names the first reason why no model of churn can be learnt from `rows`.

    Fewer than 10 rows; only churned or only retained users; rows of one user alone; a label that is neither 0 nor 1;
    an infinite number (NaN is fine: it means unknown).
    """
    if len(rows) < LEAST_ROWS:
        raise DataError(
            "a model needs at least {least} rows to learn from: found {rows}; wait for data or ask for a shorter horizon",
            "模型至少需要 {least} 行才能学习：现有 {rows} 行；请等待更多数据或缩短时间窗",
            least=LEAST_ROWS,
            rows=len(rows),
        )
    _check_labels(rows)
    if (rows.user == rows.user[0]).all():
        raise DataError(
            "a model needs several users to learn from: all {rows:,} rows are of one user; check the user_id column of"
            " the mapping",
            "模型需要多位用户才能学习：全部 {rows:,} 行都属于同一位用户；请检查映射中的 user_id 列",
            rows=len(rows),
        )
    _check_finite(rows)


def is_enough(rows: Rows) -> bool:
    """Are there enough rows, and of both kinds? False is no fault: a young log has moments with nothing to learn from."""
    return len(rows) >= LEAST_ROWS and 0 < rows.y.sum() < len(rows) and not (rows.user == rows.user[0]).all()


def _check_labels(rows: Rows) -> None:
    odd = int((~np.isin(rows.y, (0.0, 1.0))).sum())
    if odd:
        raise DataError(
            "a label is 1 (churned) or 0 (retained): {odd:,} of {rows:,} are neither; leave unknown outcomes out",
            "标签应为 1（流失）或 0（留存）：{rows:,} 个中有 {odd:,} 个两者都不是；请去掉结果未知的行",
            odd=odd,
            rows=len(rows),
        )
    churned = int(rows.y.sum())
    if not 0 < churned < len(rows):
        raise DataError(
            "a model needs both churned and retained users to learn from: found {churned:,} churned and {retained:,}"
            " retained; choose another horizon or wait for data",
            "模型需要同时有流失和留存的用户才能学习：现有 {churned:,} 位流失、{retained:,} 位留存；请换一个时间窗或等待更多数据",
            churned=churned,
            retained=len(rows) - churned,
        )


def _check_finite(rows: Rows) -> None:
    # The largest magnitude of a column tells: NaN is skipped, infinity is not.
    largest = np.fmax(np.fmax.reduce(rows.X, axis=0), -np.fmin.reduce(rows.X, axis=0))
    infinite = np.flatnonzero(np.isinf(largest))
    if len(infinite):
        named = ", ".join(rows.names[i] for i in infinite[:_MOST_NAMES])
        more = f" (+{len(infinite) - _MOST_NAMES})" if len(infinite) > _MOST_NAMES else ""
        raise DataError(
            "numbers must be finite, or unknown: infinite ones stand in {names}; mend the feature, or drop it with"
            " `features.drop`",
            "数值必须有限，或为未知：以下列含有无穷大：{names}；请修正该特征，或用 `features.drop` 去掉它",
            names=named + more,
        )
