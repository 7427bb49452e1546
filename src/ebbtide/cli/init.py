"""`ebbtide init FILE...`: from raw files to a commented `ebbtide.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.screen import Column, Screen
from ebbtide.cli.wiring import edge_of
from ebbtide.core.language import Text
from ebbtide.pipeline.init import InitReport

app = make_app()

_WRITTEN = Text(
    "{file} written: read it, correct what was guessed wrong, then run `ebbtide ingest`",
    "已写出 {file}：请阅读并改正猜错之处，然后运行 `ebbtide ingest`",
)
_MAPPING = (Column(Text("canonical column", "规范列")), Column(Text("from", "取自")))
_PRESET = Text("shipped mapping `{name}`", "内置映射 `{name}`")
_SOURCE = Text("{table} from {path}", "{table}，取自 {path}")


@app.command(cls=Command)
def init(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help=both("raw files to look at", "要查看的原始文件"))],
    force: Annotated[
        bool, typer.Option("--force", help=both("replace an ebbtide.toml that is there", "替换已有的 ebbtide.toml"))
    ] = False,
) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.init(files, force=force), _draw)


def _draw(report: InitReport, screen: Screen) -> None:
    for source in report.sources:
        config = source.config
        screen.say(_SOURCE.format(table=config.table, path=config.path), "bold")
        if config.preset:
            screen.say(_PRESET.format(name=config.preset))
        if config.columns:
            screen.table(_MAPPING, list(config.columns.items()))
        for remark in source.remarks:
            screen.say(_note(remark), "yellow")
    for note in report.notes:
        screen.say(_note(note), "yellow")
    if report.advice:
        screen.say(report.advice.text)
    screen.say(_WRITTEN.format(file=report.file), "bold")


def _note(text: Text) -> Text:
    return Text(f"! {text.en}", f"！{text.zh}")
