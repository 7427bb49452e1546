"""`ebbtide backtest`: the same model policy at many past moments."""

from __future__ import annotations

from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of

app = make_app()


@app.command(cls=Command)
def backtest(
    ctx: typer.Context,
    moments: Annotated[
        int, typer.Option(min=1, metavar="N", help=both("how many moments at most", "最多多少个时点"))
    ] = 8,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=both("auto or one model; otherwise train.model", "auto 或单个模型；省略则取 train.model"),
        ),
    ] = None,
) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.backtest(moments=moments, model=model))
