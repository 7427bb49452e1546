"""`ebbtide train`: a calibrated model with figures from moments that it had not seen."""

from __future__ import annotations

from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of

app = make_app()


@app.command(cls=Command)
def train(
    ctx: typer.Context,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help=both("use only what was known then; otherwise all", "仅使用当时已知的数据；省略则使用全部"),
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=both("auto or one model; otherwise train.model", "auto 或单个模型；省略则取 train.model"),
        ),
    ] = None,
    continued: Annotated[
        bool,
        typer.Option(
            "--continue",
            help=both(
                "go on from the current bundle, unless a full refit does better",
                "从当前模型包继续训练，除非完全重训更好",
            ),
        ),
    ] = False,
) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.train(until=until, model=model, continued=continued))
