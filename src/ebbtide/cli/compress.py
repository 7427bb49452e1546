"""`ebbtide compress`: a trained bundle in smaller and faster forms."""

from __future__ import annotations

from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of
from ebbtide.pipeline.compress import Wanted

app = make_app()


@app.command(cls=Command)
def compress(
    ctx: typer.Context,
    bundle: Annotated[
        str | None,
        typer.Argument(metavar="BUNDLE", help=both("a bundle; otherwise the current one", "模型包；省略则取当前")),
    ] = None,
    form: Annotated[
        Wanted,
        typer.Option(
            metavar="auto|onnx|int8|distilled",
            help=both(
                "the form to choose; auto takes the fastest that loses at most 0.002 AUROC",
                "要选用的形式；auto 取 AUROC 损失不超过 0.002 的最快者",
            ),
        ),
    ] = "auto",
    promote: Annotated[
        bool,
        typer.Option(
            "--promote/--measure",
            help=both(
                "write the chosen form as a new bundle and make it current; otherwise only measure",
                "将选用的形式写为新模型包并启用；省略则仅测量",
            ),
        ),
    ] = False,
) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.compress(bundle, form=form, promote=promote))
