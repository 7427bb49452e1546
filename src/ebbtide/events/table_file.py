"""A ready-made table: a CSV, Parquet or JSON lines file read as one frame, as it stands.

Columns of text files stay text, blanks and all: what a text means is decided once, in training, and then holds for
every later file. Typed files keep their numbers, booleans and times; lists and objects become JSON text.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import polars as pl

from ebbtide.core.errors import InputError, SourceError
from ebbtide.core.language import Text
from ebbtide.core.settings import SourceConfig
from ebbtide.events.expressions import quoted
from ebbtide.events.files import check_files, content_hash
from ebbtide.events.open_raw import RawInput, open_raw
from ebbtide.events.raw import RawColumn, is_number, nearest
from ebbtide.events.source import resolve_source
from ebbtide.events.surroundings import steady_disk
from ebbtide.events.text_files import guess_encoding


@dataclass(frozen=True)
class TableFile:
    """The rows of a file. `broken`: rows that could not be cut into columns and are not in `frame`."""

    name: str
    frame: pl.DataFrame
    fingerprint: str
    broken: int = 0

    def check_columns(self, wanted: list[str]) -> None:
        """Raises InputError, naming all that are missing with the nearest column, unless every wanted one is there."""
        missing = [name for name in wanted if name not in self.frame.columns]
        if missing:
            raise missing_columns(self.name, missing, self.frame.columns)


def read_table(file: Path, encoding: str = "") -> TableFile:
    """Read a whole file; `encoding` of text, by default UTF-8 or a guess.

    Raises SourceError if it is none, empty, damaged, or holds only a header.
    """
    check_files([file])
    source = resolve_source(SourceConfig(encoding=encoding or guess_encoding(file)))
    with TemporaryDirectory(prefix="ebbtide-") as folder, steady_disk(), duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        given = RawInput(file, content_hash(file), file.stat().st_size)
        raw = open_raw(connection, given, source, Path(folder))
        picked = ", ".join(f"{_as_stored(c)} as {quoted(c.name)}" for c in raw.columns)
        sound = f" where not {raw.broken}" if raw.broken else ""
        if not picked:
            raise SourceError("{file} has no columns", "{file} 没有列", file=file.name)
        table = connection.sql(f"select {picked} from {raw.relation}{sound}").to_arrow_table()
        frame = pl.DataFrame(table)
        bad = len(raw.screened.broken) if raw.screened else 0
        if raw.broken:
            bad += int(connection.execute(f"select count(*) from {raw.relation} where {raw.broken}").fetchall()[0][0])
    if not len(frame):
        raise SourceError("{file} holds no rows", "{file} 没有数据行", file=file.name)
    return TableFile(file.name, frame, given.fingerprint, bad)


def table_of_frame(frame: pl.DataFrame, name: str = "table") -> TableFile:
    """A table in memory, read by way of a Parquet file, so that whatever its types are, it is as if it had been one.

    Raises SourceError if it holds no rows.
    """
    if not len(frame) or not frame.width:
        raise SourceError("{file} holds no rows", "{file} 没有数据行", file=name)
    with TemporaryDirectory(prefix="ebbtide-") as folder:
        file = Path(folder) / "frame.parquet"
        frame.write_parquet(file)
        return replace(read_table(file), name=name)


def missing_columns(file: str, missing: list[str], columns: list[str]) -> InputError:
    """The error for columns that a table should have and has not."""
    told = [(name, nearest(name, columns)) for name in missing]
    en = ", ".join(f"`{n}`" + (f" (did you mean `{c}`?)" if c else "") for n, c in told)
    zh = "、".join(f"`{n}`" + (f"（是否想写 `{c}`？）" if c else "") for n, c in told)
    listed = ", ".join(columns[:40]) + (", ..." if len(columns) > 40 else "")
    return InputError(
        "{file} has no column {missing}; its columns are {listed}",
        "{file} 没有列 {missing}；现有列：{listed}",
        file=file,
        missing=Text(en, zh),
        listed=listed,
    )


def _as_stored(column: RawColumn) -> str:
    """SQL of a column as the file has it."""
    if column.text_based:
        return column.text
    if is_number(column.type):
        narrow = column.type.upper().startswith(("DECIMAL", "HUGEINT", "UHUGEINT", "BIGNUM"))
        return f"({column.typed})::double" if narrow else column.typed
    if column.type.upper().startswith(("BOOLEAN", "DATE", "TIMESTAMP")):
        return column.typed
    nested = column.type.endswith(("[]", ")"))
    return f"to_json({column.typed})::varchar" if nested else f"({column.text})::varchar"
