"""Parquet files as raw tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from ebbtide.core.errors import SourceError
from ebbtide.events.expressions import literal
from ebbtide.events.raw import RawTable, native_column, row_json


def open_parquet(connection: duckdb.DuckDBPyConnection, file: Path, parts: Sequence[Path] = ()) -> RawTable:
    """Describe a Parquet file, or `parts` that are read one after the other under the name of `file`.

    Raises SourceError if it is truncated or damaged.
    """
    listed = ", ".join(literal(str(p)) for p in parts or [file])
    relation = f"read_parquet([{listed}], binary_as_string=true, union_by_name=true)"
    try:
        described = connection.execute(f"describe select * from {relation}").fetchall()
    except duckdb.Error:
        raise damaged_parquet(file) from None
    columns = tuple(native_column(name, kind) for name, kind, *_ in described)
    return RawTable(file, relation, columns, row_json([c.name for c in columns]))


def parquet_rows(connection: duckdb.DuckDBPyConnection, file: Path) -> int:
    """Number of rows, from the footer.

    Raises SourceError if the footer cannot be read.
    """
    try:
        sql = f"select num_rows from parquet_file_metadata({literal(str(file))})"
        return int(connection.execute(sql).fetchall()[0][0])
    except duckdb.Error:
        raise damaged_parquet(file) from None


def damaged_parquet(file: Path) -> SourceError:
    """The error for a Parquet file that does not read to its end."""
    return SourceError(
        "{file} is no whole Parquet file: it is truncated or damaged. Copy it again; nothing of it was taken",
        "{file} 不是完整的 Parquet 文件：已截断或损坏。请重新复制；其中内容均未导入",
        file=file.name,
    )
