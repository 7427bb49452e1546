"""Opening a raw file of any format as a raw table, with the lists of a preset expanded to a row an element."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from ebbtide.events.csv_files import open_csv
from ebbtide.events.expressions import literal, quoted
from ebbtide.events.files import format_of
from ebbtide.events.json_lines import open_json
from ebbtide.events.parquet_files import open_parquet
from ebbtide.events.raw import RawTable, json_column, native_column
from ebbtide.events.source import Preset, Source

LINE, LINE_NUMBER = "_line", "_line_number"
QUARANTINE_ID = "_quarantine_id"
"""The column by which a corrected row tells which quarantined one it replaces."""


@dataclass(frozen=True)
class RawInput:
    """One thing to read: a file, or the `parts` that a query was fetched to, which then go by the name of `file`."""

    file: Path
    fingerprint: str
    size: int
    parts: tuple[Path, ...] = ()


def open_raw(connection: duckdb.DuckDBPyConnection, given: RawInput, source: Source, folder: Path) -> RawTable:
    """Describe a file or the fetched rows of a query; `folder` is for temporary copies.

    Raises SourceError if it cannot be read.
    """
    file = given.file
    kind = "parquet" if given.parts else format_of(file)
    if kind == "parquet":
        table = open_parquet(connection, file, given.parts)
    else:
        table = (open_json if kind == "json" else open_csv)(connection, file, source, folder)
    for signature, body in source.preset.macros.items():
        connection.execute(f"create or replace temp macro {signature} as {body}").fetchall()
    return _expanded(table, source.preset) if source.preset.expand else table


def _expanded(table: RawTable, preset: Preset) -> RawTable:
    """One row an element of the list at `preset.expand` where `expand_when` holds; rows without elements stay one."""
    path = literal("$." + preset.expand + "[*]")
    inner = (
        f"select *, {table.row} as {quoted('#row')}, row_number() over () as {quoted('#number')} from {table.relation}"
    )
    when = preset.expand_when.replace("_row", quoted("#row"))
    elements = f"case when {when} then json_extract({quoted('#row')}, {path}) end"
    listed = f"select *, {elements} as {quoted('#lines')} from ({inner})"
    rows = f"""select * exclude ({quoted("#lines")}), unnest(case when len({quoted("#lines")}) > 0
        then {quoted("#lines")} else [null::json] end) as {quoted(LINE)},
        unnest(case when len({quoted("#lines")}) > 0 then range(1, len({quoted("#lines")}) + 1)
        else [null::bigint] end) as {quoted(LINE_NUMBER)} from ({listed})"""
    narrowed = f"json_merge_patch({quoted('#row')}, {_nested(preset.expand.split('.'), quoted(LINE))})"
    kept = f"case when {quoted(LINE)} is null then {quoted('#row')} else {narrowed} end"
    columns = (*table.columns, json_column(LINE, quoted(LINE)), native_column(LINE_NUMBER, "BIGINT"))
    return replace(table, relation=f"({rows})", columns=columns, row=quoted("#row"), numbered=True, kept_row=kept)


def _nested(keys: list[str], element: str) -> str:
    """SQL of a JSON object that holds `[element]` under the keys."""
    if not keys:
        return f"json_array({element})"
    return f"json_object({literal(keys[0])}, {_nested(keys[1:], element)})"
