"""JSON lines as raw tables: one object a line; its keys are the columns, nested objects and lists keep their shape.

`_row` is the whole object as JSON: `_row->>'$.context.ip'` never fails, whereas `context.ip` needs the key to occur
in the first lines of the file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb

from ebbtide.core.errors import SourceError
from ebbtide.events.expressions import literal
from ebbtide.events.raw import RawColumn, RawTable, text_column
from ebbtide.events.screening import MAX_ROW_BYTES, Layout, screen_text
from ebbtide.events.source import Source
from ebbtide.events.text_files import as_utf8, read_head

_SAMPLE_ROWS = 20_000
_NEVER = "\x01"
"""A character that cannot stand in JSON unescaped: the delimiter of a file read as one column."""


def open_json(connection: duckdb.DuckDBPyConnection, file: Path, source: Source, folder: Path) -> RawTable:
    """Describe a file of JSON lines; `folder` is for a cleaned or decoded copy.

    Raises SourceError for an empty file or one that holds a single JSON array.
    """
    head, encoding = read_head(file, source.config.encoding)
    if head.lstrip().startswith("["):
        raise SourceError(
            "{file} is one JSON array: write one object a line, for example with `jq -c '.[]'`",
            "{file} 是一个 JSON 数组：请每行写一个对象，例如用 `jq -c '.[]'`",
            file=file.name,
        )
    screened = screen_text(as_utf8(file, encoding, folder), Layout(1, _NEVER, ""), folder)
    options = f"delim={literal(_NEVER)}, quote='', escape='', header=false, columns={{'line': 'VARCHAR'}}"
    read = f"read_csv({literal(str(screened.file))}, {options}, max_line_size={2 * MAX_ROW_BYTES}, auto_detect=false)"
    rows = f"(select try_cast(line as json) as row from {read} where line is not null)"
    shapes = _shapes(connection, rows)
    paths = ", ".join(_path(name) for name in shapes)
    relation = f"(select row, json_extract_string(row, [{paths}]) as cells from {rows})" if shapes else rows
    columns = tuple(_column(name, shape, place) for place, (name, shape) in enumerate(shapes.items(), start=1))
    broken = "(row is null or json_type(row) <> 'OBJECT')"
    return RawTable(file, relation, columns, "row", broken=broken, screened=screened)


def _shapes(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, Any]:
    """The keys of the first objects and their structure, as DuckDB's `json_structure` tells it."""
    sample = f"select row from {relation} where json_type(row) = 'OBJECT' limit {_SAMPLE_ROWS}"
    found = connection.execute(f"select json_group_structure(row)::varchar from ({sample})").fetchall()[0][0]
    shapes = json.loads(found) if found else {}
    return shapes if isinstance(shapes, dict) else {}


def _path(name: str) -> str:
    return literal('$."' + name.replace('"', '\\"') + '"')


def _column(name: str, shape: Any, place: int) -> RawColumn:
    """A key: its text is taken from `cells`, for which a row is parsed only once."""
    text = f"cells[{place}]"
    if isinstance(shape, str):
        kind = "VARCHAR" if shape in ("NULL", "JSON") else shape
        return text_column(name, kind, text)
    nested = f"json_transform(json_extract(row, {_path(name)}), {literal(json.dumps(_without_null(shape)))})"
    return RawColumn(name, "STRUCT", nested, nested, "", f"{text} is not null")


def _without_null(shape: Any) -> Any:
    """The structure with text in place of what was null in every line."""
    if isinstance(shape, dict):
        return {k: _without_null(v) for k, v in shape.items()}
    if isinstance(shape, list):
        return [_without_null(v) for v in shape]
    return "VARCHAR" if shape == "NULL" else shape
