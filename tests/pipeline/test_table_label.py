"""Labels: read where everybody would read them the same, asked about where not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ebbtide.core.errors import DataError, InputError
from ebbtide.pipeline.table_label import read_label


@pytest.mark.parametrize(
    ("churned", "retained"),
    [
        ("Yes", "No"), ("1", "0"), ("churned", "retained"), ("TRUE", "FALSE"), ("Left", "Stayed"), ("1", "-1"),
        ("Attrited Customer", "Existing Customer"), ("流失", "留存"), ("是", "否"), ("exited", "whatever"),
        ("gone fishing", "active"), ("Ja", "Nein"),
    ],
)  # fmt: skip
def test_two_values_that_speak_for_themselves(churned, retained):
    y, value = read_label(pl.Series("c", [churned, retained, None, f" {retained} "]))
    np.testing.assert_array_equal(y, [1, 0, np.nan, 0])
    assert value == churned


@pytest.mark.parametrize("cells", [[1, 0, None], [True, False, None], [1.0, 0.0, float("nan")]])
def test_typed_labels(cells):
    y, _ = read_label(pl.Series("c", cells))
    np.testing.assert_array_equal(y, [1, 0, np.nan])


@pytest.mark.parametrize("cells", [["A", "B"], ["1", "2"], ["left", "churned"], ["0", "no"]])
def test_two_values_that_leave_it_open_are_asked_about_by_row(cells):
    with pytest.raises(InputError, match=r"which of the two values of `c` means churned \(see rows 1 and 2\)") as fault:
        read_label(pl.Series("c", cells))
    assert "--positive" in fault.value.text.zh


def test_positive_settles_it_also_among_many_values():
    y, value = read_label(pl.Series("c", ["A", "B", "C", None]), positive="b")
    np.testing.assert_array_equal(y, [0, 1, 0, np.nan])
    assert value == "B"
    y, _ = read_label(pl.Series("c", [1, 0]), positive="0")
    np.testing.assert_array_equal(y, [0, 1])


def test_a_positive_that_never_occurs_is_refused_without_showing_values():
    with pytest.raises(InputError, match="`c` never has the value given by --positive; it has 2 values"):
        read_label(pl.Series("c", ["A", "B"]), positive="Z")


def test_three_values_are_refused():
    with pytest.raises(InputError, match="`c` has 3 values where two are expected"):
        read_label(pl.Series("c", ["a", "b", "c"]))


@pytest.mark.parametrize(
    ("cells", "told"),
    [(["Yes"] * 3, "3 churned and 0 retained"), (["No"] * 2, "0 churned and 2 retained"), (["0", None], "0 churned and 1 retained"), (["odd"], "0 churned and 1 retained")],
)  # fmt: skip
def test_one_class_is_refused(cells, told):
    with pytest.raises(DataError, match=f"one class only: {told}"):
        read_label(pl.Series("c", cells))


def test_an_empty_label_is_refused():
    with pytest.raises(DataError, match="`c` is empty in all rows"):
        read_label(pl.Series("c", [None, " "], dtype=pl.String))
