"""Delimited text files as raw tables: the dialect is found from the head of the file, every column is read as text.

Lines that do not split into the file's columns are taken out by the reader and kept in DuckDB's table of rejects;
`rejected_lines` lists them.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import duckdb

from ebbtide.core.config import SourceConfig
from ebbtide.core.errors import SourceError
from ebbtide.events.expressions import literal, quoted
from ebbtide.events.raw import RawColumn, RawTable, text_column

DELIMITERS = (",", ";", "\t", "|")
_NUMBER = re.compile(r"\s*[-+]?[\d.,]+(e[-+]?\d+)?\s*", re.IGNORECASE)
_SAMPLE_LINES = 200
MAX_LINE_BYTES = 4_000_000


@dataclass(frozen=True)
class Dialect:
    """How a text file is cut into columns; `names` are its columns."""

    delimiter: str
    header: bool
    names: tuple[str, ...]


def open_csv(
    connection: duckdb.DuckDBPyConnection, file: Path, head: str, source: SourceConfig, names: tuple[str, ...] = ()
) -> RawTable:
    """Describe a delimited text file from its `head`, the decoded first part of it. `names` are for files without
    a header line.

    Raises SourceError for an empty file, a header without rows, a delimiter that does not fit.
    """
    dialect = find_dialect(file.name, head, source.delimiter, names)
    types, formats = _sniff(connection, file, dialect)
    columns = dict.fromkeys(dialect.names, "VARCHAR")
    options = (
        f"{_options(dialect)}, columns={_struct(columns)}, ignore_errors=true, store_rejects=true, rejects_limit=0"
    )
    relation = f"read_csv({literal(str(file))}, {options})"
    described = tuple(_column(n, types.get(n, "VARCHAR"), formats, source.decimal) for n in dialect.names)
    return RawTable(file, relation, described, rejects=True)


def find_dialect(name: str, head: str, delimiter: str, names: tuple[str, ...] = ()) -> Dialect:
    """The dialect of a text from its first lines.

    >>> find_dialect("a.csv", "id;price\\n1;2,50\\n", "").delimiter
    ';'

    Raises SourceError if there is nothing to read, or the given delimiter yields one column where another yields more.
    """
    lines = [line for line in head.lstrip("\ufeff").splitlines()[:_SAMPLE_LINES] if line.strip()]
    if not lines:
        raise SourceError("{file} is empty", "{file} 是空文件", file=name)
    best = max(DELIMITERS, key=lambda mark: _fit(lines, mark))
    chosen = delimiter or best
    first = _cells(lines[0], chosen)
    if len(first) == 1 and len(_cells(lines[0], best)) > 1:
        raise SourceError(
            "{file} has one column with the delimiter {given!r}, but {count} with {better!r}: set `delimiter`",
            "{file} 用分隔符 {given!r} 只有一列，用 {better!r} 则有 {count} 列：请设置 `delimiter`",
            file=name, given=chosen, better=best, count=len(_cells(lines[0], best)),
        )  # fmt: skip
    header = not names and not any(_NUMBER.fullmatch(cell) for cell in first)
    if header and len(lines) == 1:
        raise SourceError("{file} has a header line and no rows", "{file} 只有表头，没有数据行", file=name)
    found = tuple(_unique(first)) if header else names or tuple(f"column{i}" for i in range(len(first)))
    return Dialect(chosen, header, found)


def rejected_lines(connection: duckdb.DuckDBPyConnection) -> list[tuple[int, str]]:
    """Line number in rows (1 = first line of the file) and text of each line that the reader took out."""
    sql = "select line, any_value(csv_line) from reject_errors group by line order by line"
    return [(int(line), str(text or "")) for line, text in connection.execute(sql).fetchall()]


def _fit(lines: list[str], mark: str) -> tuple[int, int]:
    """How well a delimiter fits: lines with as many cells as the first one, then that number."""
    count = len(_cells(lines[0], mark))
    return (sum(len(_cells(line, mark)) == count for line in lines) if count > 1 else 0, count)


def _cells(line: str, mark: str) -> list[str]:
    return next(csv.reader([line], delimiter=mark), [])


def _unique(names: list[str]) -> list[str]:
    """Column names as DuckDB wants them: none empty, none twice."""
    out: list[str] = []
    for i, raw in enumerate(names):
        name = raw.strip() or f"column{i}"
        lowered = [o.lower() for o in out]
        while name.lower() in lowered:
            name += "_1"
        out.append(name)
    return out


def _options(dialect: Dialect) -> str:
    mark = literal(dialect.delimiter)
    return (
        f"""auto_detect=false, delim={mark}, quote='"', escape='"', header={str(dialect.header).lower()}, """
        f"max_line_size={MAX_LINE_BYTES}"
    )


def _struct(columns: dict[str, str]) -> str:
    return "{" + ", ".join(f"{quoted(n)}: {literal(t)}" for n, t in columns.items()) + "}"


def _sniff(
    connection: duckdb.DuckDBPyConnection, file: Path, dialect: Dialect
) -> tuple[dict[str, str], dict[str, str | None]]:
    """Types of the columns by a sample of the file, and its date formats; all text where sniffing fails."""
    names = "[" + ", ".join(literal(n) for n in dialect.names) + "]"
    options = f"""delim={literal(dialect.delimiter)}, quote='"', escape='"', header={str(dialect.header).lower()}"""
    sql = f"select Columns, DateFormat, TimestampFormat from sniff_csv({literal(str(file))}, {options}, names={names}, ignore_errors=true)"
    try:
        columns, date_format, time_format = connection.execute(sql).fetchall()[0]
    except duckdb.Error:
        return {}, {}
    return {c["name"]: c["type"] for c in columns}, {"DATE": date_format, "TIMESTAMP": time_format}


def _column(name: str, sql_type: str, formats: dict[str, str | None], decimal: str) -> RawColumn:
    text = quoted(name)
    given = formats.get(sql_type)
    typed = f"try_strptime(nullif(trim({text}), ''), {literal(given)})::{sql_type}" if given else ""
    return text_column(name, sql_type, text, decimal=decimal, typed=typed)
