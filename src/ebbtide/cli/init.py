"""`ebbtide init FILE...`: from raw files to a commented `ebbtide.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of

app = make_app()


@app.command(cls=Command)
def init(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help=both("raw files to look at", "要查看的原始文件"))],
    force: Annotated[
        bool, typer.Option("--force", help=both("replace an ebbtide.toml that is there", "替换已有的 ebbtide.toml"))
    ] = False,
) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.init(files, force=force))
