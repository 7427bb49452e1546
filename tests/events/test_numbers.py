"""Numbers in text files as shops write them."""

from __future__ import annotations

import duckdb
import pytest

from ebbtide.events.expressions import literal
from ebbtide.events.numbers import NumberStyle, bare_sql, number_or_fail_sql, number_sql


def ask(sql: str, text: str) -> object:
    """The value of SQL over one text `x`."""
    with duckdb.connect() as connection:
        return connection.execute(f"select {sql} from (select {literal(text)} as x)").fetchall()[0][0]


@pytest.mark.parametrize(
    ("text", "decimal", "sign", "expected"),
    [
        ("12.5", ".", "", 12.5), ("-3", ".", "", -3.0), ("1,234.5", ".", "", 1234.5), ("1,234,567", ".", "", 1234567.0),
        ("12,34", ".", "", None), ("1,2345", ".", "", None), ("1e3", ".", "", 1000.0), ("£5", ".", "", None), ("n/a", ".", "", None),
        ("1.234,5", ",", "", 1234.5), ("12,5", ",", "", 12.5), ("1.5", ",", "", None), ("1.234", ",", "", 1234.0), ("7", ",", "", 7.0),
        ("1 299,00", ",", "", 1299.0), ("1\u202f299\u202f000,5", ",", "", 1299000.5), ("1\u00a0299.00", ".", "", 1299.0),
        ("1'299.00", ".", "", 1299.0), ("1’299", ".", "", 1299.0), ("12 99", ".", "", None), ("1 2 3", ".", "", None), ("1'299 000", ".", "", None),
        ("(12.50)", ".", "", -12.5), ("(1.299,00)", ",", "", -1299.0), ("12.50-", ".", "", -12.5), ("−12.50", ".", "", -12.5),
        ("(12.50", ".", "", None), ("-12.50-", ".", "", None), ("(-12.50)", ".", "", None), ("()", ".", "", None), ("-", ".", "", None),
        ("12,50 €", ",", "€", 12.5), ("€12.50", ".", "€", 12.5), ("-€12.50", ".", "€", -12.5), ("€-12.50", ".", "€", -12.5), ("(€12.50)", ".", "€", -12.5),
        ("12,50 €-", ",", "€", -12.5), ("1.299,00\u00a0€", ",", "€", 1299.0), ("12.50", ".", "€", 12.5), ("$12.50", ".", "€", None),
        ("€ 12 €", ".", "€", None), ("€", ".", "€", None), ("EUR 1,299.00", ".", "EUR", 1299.0), ("12.50EUR", ".", "EUR", 12.5),
        ("￥12.50", ".", "￥", 12.5), ("¥12.50", ".", "￥", 12.5), ("1,299.00元", ".", "元", 1299.0), ("12.50 kr.", ".", "kr.", 12.5), ("$1,299.00", ".", "$", 1299.0),
    ],
)  # fmt: skip
def test_numbers_are_read_as_written(text: str, decimal: str, sign: str, expected: float | None) -> None:
    style = NumberStyle(decimal, sign)
    assert ask(number_sql("x", style), text) == expected
    assert ask(f"try({number_or_fail_sql('x', style)})", text) == expected


@pytest.mark.parametrize(
    ("text", "sign", "expected"),
    [
        ("12,50 €", "€", "12,50"), ("1 299,00", "", "1299,00"), ("(1'299.00)", "", "1299.00"), ("12.50-", "", "12.50"),
        ("12,50 €", "", "12,50 €"), ("red, 12", "", "red, 12"), ("2 x 3", "", "2 x 3"),
    ],
)  # fmt: skip
def test_bare_numbers_show_digits_points_and_commas(text: str, sign: str, expected: str) -> None:
    assert ask(bare_sql("x", sign), text) == expected
