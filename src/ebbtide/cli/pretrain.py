"""`ebbtide pretrain`: an event model from raw event streams, without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of

app = make_app()


@app.command(cls=Command)
def pretrain(
    ctx: typer.Context,
    others: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[WORKSPACE]...", help=both("more shops to learn from", "更多用于学习的店铺")),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help=both("where to keep it; otherwise .ebbtide/pretrained", "保存位置；省略则为 .ebbtide/pretrained"),
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help=both("use only what was known then; otherwise all", "仅使用当时已知的数据；省略则使用全部"),
        ),
    ] = None,
    portable: Annotated[
        bool,
        typer.Option(
            "--portable", help=both("learn no names, so that it fits other shops", "不学习名称，以便用于其他店铺")
        ),
    ] = False,
) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.pretrain(out=out, others=others or (), until=until, portable=portable))
