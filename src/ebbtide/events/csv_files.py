"""Delimited text files as raw tables: the dialect is found from the head of the file, every column is read as text."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import duckdb

from ebbtide.core.errors import SourceError
from ebbtide.events.expressions import literal, quoted
from ebbtide.events.numbers import NumberStyle
from ebbtide.events.raw import RawColumn, RawTable, row_json, text_column
from ebbtide.events.screening import MAX_ROW_BYTES, Layout, Screened, screen_text
from ebbtide.events.source import Source
from ebbtide.events.text_files import as_utf8, read_head

DELIMITERS = (",", ";", "\t", "|")
_NUMBER = re.compile(r"\s*[-+]?[\d.,]+(e[-+]?\d+)?\s*", re.IGNORECASE)
_SAMPLE_ROWS = 200


@dataclass(frozen=True)
class Dialect:
    """How a text file is cut into columns; `names` are its columns."""

    delimiter: str
    header: bool
    names: tuple[str, ...]


def open_csv(connection: duckdb.DuckDBPyConnection, file: Path, source: Source, folder: Path) -> RawTable:
    """Describe a delimited text file; `folder` is for a cleaned or decoded copy.

    Raises SourceError for an empty file, a header without rows, a delimiter that does not fit, an unknown encoding.
    """
    head, encoding = read_head(file, source.config.encoding)
    dialect = find_dialect(file.name, head, source.config.delimiter, source.preset.names)
    layout = Layout(len(dialect.names), dialect.delimiter, '"')
    screened = screen_text(as_utf8(file, encoding, folder), layout, folder)
    options = f"{_options(dialect)}, columns={_struct(dialect.names)}, max_line_size={2 * MAX_ROW_BYTES}"
    relation = f"read_csv({literal(str(screened.file))}, {options}, auto_detect=false)"
    types, formats = _sniff(connection, screened, dialect)
    style = source.numbers
    columns = tuple(_column(n, types.get(n, "VARCHAR"), formats, style) for n in dialect.names)
    return RawTable(file, relation, columns, row_json(list(dialect.names)), screened=screened, header=dialect.header)


def find_dialect(name: str, head: str, delimiter: str, names: tuple[str, ...] = ()) -> Dialect:
    """The dialect of a text from its first rows. `names` are the columns of a file that has no header.

    >>> find_dialect("a.csv", "id;price\\n1;2,50\\n", "").delimiter
    ';'

    Raises SourceError if there is nothing to read, or the given delimiter yields one column where another yields more.
    """
    if "\n" not in head.rstrip("\n") and "\r" in head.strip():
        raise SourceError(
            "{file} has line ends of the old Mac (CR): save it with those of Unix or Windows",
            "{file} 使用旧式 Mac 换行符（CR）：请另存为 Unix 或 Windows 换行",
            file=name,
        )
    best = max(DELIMITERS, key=lambda mark: _fit(_rows(head, mark)))
    chosen = delimiter or best
    rows = _rows(head, chosen)
    if not rows:
        raise SourceError("{file} is empty", "{file} 是空文件", file=name)
    first, wider = rows[0], _rows(head, best)[0]
    if len(first) == 1 and len(wider) > 1:
        raise SourceError(
            "{file} has one column with the delimiter {given!r}, but {count} with {better!r}: set `delimiter`",
            "{file} 用分隔符 {given!r} 只有一列，用 {better!r} 则有 {count} 列：请设置 `delimiter`",
            file=name,
            given=chosen,
            better=best,
            count=len(wider),
        )
    header = not names and not any(_NUMBER.fullmatch(cell) for cell in first)
    if header and len(rows) == 1:
        raise SourceError("{file} has a header line and no rows", "{file} 只有表头，没有数据行", file=name)
    if names and len(names) != len(first):
        raise SourceError(
            "{file} has {found} columns where the preset expects {count}: {names}",
            "{file} 有 {found} 列，而预设要求 {count} 列：{names}",
            file=name,
            found=len(first),
            count=len(names),
            names=", ".join(names),
        )
    found = tuple(_unique(first)) if header else names or tuple(f"column{i}" for i in range(len(first)))
    return Dialect(chosen, header, found)


def _rows(head: str, mark: str) -> list[list[str]]:
    """The first rows that are not empty."""
    try:
        return list(islice((r for r in csv.reader(io.StringIO(head, newline=""), delimiter=mark) if r), _SAMPLE_ROWS))
    except csv.Error:
        return [line.split(mark) for line in head.splitlines()[:_SAMPLE_ROWS] if line]


def _fit(rows: list[list[str]]) -> tuple[int, int]:
    """How well a delimiter fits: rows with as many cells as the first one, then that number."""
    count = len(rows[0]) if rows else 0
    return (sum(len(r) == count for r in rows) if count > 1 else 0, count)


def _unique(names: list[str]) -> list[str]:
    """Column names as DuckDB wants them: none empty, none twice (upper and lower case are the same)."""
    out: list[str] = []
    for i, raw in enumerate(names):
        name = raw.strip() or f"column{i}"
        while name.lower() in [o.lower() for o in out]:
            name += "_1"
        out.append(name)
    return out


def _options(dialect: Dialect) -> str:
    header = str(dialect.header).lower()
    return f"""delim={literal(dialect.delimiter)}, quote='"', escape='"', header={header}"""


def _struct(names: tuple[str, ...]) -> str:
    return "{" + ", ".join(f"{quoted(n)}: 'VARCHAR'" for n in names) + "}"


def _sniff(
    connection: duckdb.DuckDBPyConnection, screened: Screened, dialect: Dialect
) -> tuple[dict[str, str], dict[str, str | None]]:
    """Types of the columns by a sample of the file, and its date formats; all text where sniffing fails."""
    names = "[" + ", ".join(literal(n) for n in dialect.names) + "]"
    found = f"sniff_csv({literal(str(screened.file))}, {_options(dialect)}, names={names})"
    try:
        sql = f"select Columns, DateFormat, TimestampFormat from {found}"
        columns, date_format, time_format = connection.execute(sql).fetchall()[0]
    except duckdb.Error:
        return {}, {}
    return {c["name"]: c["type"] for c in columns}, {"DATE": date_format, "TIMESTAMP": time_format}


def _column(name: str, sql_type: str, formats: dict[str, str | None], style: NumberStyle) -> RawColumn:
    text = quoted(name)
    given = formats.get(sql_type)
    typed = f"strptime(nullif(trim({text}), ''), {literal(given)})::{sql_type}" if given else ""
    return text_column(name, sql_type, text, style=style, typed=typed)
