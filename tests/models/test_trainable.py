"""Settings from which nothing can be learnt are named before training starts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ebbtide.core.errors import DataError
from ebbtide.models.trainable import LEAST_ROWS, check_trainable, is_enough


@pytest.fixture(scope="module")
def rows(make_rows):
    return make_rows(50)


def test_sound_rows_with_unknown_cells_pass(rows):
    assert np.isnan(rows.X).any()
    check_trainable(rows)
    assert is_enough(rows)


@pytest.mark.parametrize(("label", "churned", "retained"), [(1.0, 50, 0), (0.0, 0, 50)])
def test_one_class_is_counted(rows, label, churned, retained):
    one = replace(rows, y=np.full(50, label))
    with pytest.raises(DataError, match=f"found {churned} churned and {retained} retained"):
        check_trainable(one)
    assert not is_enough(one)


def test_one_user_is_no_crowd(rows):
    alone = replace(rows, user=np.full(50, 7, np.uint64))
    with pytest.raises(DataError, match="all 50 rows are of one user"):
        check_trainable(alone)
    assert not is_enough(alone)


def test_ten_rows_are_the_least(rows):
    both = np.r_[np.flatnonzero(rows.y == 1)[:5], np.flatnonzero(rows.y == 0)[:5]]
    check_trainable(rows.take(both))
    assert is_enough(rows.take(both))
    for few in (both[:-1], both[:0]):
        with pytest.raises(DataError, match=f"at least {LEAST_ROWS} rows to learn from: found {len(few)}"):
            check_trainable(rows.take(few))
        assert not is_enough(rows.take(few))


@pytest.mark.parametrize("label", [np.nan, 0.5, np.inf, -1.0])
def test_a_label_is_0_or_1(rows, label):
    y = rows.y.copy()
    y[[3, 8]] = label
    with pytest.raises(DataError, match="2 of 50 are neither"):
        check_trainable(replace(rows, y=y))


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinite_columns_are_named_and_their_values_are_not(rows, value):
    X = rows.X.copy()
    X[4, 3] = X[9, 5] = value
    with pytest.raises(DataError, match=r"infinite ones stand in money, gap;") as fault:
        check_trainable(replace(rows, X=X))
    assert "以下列含有无穷大：money, gap；" in fault.value.text.zh


def test_of_many_infinite_columns_the_first_are_named(rows):
    with pytest.raises(DataError, match=r"money, share \(\+3\);"):
        check_trainable(replace(rows, X=np.full_like(rows.X, np.inf)))


def test_the_largest_finite_numbers_are_finite(rows):
    X = rows.X.copy()
    X[0], X[1] = np.finfo(np.float32).max, np.finfo(np.float32).min
    check_trainable(replace(rows, X=X))
