"""`ebbtide message USER`: the text to send to a customer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of
from ebbtide.core.errors import InputError

app = make_app()


@app.command(cls=Command)
def message(
    ctx: typer.Context,
    user: Annotated[str, typer.Argument(metavar="USER", help=both("user_id, as text", "user_id，按文本"))],
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help=both(
                "win_back, coupon, recommendation, apology, replenishment or one of your own; otherwise what fits",
                "win_back、coupon、recommendation、apology、replenishment 或自定种类；省略则自动选择",
            ),
        ),
    ] = None,
    fact: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help=both("a fact that the shop gives: offer=..., until=...", "店铺给出的事实：offer=...、until=..."),
        ),
    ] = None,
    draft: Annotated[
        bool,
        typer.Option(
            "--draft/--template",
            help=both(
                "ask the endpoint of [llm] for a draft; otherwise the template", "向 [llm] 端点请求草稿；省略则用模板"
            ),
        ),
    ] = False,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help=both("moment of knowledge; otherwise the newest event", "知识时点；省略则取最新事件")
        ),
    ] = None,
) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.message([user], kind=kind, given=given_facts(fact), draft=draft, as_of=as_of))


def given_facts(told: Sequence[str] | None) -> dict[str, str]:
    """The facts of `--fact NAME=VALUE`, which may be repeated. Raises InputError for one without `=`."""
    return dict(_pair(one) for one in told or ())


def _pair(told: str) -> tuple[str, str]:
    name, sign, value = told.partition("=")
    if not sign:
        raise InputError("--fact: expected NAME=VALUE, for example offer=...", "--fact：应为 名称=值，例如 offer=...")
    return name.strip(), value.strip()
