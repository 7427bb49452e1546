"""`ebbtide quarantine ...`: the rows that were not accepted, to read, correct and ingest again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of
from ebbtide.core.language import Text

app = make_app(Text("see and export the rows that were not accepted", "查看并导出未被接受的行"))

SourceOption = Annotated[str | None, typer.Option(metavar="NAME", help=both("only this source", "仅此来源"))]
ReasonOption = Annotated[str | None, typer.Option(metavar="CODE", help=both("only this reason code", "仅此原因代码"))]


@app.command("list", cls=Command, help=both("count the rows by file and reason", "按文件和原因统计行数"))
def list_(ctx: typer.Context, source: SourceOption = None, reason: ReasonOption = None) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.quarantine(source=source, reason=reason))


@app.command(cls=Command, help=both("write the rows to a file to correct them", "将行写入文件以便改正"))
def export(
    ctx: typer.Context,
    out: Annotated[Path, typer.Argument(metavar="FILE", help=both(".csv or .jsonl", ".csv 或 .jsonl"))],
    source: SourceOption = None,
    reason: ReasonOption = None,
) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.quarantine.export(out, source=source, reason=reason))
