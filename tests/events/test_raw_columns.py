"""Raw columns seen as text, as their own type, as numbers."""

from __future__ import annotations

import duckdb
import pytest

from ebbtide.events.raw import native_column, nearest, text_column, trimmed_sql


def ask(sql: str, **columns):
    """The value of SQL over one row of SQL values."""
    listed = ", ".join(f"{value} as {name}" for name, value in columns.items())
    with duckdb.connect() as connection:
        return connection.execute(f"select {sql} from (select {listed})").fetchall()[0][0]


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("17850", "BIGINT", "17850"), ("17850.0::double", "DOUBLE", "17850"), ("1.5::double", "DOUBLE", "1.5"),
        ("'nan'::double", "DOUBLE", None), ("18446744073709551615::ubigint", "UBIGINT", "18446744073709551615"),
        ("170141183460469231731687303715884105727::hugeint", "HUGEINT", "170141183460469231731687303715884105727"),
        ("'007'", "VARCHAR", "007"), ("uuid '00000000-0000-0000-0000-00000000000a'", "UUID", "00000000-0000-0000-0000-00000000000a"),
        ("-0.0::double", "DOUBLE", "0"), ("1e300::double", "DOUBLE", "1e+300"),
    ],
)  # fmt: skip
def test_ids_become_text_without_a_trace_of_their_type(value, kind, expected):
    assert ask(native_column("x", kind).text, x=value) == expected


def test_text_ids_of_a_file_that_went_through_floats_lose_the_point():
    column = text_column("x", "DOUBLE", '"x"')
    assert ask(column.text, x="'17850.0'") == "17850"
    assert ask(column.text, x="'17850.5'") == "17850.5"


@pytest.mark.parametrize(
    ("text", "expected"), [("a", "a"), (" a\t", "a"), ("\n", None), ("", None), ("é ", "é"), ("a b", "a b")]
)
def test_texts_are_trimmed(text, expected):
    assert ask(trimmed_sql("x"), x=f"'{text}'") == expected
    assert ask(trimmed_sql("x"), x="null::varchar") is None


def test_the_view_follows_the_use():
    number, text, day = native_column("n", "INTEGER"), native_column("t", "VARCHAR"), native_column("d", "DATE")
    assert [number.view(u, "any") for u in ("any", "text", "string", "number")] == ["typed", "text", "text", "number"]
    assert [text.view(u, "text") for u in ("any", "number")] == ["text", "number"]
    assert day.view("string", "any") == "typed", "compared with '2024-01-01', a date stays a date"
    assert native_column("s", "STRUCT(a INTEGER)").view("number", "any") == "typed"


def test_the_nearest_name_ignores_case_blanks_and_underscores():
    assert nearest("customerid", ["Customer ID", "Country"]) == "Customer ID"
    assert nearest("xyz", ["Customer ID"]) == ""
