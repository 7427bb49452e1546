"""`ebbtide ingest [FILE...]`: raw files into the lake, and where every row went."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.screen import Column, Screen
from ebbtide.cli.wiring import edge_of
from ebbtide.core.language import Text
from ebbtide.events.validate import Reason
from ebbtide.pipeline.ingest import IngestReport

app = make_app()

_COUNTS = {
    "read": Text("read", "读取"),
    "accepted": Text("accepted", "接受"),
    "quarantined": Text("quarantined", "隔离"),
    "filtered": Text("filtered", "过滤"),
    "duplicates": Text("duplicates", "重复"),
}
_SUM = Text(
    "{read:,} rows read = {accepted:,} accepted + {quarantined:,} quarantined + {filtered:,} filtered "
    "+ {duplicates:,} duplicates",
    "读取 {read:,} 行 = 接受 {accepted:,} + 隔离 {quarantined:,} + 过滤 {filtered:,} + 重复 {duplicates:,}",
)


@app.command(cls=Command)
def ingest(
    ctx: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE",
            help=both(
                "files to read; without any, all sources of ebbtide.toml",
                "要读取的文件；省略则读取 ebbtide.toml 的全部来源",
            ),
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help=both("only this source, or its mapping for FILE", "仅此来源，或对 FILE 使用其映射")
        ),
    ] = None,
) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.ingest(files, source=source), _draw)


def _draw(report: IngestReport, screen: Screen) -> None:
    if len(report.sources) > 1:
        rows = [[name, *asdict(counts).values()] for name, counts in report.sources.items()]
        screen.table([Column(Text("source", "来源")), *(Column(t, figures=True) for t in _COUNTS.values())], rows)
    screen.say(_SUM.format(**asdict(report.total)))
    reasons = [(r.text, r.value, sum(c[r.value] for c in report.reasons.values())) for r in Reason]
    rejected = [row for row in reasons if row[2]]
    if rejected:
        head = [Column(Text("why", "原因")), Column(Text("code", "代码")), Column(Text("rows", "行数"), figures=True)]
        screen.table(head, rejected, title=Text("in quarantine", "隔离区"))
        screen.say(Text("see them with `ebbtide quarantine list`", "用 `ebbtide quarantine list` 查看"))
