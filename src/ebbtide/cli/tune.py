"""`ebbtide tune`: better settings for one model, found on past moments."""

from __future__ import annotations

from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of
from ebbtide.pipeline.study import Sampler

app = make_app()


@app.command(cls=Command)
def tune(
    ctx: typer.Context,
    model: Annotated[str, typer.Option(metavar="NAME", help=both("the model to tune", "要调参的模型"))],
    trials: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help=both("trials in all, with those of earlier and other processes", "试验总数，含先前及其他进程的试验"),
        ),
    ] = 40,
    minutes: Annotated[
        float | None, typer.Option(min=0, metavar="M", help=both("stop after so many minutes", "多少分钟后停止"))
    ] = None,
    sampler: Annotated[
        Sampler, typer.Option(metavar="tpe|random|grid", help=both("how settings are drawn", "参数的抽取方式"))
    ] = "tpe",
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh/--resume",
            help=both("forget earlier trials; otherwise go on with them", "忘记先前的试验；省略则继续"),
        ),
    ] = False,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help=both("use only what was known then; otherwise all", "仅使用当时已知的数据；省略则使用全部"),
        ),
    ] = None,
) -> None:
    with edge_of(ctx) as edge:
        edge.show(
            edge.workspace.tune(model=model, trials=trials, minutes=minutes, sampler=sampler, fresh=fresh, until=until)
        )
