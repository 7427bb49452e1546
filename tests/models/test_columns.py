"""The columns that a fitted model adds: at the end, declared, and unknown without its parameters."""

from __future__ import annotations

import numpy as np
import pytest

from ebbtide.features.families import FAMILIES
from ebbtide.models.bgnbd import fit_bgnbd
from ebbtide.models.columns import model_columns, rows_with_model_columns, with_model_columns
from ebbtide.models.registry import Setting


@pytest.fixture(scope="module")
def rows(make_rows):
    return make_rows(200)


@pytest.fixture(scope="module")
def setting(rows):
    x, t_x, age = rows.X[:, :3].astype(float).T
    return Setting(30.0, fit_bgnbd(x, t_x, age))


def test_the_columns_stand_at_the_end_and_the_others_stay(rows, setting):
    full = rows_with_model_columns(rows, setting)
    added = len(model_columns(30.0))
    assert full.names == (*rows.names, *(c.name for c in model_columns(30.0)))
    assert full.X[:, :-added].tobytes() == rows.X.tobytes()
    assert full.X.dtype == np.float32
    assert full.X.flags.c_contiguous


def test_expected_orders_are_those_of_bgnbd(rows, setting):
    x, t_x, age = rows.X[:, :3].astype(float).T
    expected = setting.bgnbd.expected_orders(x, t_x, age, 30.0)
    np.testing.assert_allclose(with_model_columns(rows.X, rows.names, setting)[:, -1], expected, rtol=1e-6)


def test_without_parameters_they_are_unknown(rows):
    assert np.isnan(with_model_columns(rows.X, rows.names, Setting(30.0))[:, -1]).all()


def test_nobody_gets_no_rows(rows, setting):
    assert with_model_columns(rows.X[:0], rows.names, setting).shape == (0, len(rows.names) + 1)


def test_the_declarations_can_be_said_in_both_languages():
    for column in model_columns(45.0):
        assert column.family in FAMILIES
        assert "45" in column.description.en
        assert "45" in column.description.zh
        assert column.requires == frozenset()
