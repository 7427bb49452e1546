"""Cells of ready-made tables: what counts as a number, yes or no, a day, or nothing."""

from __future__ import annotations

from datetime import date, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbtide.events.table_values import NOTHING, day_order_of, days_of, flags_of, numbers_of, texts_of


@pytest.mark.parametrize("nothing", [*NOTHING, " NA ", "NULL", "   ", "N/A"])
def test_what_says_nothing_is_null_in_every_reading(nothing):
    cell = pl.Series([nothing])
    for read in (texts_of, numbers_of, flags_of, days_of):
        assert read(cell).to_list() == [None]


@pytest.mark.parametrize(
    ("text", "decimal", "value"),
    [
        ("12", ".", 12.0), (" 12.50 ", ".", 12.5), ("1,234", ".", 1234.0), ("-1,234,567.8", ".", -1234567.8),
        ("12,5", ",", 12.5), ("1.234,5", ",", 1234.5), ("1.234", ",", 1234.0), ("€ 3", ".", 3.0), ("15 %", ".", 15.0),
        ("1e3", ".", 1000.0), ("12,5", ".", None), ("12.5", ",", None), ("1,23", ".", None), ("abc", ".", None),
        ("inf", ".", None), ("1e300", ".", None), ("NaN", ".", None),
    ],
)  # fmt: skip
def test_numbers_in_text(text, decimal, value):
    assert numbers_of(pl.Series([text]), decimal).to_list() == [value]


def test_typed_numbers_that_are_none_become_null():
    assert numbers_of(pl.Series([1.5, float("nan"), float("inf"), -1e300, None])).to_list() == [
        1.5,
        None,
        None,
        None,
        None,
    ]


@given(st.floats(-1e12, 1e12).map(lambda x: round(x, 4)))
def test_a_number_reads_the_same_typed_and_as_text(value):
    assert numbers_of(pl.Series([repr(value)])).to_list() == numbers_of(pl.Series([value])).to_list()


def test_an_id_is_the_same_in_every_format():
    assert texts_of(pl.Series([7, 8])).to_list() == texts_of(pl.Series([7.0, 8.0])).to_list() == ["7", "8"]
    assert texts_of(pl.Series([" 007 ", "8"])).to_list() == ["007", "8"]


def test_yes_and_no_in_several_languages():
    assert flags_of(pl.Series(["Ja", "nein", "是", "否", "T", "off", "2"])).to_list() == [1, 0, 1, 0, 1, 0, None]


@pytest.mark.parametrize("text", ["2024-03-01", "2024/03/01", "20240301", "1 Mar 2024", "2024年3月1日", "01.03.2024"])
def test_dates_in_many_forms(text):
    assert days_of(pl.Series([text])).to_list() == [(date(2024, 3, 1) - date(1970, 1, 1)).days]


def test_typed_dates_and_times_give_days():
    typed = pl.Series([datetime(1970, 1, 2, 12), None])
    assert days_of(typed).to_list() == [1.5, None]
    assert days_of(pl.Series([date(1970, 1, 3)])).to_list() == [2.0]
    assert days_of(typed.dt.replace_time_zone("Europe/Berlin")).to_list() == [pytest.approx(1.5 - 1 / 24), None]


def test_impossible_dates_are_missing():
    assert days_of(pl.Series(["0000-00-00", "4746-01-01", "1066-10-14", "2024-02-30"])).to_list() == [None] * 4


def test_the_whole_column_decides_whether_the_day_stands_first():
    assert day_order_of(pl.Series(["03/04/2024", "12/31/2024"])) == "month"
    assert day_order_of(pl.Series(["03/04/2024", "31/12/2024"])) == "day"
    assert day_order_of(pl.Series(["03/04/2024"])) == ""
    assert day_order_of(pl.Series(["31/12/2024", "12/31/2024"])) is None
    assert day_order_of(pl.Series(["3.4.2024", "2024-01-01"])) == "day"
