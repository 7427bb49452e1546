"""`ebbtide uplift`: from an experiment to what an action changes for whom."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.wiring import edge_of
from ebbtide.core.errors import InputError
from ebbtide.core.language import Text

app = make_app()

_OF_A_TABLE = ("treatment", "control", "outcome", "id", "value", "drop", "assigned", "propensity", "shares", "encoding")
_WRITTEN = Text("the ranked list is in {file}", "排序名单位于 {file}")


@app.command(cls=Command)
def uplift(
    ctx: typer.Context,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=both(
                "a table, one row a customer; without it the workspace's own campaigns",
                "一张表，每位顾客一行；省略则用工作区自己的活动",
            ),
        ),
    ] = None,
    treatment: Annotated[
        str | None, typer.Option(metavar="COL", help=both("column that says who got which arm", "表示分组的列"))
    ] = None,
    control: Annotated[
        str | None, typer.Option(metavar="VALUE", help=both("its value for who got nothing", "其中表示未受处理的值"))
    ] = None,
    outcome: Annotated[
        str | None,
        typer.Option(metavar="COL", help=both("column of the outcome: yes/no or money", "结果列：是/否或金额")),
    ] = None,
    id: Annotated[
        str | None, typer.Option(metavar="COL", help=both("column that names the customer", "标识顾客的列"))
    ] = None,
    value: Annotated[
        str | None,
        typer.Option(
            metavar="COL", help=both("column of what an outcome of the customer is worth", "该顾客一次结果的价值所在列")
        ),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COL",
            help=both(
                "a column not to learn from, such as one written after the assignment; may be repeated",
                "不参与学习的列，例如分组之后才写入的列；可重复",
            ),
        ),
    ] = None,
    assigned: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help=both(
                "random (tested), or columns: not random, but by what stands in the columns",
                "random（会检验），或 columns：并非随机，而是取决于各列",
            ),
        ),
    ] = "random",
    propensity: Annotated[
        str | None,
        typer.Option(
            metavar="COL", help=both("column of the known chance of the row's own arm", "该行所在组的已知概率所在列")
        ),
    ] = None,
    shares: Annotated[
        str | None,
        typer.Option(
            metavar="A:B:...",
            help=both(
                "planned arm sizes, control first, then by name: tested",
                "计划的各组比例，对照组在前，其余按名称：会检验",
            ),
        ),
    ] = None,
    learner: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=both(
                "s, t, x, dr, ct, linear, mean, odds, or auto: the best of all but odds",
                "s、t、x、dr、ct、linear、mean、odds，或 auto：除 odds 外最好的一个",
            ),
        ),
    ] = "auto",
    encoding: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=both(
                "encoding of a text file, e.g. cp1252; otherwise UTF-8 or a guess",
                "文本文件的编码，如 gb18030；省略则为 UTF-8 或自动推测",
            ),
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=both("write the ranked list: Parquet, CSV or JSON lines", "写出排序名单：Parquet、CSV 或 JSON 行"),
        ),
    ] = None,
) -> None:
    with edge_of(ctx) as edge:
        if data is None:
            _check_no_table_flags(ctx)
            shop = edge.workspace.uplift_of_campaigns(learner=learner)
            if out is not None:
                shop.save(out)
            edge.show(shop, closing=_WRITTEN.format(file=out) if out else None)
            return
        if treatment is None or control is None or outcome is None:
            raise InputError(
                "with --data, --treatment, --control and --outcome are needed too",
                "使用 --data 时还需要 --treatment、--control 和 --outcome",
            )
        done = edge.workspace.uplift(
            data,
            treatment=treatment,
            control=control,
            outcome=outcome,
            id=id,
            value=value,
            drop=drop or (),
            assigned=assigned,
            propensity=propensity,
            shares=_shares(shares),
            learner=learner,
            encoding=encoding,
        )
        if out is not None:
            done.save(out)
        edge.show(done, closing=_WRITTEN.format(file=out) if out else None)


def _check_no_table_flags(ctx: typer.Context) -> None:
    """Raise InputError for flags that speak of a table where there is none."""
    given = [f"--{name}" for name in _OF_A_TABLE if ctx.params.get(name) not in (None, "", "random", [], ())]
    if given:
        flags = ", ".join(given)
        raise InputError(
            f"{flags} speak of a table: name it with --data, or leave them out to learn from the workspace's campaigns",
            f"{flags} 是针对表的选项：请用 --data 指定表，或去掉它们以从工作区的活动中学习",
        )


def _shares(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(":"))
    except ValueError:
        raise InputError(
            "--shares needs numbers with colons between them, for example 1:1:1",
            "--shares 需要用冒号分隔的数字，例如 1:1:1",
        ) from None
