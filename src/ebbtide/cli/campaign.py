"""`ebbtide campaign ...`: draw treated and control customers, hand the list over, take results, end it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.message import given_facts
from ebbtide.cli.wiring import edge_of
from ebbtide.core.errors import InputError
from ebbtide.core.language import Text

app = make_app(
    Text("draw treated and control customers, export, take results", "抽取触达与对照顾客、导出名单、读取结果")
)

Name = Annotated[str, typer.Argument(metavar="NAME", help=both("campaign", "活动"))]


@app.command(
    cls=Command,
    help=both(
        "draw who gets an action and who is control; started again, it adds who is new",
        "抽取谁获得动作、谁为对照；再次运行则加入新顾客",
    ),
)
def start(
    ctx: typer.Context,
    name: Name,
    plan: Annotated[
        Path | None, typer.Option(metavar="FILE", help=both("a plan of `ebbtide plan`", "`ebbtide plan` 的计划文件"))
    ] = None,
    action: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help=both("one action of ebbtide.toml for all", "对所有人采取 ebbtide.toml 中的一个动作")
        ),
    ] = None,
    where: Annotated[
        str,
        typer.Option(
            metavar="SQL",
            help=both(
                "with --action: who, for example \"band = 'high'\"", "与 --action 一起：对象，例如 \"band = 'high'\""
            ),
        ),
    ] = "",
    control: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help=both("share that gets nothing; otherwise campaign.control", "对照比例；省略则取 campaign.control"),
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="LAYER",
            help=both(
                "campaigns of a layer share no customers; otherwise a layer of its own",
                "同层活动互不共用顾客；省略则独立成层",
            ),
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(metavar="MONEY", help=both("most that the actions may cost", "动作成本上限")),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help=both("moment of the draw; otherwise the newest event", "抽取时点；省略则取最新事件")
        ),
    ] = None,
) -> None:
    with edge_of(ctx) as edge:
        shelf = edge.workspace.campaign
        edge.show(
            shelf.start(
                name, plan=plan, action=action, where=where, control=control, layer=layer, budget=budget, as_of=as_of
            )
        )


@app.command("list", cls=Command, help=both("all campaigns", "全部活动"))
def list_(ctx: typer.Context) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.campaign())


@app.command(cls=Command, help=both("write the treated customers; control is kept back", "写出触达顾客；对照不在其中"))
def export(
    ctx: typer.Context,
    name: Name,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help=both(".csv, or .jsonl for Segment-style events", ".csv，或 .jsonl（Segment 风格事件）")
        ),
    ],
    messages: Annotated[
        bool,
        typer.Option(
            "--messages/--no-messages",
            help=both(
                "also subject, body and recommended items for each customer", "同时写出每位顾客的主题、正文与推荐商品"
            ),
        ),
    ] = False,
    fact: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help=both(
                "with --messages: a fact that the shop gives: offer=..., until=...",
                "与 --messages 一起：店铺给出的事实：offer=...、until=...",
            ),
        ),
    ] = None,
) -> None:
    with edge_of(ctx) as edge:
        given = given_facts(fact)
        if given and not messages:
            raise InputError("--fact goes with --messages", "--fact 只与 --messages 一起使用")
        edge.show(edge.workspace.campaign.export(name, out, messages=messages, given=given))


@app.command(
    cls=Command,
    help=both(
        "take results from a file; without one, outcomes come from the events in the lake",
        "从文件读取结果；没有文件时结果来自数据湖中的事件",
    ),
)
def results(
    ctx: typer.Context,
    name: Name,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help=both("CSV, Parquet or JSON lines", "CSV、Parquet 或 JSON lines"))
    ],
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help=both(
                "the file tells everything up to then; otherwise its newest occurred_at",
                "文件内容完整至该时刻；省略则取最新的 occurred_at",
            ),
        ),
    ] = None,
) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.campaign.results(name, file, until=until))


@app.command(cls=Command, help=both("add nobody any more; outcomes go on to count", "不再加入顾客；结果继续计入"))
def stop(ctx: typer.Context, name: Name) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.campaign.stop(name))
