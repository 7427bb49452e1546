"""`ebbtide models ...`: list, promote, roll back and compare trained bundles."""

from __future__ import annotations

from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of
from ebbtide.core.language import Text

app = make_app(Text("list, promote, roll back and compare trained bundles", "列出、启用、回退和比较已训练的模型包"))


@app.command("list", cls=Command, help=both("all bundles, the current one marked", "全部模型包，标出当前者"))
def list_(ctx: typer.Context) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.models())


@app.command(cls=Command, help=both("make a bundle current", "将某个模型包设为当前"))
def promote(
    ctx: typer.Context, name: Annotated[str, typer.Argument(metavar="NAME", help=both("bundle", "模型包"))]
) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.models.promote(name))


@app.command(cls=Command, help=both("make the bundle before the current one current again", "恢复上一个当前模型包"))
def rollback(ctx: typer.Context) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.models.rollback())


@app.command(
    cls=Command,
    help=both(
        "judge two trained bundles on outcomes that neither has seen (`ebbtide compare` trains kinds of models)",
        "用两者均未见过的结果比较两个已训练的模型包（`ebbtide compare` 则训练并比较各种模型）",
    ),
)
def compare(
    ctx: typer.Context,
    first: Annotated[str, typer.Argument(metavar="NAME", help=both("bundle", "模型包"))],
    second: Annotated[
        str | None,
        typer.Argument(metavar="OTHER", help=both("other bundle; otherwise the current one", "另一个；省略则取当前")),
    ] = None,
) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.models.compare(first, second))
