"""`ebbtide effect`: what one campaign changed, or all of them beside each other."""

from __future__ import annotations

from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of

app = make_app()


@app.command(cls=Command)
def effect(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help=both("campaign; otherwise all", "活动；省略则全部"))
    ] = None,
) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.effects() if name is None else edge.workspace.effect(name))
