"""Queries of a database as raw files: streamed over SQLAlchemy into Parquet parts, then read like any Parquet.

Parts may differ in their types (a column that is null at first, text in numbers); DuckDB unites them by name.
"""

from __future__ import annotations

import datetime as dt
import decimal
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ebbtide.core.errors import MissingExtraError, SourceError
from ebbtide.core.language import Text

_CHUNK_ROWS = 50_000
_PLAIN = (str, int, float, bool, bytes, dt.datetime, dt.date, dt.time, decimal.Decimal, type(None))
_LARGEST = 1 << 63


def fetch_query(url: str, query: str, folder: Path, name: str, root: Path) -> list[Path]:
    """Run the query and write its rows, in order, to Parquet parts in `folder`. The password is never shown.

    A SQLite path is relative to `root`.

    Raises MissingExtraError without SQLAlchemy or the driver, SourceError if the database refuses.
    """
    try:
        import sqlalchemy  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("sql", Text("Reading from a database", "从数据库读取")) from None
    folder.mkdir(parents=True, exist_ok=True)
    try:
        engine = sqlalchemy.create_engine(_driver(url, root))
    except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError):
        raise SourceError(
            "source {name}: the url is not one of postgresql://user:password@host/database or sqlite:///file",
            "来源 {name}：url 应为 postgresql://用户:密码@主机/数据库 或 sqlite:///文件",
            name=name,
        ) from None
    except ImportError:
        raise MissingExtraError("sql", Text("Reading from PostgreSQL", "从 PostgreSQL 读取")) from None
    try:
        with engine.connect().execution_options(stream_results=True, yield_per=_CHUNK_ROWS) as connection:
            result = connection.execute(sqlalchemy.text(query.replace(":", "\\:")))
            names = list(result.keys())
            return [_write_part(folder, i, names, rows) for i, rows in enumerate(result.partitions())]
    except sqlalchemy.exc.SQLAlchemyError as fault:
        raise SourceError(
            "source {name}: the database refuses: {why}", "来源 {name}：数据库拒绝：{why}", name=name, why=_why(fault)
        ) from None
    finally:
        engine.dispose()


def _driver(url: str, root: Path) -> str:
    """The URL with the driver that the extra installs.

    Raises SourceError if a SQLite file is not there: SQLite itself would make an empty one.
    """
    if url.startswith("sqlite:///"):
        file = root / url.removeprefix("sqlite:///")
        if not file.is_file():
            raise SourceError("there is no file {file}", "没有文件 {file}", file=file.name)
        return f"sqlite:///{file}"
    for short in ("postgresql://", "postgres://"):
        if url.startswith(short):
            return "postgresql+psycopg://" + url.removeprefix(short)
    return url


def _why(fault: Any) -> str:
    """What went wrong without a value of the data: the message where it speaks of connection or SQL, else its kind."""
    kind = type(fault).__name__
    original = getattr(fault, "orig", None)
    if kind in ("OperationalError", "ProgrammingError") and original is not None:
        return str(original).strip().splitlines()[0]
    return kind


def _write_part(folder: Path, number: int, names: list[str], rows: Any) -> Path:
    file = folder / f"part-{number:06d}.parquet"
    columns = [_array([row[i] for row in rows]) for i in range(len(names))]
    pq.write_table(pa.table(columns, names=names), file)
    return file


def _array(values: list[Any]) -> pa.Array:
    """One column of a part; what Arrow has no type for becomes text, nested values JSON."""
    if any(not isinstance(v, _PLAIN) for v in values):
        values = [_text(v) for v in values]
    elif any(isinstance(v, int) and not -_LARGEST <= v < _LARGEST for v in values):
        values = [None if v is None else str(v) for v in values]
    try:
        array = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        array = pa.array([None if v is None else str(v) for v in values], pa.string())
    return array.cast(pa.string()) if pa.types.is_null(array.type) else array


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
