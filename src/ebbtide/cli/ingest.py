"""`ebbtide ingest [FILE...]`: raw files into the lake, and where every row went."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of

app = make_app()


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
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help=both("throw the lake away first, after a change of the mapping", "先清空数据湖，用于映射变更之后"),
        ),
    ] = False,
) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.ingest(files, source=source, rebuild=rebuild))
