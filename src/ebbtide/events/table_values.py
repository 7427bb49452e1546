"""What the cells of a ready-made table say: as text, as a number, as yes or no, as a day.

A cell that says nothing (blank, `NA`, `null`, `?`, ...) is null in every reading; so is one that does not fit.
"""

from __future__ import annotations

from typing import Literal

import duckdb
import polars as pl

from ebbtide.events.times import UNCLEAR_PATTERN, DayOrder, microseconds_sql

DecimalSign = Literal[".", ","]
NOTHING = ("", "na", "n/a", "nan", "null", "none", "nil", "-", "--", "?", "#n/a", "missing", "unknown")
YES = ("yes", "y", "true", "t", "on", "ja", "oui", "si", "sí", "是", "1")
NO = ("no", "n", "false", "f", "off", "nein", "non", "否", "0")
_WHOLE = 2.0**53
_MOST = 1e30  # what is larger is a mistake, and would be infinite in 32 bits
_SIGNS = r"^[$€£¥]\s*|\s*[$€£¥%]$"
_YEAR_1900, _YEAR_2200 = -25_567.0, 84_006.0
_DAY_US = 86_400_000_000


def texts_of(column: pl.Series) -> pl.Series:
    """A column as trimmed text, null where it says nothing; whole floats without `.0`, so that an id is the same in
    every format.

    >>> texts_of(pl.Series(["a ", "", "N/A"])).to_list(), texts_of(pl.Series([1.0, 2.5, float("nan")])).to_list()
    (['a', None, None], ['1', '2.5', None])
    """
    if column.dtype.is_float():
        known = column.cast(pl.Float64).fill_nan(None)
        whole = ((known == known.round()) & (known.abs() < _WHOLE)).fill_null(False)
        return known.cast(pl.Int64, strict=False).cast(pl.String).zip_with(whole, known.cast(pl.String))
    text = column.cast(pl.String).str.strip_chars()
    return text.set(text.str.to_lowercase().is_in(NOTHING).fill_null(False), None)


def numbers_of(column: pl.Series, decimal: DecimalSign = ".") -> pl.Series:
    """A column as numbers: separators of thousands, a sign of currency or percent at an end are allowed.

    >>> numbers_of(pl.Series(["1,234.5", " ", "12 %", "x"])).to_list(), numbers_of(pl.Series(["1.234,5"]), ",").to_list()
    ([1234.5, None, 12.0, None], [1234.5])
    """
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        found = column.cast(pl.Float64)
    else:
        thousands, point = (",", ".") if decimal == "." else (".", ",")
        plain = texts_of(column).str.replace_all(_SIGNS, "")
        grouped = plain.str.contains(rf"^[-+]?\d{{1,3}}(\{thousands}\d{{3}})+(\{point}\d*)?$").fill_null(False)
        plain = plain.str.replace_all(thousands, "", literal=True).zip_with(grouped, plain)
        if point == ",":
            dotted = plain.str.contains(".", literal=True).fill_null(False)
            plain = plain.set(dotted, None).str.replace(",", ".", literal=True)
        found = plain.cast(pl.Float64, strict=False)
    return found.set(~(found.abs() < _MOST).fill_null(False), None)


def flags_of(column: pl.Series) -> pl.Series:
    """A column of yes and no as 1 and 0.

    >>> flags_of(pl.Series(["Yes", "no", "TRUE", "maybe", None])).to_list()
    [1.0, 0.0, 1.0, None, None]
    """
    if column.dtype == pl.Boolean:
        return column.cast(pl.Float64)
    text = texts_of(column).str.to_lowercase()
    words = dict.fromkeys(YES, 1.0) | dict.fromkeys(NO, 0.0)
    return text.replace_strict(words, default=None, return_dtype=pl.Float64)


def day_order_of(column: pl.Series) -> DayOrder | None:
    """Whether day or month stands first in the dates of a text column; "" where no row tells, None if rows contradict.

    >>> day_order_of(pl.Series(["1/2/2024", "31/2/2024"])), day_order_of(pl.Series(["1/2/2024"]))
    ('day', '')
    """
    texts = texts_of(column)
    unclear = texts.filter(texts.str.contains(f"^(?:{UNCLEAR_PATTERN})$").fill_null(False))
    parts = unclear.str.extract_groups(r"^(?<first>\d+)(?<mark>[/.-])(?<second>\d+)").struct.unnest()
    if not len(parts) or (parts["mark"] == ".").all():
        return "day"
    day_first, month_first = (bool((parts[c].cast(pl.Int64) > 12).any()) for c in ("first", "second"))
    if day_first and month_first:
        return None
    return "day" if day_first else "month" if month_first else ""


def days_of(column: pl.Series, order: DayOrder = "day") -> pl.Series:
    """A column of dates or times as days since 1970 (UTC); null where it is none or lies outside 1900 to 2199.

    >>> days_of(pl.Series(["1970-01-02", "0000-00-00", "02/01/1970", "4746-05-01"])).to_list()
    [1.0, None, 1.0, None]
    """
    if column.dtype.is_temporal():
        days = column.cast(pl.Datetime("us")).dt.timestamp("us") / _DAY_US
    else:
        given = pl.DataFrame({"x": texts_of(column)})
        sql = microseconds_sql("x", "VARCHAR", order=order, utc=True)
        with duckdb.connect() as connection:
            connection.execute("set TimeZone = 'UTC'")
            connection.register("given", given.to_arrow())
            table = connection.sql(f"select {sql} as us from given").to_arrow_table()
        days = pl.DataFrame(table)["us"] / _DAY_US
    days = days.cast(pl.Float64)
    sane = days.is_between(_YEAR_1900, _YEAR_2200, closed="left").fill_null(False)
    return days.set(~sane, None)
