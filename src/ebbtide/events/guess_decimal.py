"""`1.299,00` or `1,299.00`: which sign is the decimal one? All values of the file's number columns decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import duckdb

from ebbtide.core.language import Text
from ebbtide.events.expressions import literal
from ebbtide.events.guess_names import COLUMN_NAMES, match
from ebbtide.events.numbers import bare_sql
from ebbtide.events.raw import RawColumn, RawTable

NUMBERS = ("quantity", "unit_price", "value", "discount", "rating")
"""Canonical columns that hold numbers."""
_SAMPLE_ROWS = 20_000
_MOSTLY = 0.9
_NUMBER, _WITH_COMMA = "[-+]?[0-9.,]*[0-9][0-9.,]*", "[-+]?[0-9.,]*,[0-9.,]*"
_COMMA_OF_THREE = "[-+]?[1-9][0-9]{0,2},[0-9]{3}"


class _Sign(Enum):
    """What the numbers of a column show. Unclear: each comma has three digits behind it, `1,299`."""

    COMMA = ","
    POINT = "."
    MIXED = "mixed"
    UNCLEAR = "unclear"
    NONE = "none"


@dataclass(frozen=True)
class Decimal:
    """The decimal sign of a file, and a remark where the user should know of it."""

    sign: str = "."
    remark: Text | None = None


def guess_decimal(connection: duckdb.DuckDBPyConnection, raw: RawTable, currency_sign: str = "") -> Decimal:
    """The decimal sign that the number columns of a delimited text file share; a point unless the values say otherwise.

    Of two signs in a number the last one is the decimal sign, and one that occurs twice is none. A single comma is
    decimal unless exactly three digits stand behind it, as in `1,299`: that shows nothing. Columns are those that are
    called like a number. The file is read whole only if numbers with commas are among its first rows.
    """
    columns = [c for c in raw.columns if c.text_based and any(match(c.name, COLUMN_NAMES[n]) for n in NUMBERS)]
    columns = [replace(c, text=bare_sql(c.text, currency_sign)) for c in columns]
    if not columns or not _has_commas(connection, raw, columns):
        return Decimal()
    found = dict(zip([c.name for c in columns], _signs(connection, raw, columns), strict=True))
    named = {sign: [name for name, own in found.items() if own is sign] for sign in _Sign}
    if named[_Sign.MIXED]:
        return Decimal(".", _told(_MIXED, named[_Sign.MIXED]))
    if named[_Sign.COMMA] and named[_Sign.POINT]:
        return Decimal(".", _told(_BOTH, named[_Sign.COMMA]))
    if named[_Sign.COMMA]:
        return Decimal(",", _told(_COMMA, named[_Sign.COMMA]))
    if named[_Sign.UNCLEAR] and not named[_Sign.POINT]:
        return Decimal(".", _told(_UNCLEAR, named[_Sign.UNCLEAR]))
    return Decimal()


def _has_commas(connection: duckdb.DuckDBPyConnection, raw: RawTable, columns: Sequence[RawColumn]) -> bool:
    any_comma = " or ".join(_matches(c, _WITH_COMMA) for c in columns)
    sample = f"(select * from {raw.relation} limit {_SAMPLE_ROWS})"
    return bool(connection.execute(f"select coalesce(bool_or({any_comma}), false) from {sample}").fetchall()[0][0])


def _signs(connection: duckdb.DuckDBPyConnection, raw: RawTable, columns: Sequence[RawColumn]) -> list[_Sign]:
    asked = []
    for c in columns:
        asked += [
            f"count(*) filter ({c.present})",
            f"count(*) filter ({_matches(c, _NUMBER)})",
            f"count(*) filter ({_shows(c, ',', '.')})",
            f"count(*) filter ({_shows(c, '.', ',')})",
            f"count(*) filter ({_matches(c, _COMMA_OF_THREE)})",
        ]
    counts = connection.execute(f"select {', '.join(asked)} from {raw.relation}").fetchall()[0]
    return [_sign(*counts[i : i + 5]) for i in range(0, len(counts), 5)]


def _sign(present: int, numbers: int, comma: int, point: int, unclear: int) -> _Sign:
    clear = comma + point
    if numbers < _MOSTLY * present:
        return _Sign.NONE
    if clear == 0:
        return _Sign.UNCLEAR if unclear else _Sign.NONE
    if comma >= _MOSTLY * clear:
        return _Sign.COMMA
    return _Sign.POINT if point >= _MOSTLY * clear else _Sign.MIXED


def _matches(column: RawColumn, pattern: str) -> str:
    return f"coalesce(regexp_full_match(trim({column.text}), {literal(pattern)}), false)"


def _shows(column: RawColumn, decimal: str, other: str) -> str:
    """SQL that is true for a number that can be read with this decimal sign only."""
    last = f"[-+]?[0-9]{{1,3}}([{other}][0-9]{{3}})+[{decimal}][0-9]+"
    twice = f"[-+]?[0-9]{{1,3}}([{other}][0-9]{{3}}){{2,}}"
    single, of_three = f"[-+]?[0-9]*[{decimal}][0-9]+", f"[-+]?[1-9][0-9]{{0,2}}[{decimal}][0-9]{{3}}"
    plain = f"{_matches(column, single)} and not {_matches(column, of_three)}"
    return f"({_matches(column, f'{last}|{twice}')} or ({plain}))"


_COMMA = Text(
    "{columns}: numbers with a decimal comma (`12,50`), as `decimal` says",
    "{columns}：数字以逗号作小数点（`12,50`），已由 `decimal` 说明",
)
_UNCLEAR = Text(
    "{columns}: behind every comma stand three digits (`1,299`), read as thousands; if it is a decimal comma, set "
    '`decimal = ","`: CHECK it',
    '{columns}：每个逗号后都是三位数字（`1,299`），按千位分隔读取；若逗号是小数点，请设置 `decimal = ","`：请检查',
)
_BOTH = Text(
    "{columns}: numbers with a decimal comma, beside other columns with a decimal point, but a source has one `decimal`. Map such "
    "a column as `replace(replace(COLUMN, '.', ''), ',', '.')::double`",
    "{columns}：数字以逗号作小数点，其他列却用点，而一个来源只有一个 `decimal`。请将这样的列映射为 "
    "`replace(replace(列, '.', ''), ',', '.')::double`",
)
_MIXED = Text(
    "{columns}: some numbers have a decimal comma and others a decimal point: export the file anew with one of them",
    "{columns}：有的数字以逗号作小数点，有的用点：请统一后重新导出文件",
)


def _told(remark: Text, columns: Sequence[str]) -> Text:
    return remark.format(columns=", ".join(f"`{name}`" for name in columns).replace("\n", " "))
