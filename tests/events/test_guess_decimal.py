"""The decimal sign of a file: told by its values, never by one number that could be read either way."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import duckdb
import pytest

from ebbtide.core.settings import SourceConfig
from ebbtide.events.csv_files import open_csv
from ebbtide.events.guess_decimal import Decimal, guess_decimal
from ebbtide.events.source import resolve_source


def guess(folder: Path, columns: dict[str, list[str]], delimiter: str = ";") -> Decimal:
    """The guess for a file of these columns."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(["kunde", *columns])
    writer.writerows(zip("abcdefghij", *columns.values(), strict=False))
    file = folder / "file.csv"
    file.write_text(text.getvalue(), encoding="utf-8")
    source = resolve_source(SourceConfig(path="-", columns={"user_id": "-"}))
    with duckdb.connect() as connection:
        return guess_decimal(connection, open_csv(connection, file, source, folder))


@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
@pytest.mark.parametrize(
    ("values", "sign"),
    [
        (["12,50", "3,5", "7"], ","),
        (["1.299,00", "899,00"], ","),
        (["1.299.000", "12", "1,5"], ","),
        (["-12,50", "+3,1", ",5"], ","),
        (["1299,000", "1300,000"], ","),  # four digits before the comma: no separator of thousands
        (["0,125", "1,250"], ","),  # nor behind a zero
        (["1,299", "2,499", "0,5"], ","),
        (["1,299.00", "899.00"], "."),
        (["1,299,000", "12"], "."),
        (["1,299", "12.5"], "."),
        (["12.50", "3"], "."),
        (["12", "3", "1.299"], "."),
        (["1,299", "2,499", ""], "."),
        (["rot, blau", "12,50", "grau, rot"], "."),
        (["", "", ""], "."),
    ],
)
def test_the_whole_column_decides(tmp_path: Path, values: list[str], sign: str, delimiter: str) -> None:
    assert guess(tmp_path, {"preis": values}, delimiter).sign == sign


def test_a_sign_is_told_with_the_columns_that_show_it(tmp_path: Path) -> None:
    found = guess(tmp_path, {"menge": ["1", "2"], "preis": ["12,50", "3,00"], "farbe": ["1,2", "1,5"]})
    assert found.remark is not None
    assert found.remark.en.startswith("`preis`: numbers with a decimal comma")
    assert "`preis`" in found.remark.zh


def test_commas_with_three_digits_behind_everywhere_are_left_and_told(tmp_path: Path) -> None:
    found = guess(tmp_path, {"preis": ["1,299", "2,499", "12"]})
    assert found.sign == "."
    assert found.remark is not None
    assert "CHECK" in found.remark.en
    assert guess(tmp_path, {"preis": ["1,299", "2,499"], "rabatt": ["0.5", "1"]}) == Decimal()
    assert guess(tmp_path, {"preis": ["1,299", "2,499"], "rabatt": ["0,5", "1"]}).sign == ","


def test_a_file_with_both_signs_is_left_and_told(tmp_path: Path) -> None:
    apart = guess(tmp_path, {"preis": ["12,50", "3,10"], "rating": ["4.5", "3.5"]})
    assert (apart.sign, "`preis`" in str(apart.remark), "`rating`" in str(apart.remark)) == (".", True, False)
    mixed = guess(tmp_path, {"preis": ["12,50", "3.10", "4,5", "2.5"]})
    assert (mixed.sign, "export the file anew" in str(mixed.remark)) == (".", True)


def test_one_slip_among_many_decides_nothing(tmp_path: Path) -> None:
    assert guess(tmp_path, {"preis": ["12,50"] * 9 + ["3.10"]}).sign == ","
    assert guess(tmp_path, {"preis": ["12.50"] * 9 + ["3,10"]}) == Decimal()
    assert guess(tmp_path, {"preis": ["12,50"] * 9 + ["gratis"]}).sign == ","
