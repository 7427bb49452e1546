"""`ebbtide drivers`: what goes with churn, and what the rate would be without it."""

from __future__ import annotations

from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of

app = make_app()


@app.command(cls=Command)
def drivers(
    ctx: typer.Context,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help=both("end of knowledge; otherwise the newest event", "知识截止时点；省略则取最新事件")
        ),
    ] = None,
) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.drivers(until=until))
