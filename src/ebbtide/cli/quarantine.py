"""`ebbtide quarantine ...`: the rows that were not accepted, to read, correct and ingest again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.screen import Column, Screen, write_json
from ebbtide.cli.wiring import edge_of
from ebbtide.core.errors import InputError
from ebbtide.core.language import Text
from ebbtide.events.validate import Reason

app = make_app(Text("see and export the rows that were not accepted", "查看并导出未被接受的行"))

_COLUMNS = (
    Column(Text("source", "来源")),
    Column(Text("file", "文件")),
    Column(Text("code", "代码")),
    Column(Text("why", "原因")),
    Column(Text("rows", "行数"), figures=True),
    Column(Text("first row", "首行"), figures=True),
)
_EMPTY = Text("the quarantine is empty", "隔离区为空")
_NEXT = Text(
    "write them to a file with `ebbtide quarantine export FILE`, correct it, then `ebbtide ingest FILE`",
    "用 `ebbtide quarantine export 文件` 写出，改正后再运行 `ebbtide ingest 文件`",
)
_EXPORTED = Text(
    "{rows:,} rows written to {file}; keep the column {key}", "已将 {rows:,} 行写入 {file}；请保留列 {key}"
)

SourceOption = Annotated[str | None, typer.Option(metavar="NAME", help=both("only this source", "仅此来源"))]
ReasonOption = Annotated[str | None, typer.Option(metavar="CODE", help=both("only this reason code", "仅此原因代码"))]


@app.command("list", cls=Command, help=both("count the rows by file and reason", "按文件和原因统计行数"))
def list_(ctx: typer.Context, source: SourceOption = None, reason: ReasonOption = None) -> None:
    with edge_of(ctx) as edge:
        entries = edge.workspace.quarantine.read(source=source, reason=_code(reason))
        groups = _groups(entries.select("source", "file", "reason", "row_number").rows())
        if edge.flags.as_json:
            write_json({"rows": len(entries), "groups": groups})
        else:
            _draw(groups, Screen(edge.language))


@app.command(cls=Command, help=both("write the rows to a file to correct them", "将行写入文件以便改正"))
def export(
    ctx: typer.Context,
    out: Annotated[Path, typer.Argument(metavar="FILE", help=both(".csv or .jsonl", ".csv 或 .jsonl"))],
    source: SourceOption = None,
    reason: ReasonOption = None,
) -> None:
    with edge_of(ctx) as edge:
        rows = edge.workspace.quarantine.export(out, source=source, reason=_code(reason))
        if edge.flags.as_json:
            write_json({"rows": rows, "out": out})
        else:
            Screen(edge.language).say(_EXPORTED.format(rows=rows, file=out, key="_quarantine_id"))


def _code(reason: str | None) -> str | None:
    known = [r.value for r in Reason]
    if reason is not None and reason not in known:
        listed = ", ".join(known)
        raise InputError(f"--reason: the codes are {listed}", f"--reason：可用代码为 {listed}")
    return reason


def _groups(entries: list[tuple[str, str, str, int]]) -> list[dict[str, str | int]]:
    counts = Counter(entry[:3] for entry in entries)
    first: dict[tuple[str, str, str], int] = {}
    for *key, row in entries:
        place = (key[0], key[1], key[2])
        first[place] = min(row, first.get(place, row))
    return [
        {"source": key[0], "file": key[1], "reason": key[2], "rows": count, "first_row": first[key]}
        for key, count in counts.items()
    ]


def _draw(groups: list[dict[str, str | int]], screen: Screen) -> None:
    if not groups:
        screen.say(_EMPTY)
        return
    rows = [[g["source"], g["file"], g["reason"], Reason(g["reason"]).text, g["rows"], g["first_row"]] for g in groups]
    screen.table(_COLUMNS, rows)
    screen.say(_NEXT)
