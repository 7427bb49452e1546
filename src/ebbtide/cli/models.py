"""`ebbtide models ...`: list, promote, roll back and compare trained bundles."""

from __future__ import annotations

from typing import Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.screen import Column, Screen
from ebbtide.cli.wiring import edge_of
from ebbtide.core.language import Text
from ebbtide.pipeline.bundles import BundleList, BundleSummary, Comparison

app = make_app(Text("list, promote, roll back and compare trained bundles", "列出、启用、回退和比较已训练的模型包"))

_COLUMNS = (
    Column(Text("", "")),
    Column(Text("bundle", "模型包")),
    Column(Text("knew until", "数据截至")),
    Column(Text("rows", "行数"), figures=True),
    Column(Text("tested at", "检验时点")),
    Column(Text("AUROC", "AUROC"), figures=True),
    Column(Text("95 % interval", "95% 区间"), figures=True),
    Column(Text("calibration error", "校准误差"), figures=True),
    Column(Text("quality", "质量"), figures=True),
)
_NONE = Text("no trained bundle yet: run `ebbtide train`", "还没有训练好的模型包：请运行 `ebbtide train`")
_COMPARED = Text(
    "{first}: AUROC {a:.3f}; {second}: AUROC {b:.3f}; difference {d:+.3f} [{low:+.3f}, {high:+.3f}], "
    "on {users:,} customers as of {as_of:%Y-%m-%d} whose outcome neither had seen",
    "{first}：AUROC {a:.3f}；{second}：AUROC {b:.3f}；差 {d:+.3f} [{low:+.3f}, {high:+.3f}]，"
    "基于 {as_of:%Y-%m-%d} 的 {users:,} 位顾客，两者均未见过其结果",
)
_VERDICTS = {
    1: Text("{first} is better", "{first} 更好"),
    0: Text("no difference can be told", "看不出差别"),
    -1: Text("{second} is better", "{second} 更好"),
}


@app.command("list", cls=Command, help=both("all bundles, the current one marked", "全部模型包，标出当前者"))
def list_(ctx: typer.Context) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.models(), _draw)


@app.command(cls=Command, help=both("make a bundle current", "将某个模型包设为当前"))
def promote(
    ctx: typer.Context, name: Annotated[str, typer.Argument(metavar="NAME", help=both("bundle", "模型包"))]
) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.models.promote(name), _draw)


@app.command(cls=Command, help=both("make the bundle before the current one current again", "恢复上一个当前模型包"))
def rollback(ctx: typer.Context) -> None:
    with edge_of(ctx) as edge:
        edge.show(edge.workspace.models.rollback(), _draw)


@app.command(
    cls=Command, help=both("judge two bundles on outcomes that neither has seen", "用两者均未见过的结果比较两个模型包")
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
        edge.show(edge.workspace.models.compare(first, second), _draw_comparison)


def _draw(found: BundleList, screen: Screen) -> None:
    if found.bundles:
        screen.table(_COLUMNS, [_row(bundle) for bundle in found.bundles])
    else:
        screen.say(_NONE)


def _row(b: BundleSummary) -> list[str | int | float | None]:
    auroc = b.auroc
    ends = f"{auroc.low:.3f} – {auroc.high:.3f}" if auroc and auroc.low is not None and auroc.high is not None else None
    tested = b.tested_at and b.tested_at[:10]
    value = auroc.value if auroc else None
    return ["*" if b.current else "", b.id, b.until[:10], b.rows, tested, value, ends, b.calibration_error, b.quality]


def _draw_comparison(c: Comparison, screen: Screen) -> None:
    d, low, high = (x or 0.0 for x in (c.difference.value, c.difference.low, c.difference.high))
    screen.say(
        _COMPARED.format(
            first=c.first,
            second=c.second,
            a=c.first_auroc,
            b=c.second_auroc,
            d=d,
            low=low,
            high=high,
            users=c.users,
            as_of=c.as_of,
        )
    )
    screen.say(_VERDICTS[1 if low > 0 else -1 if high < 0 else 0].format(first=c.first, second=c.second), "bold")
