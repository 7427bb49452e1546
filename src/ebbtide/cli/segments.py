"""`ebbtide segments`: sizes, risk and value of stages and segments, and the flow between two dates."""

from __future__ import annotations

from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of

app = make_app()


@app.command(cls=Command)
def segments(
    ctx: typer.Context,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help=both("moment of knowledge; otherwise the newest event", "知识时点；省略则取最新事件")
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help=both("an earlier moment: who moved from which stage to which", "更早的时点：谁从哪个阶段到了哪个阶段"),
        ),
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help=both("bundle to use; otherwise the current one", "使用的模型包；省略则取当前")
        ),
    ] = None,
) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.segments(as_of=as_of, against=against, bundle=bundle))
