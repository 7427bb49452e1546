"""`ebbtide compare`: models trained and judged side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of

app = make_app()


@app.command(cls=Command)
def compare(
    ctx: typer.Context,
    models: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            help=both(
                "names, with commas; otherwise auto and all others that can run",
                "以逗号分隔的名称；省略则为 auto 及所有可运行的模型",
            ),
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help=both("use only what was known then; otherwise all", "仅使用当时已知的数据；省略则使用全部"),
        ),
    ] = None,
) -> None:
    names = [name.strip() for name in models.split(",")] if models is not None else None
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.compare(names, until=until))
