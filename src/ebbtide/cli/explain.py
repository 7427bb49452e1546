"""`ebbtide explain USER`: one customer's risk, reasons and history."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.screen import Column, Screen
from ebbtide.cli.wiring import edge_of
from ebbtide.core.language import Text
from ebbtide.dashboard.words import BANDS
from ebbtide.pipeline.explain import Explanation
from ebbtide.pipeline.report import reason_lines

app = make_app()

_RISK = Text(
    "{user} as of {as_of:%Y-%m-%d %H:%M}: churn probability {probability:.1%}, {band} risk",
    "{user}，截至 {as_of:%Y-%m-%d %H:%M}：流失概率 {probability:.1%}，{band}风险",
)
_EXPECTED = Text("expected orders in the horizon: {orders:.2f}", "预测期内预计订单数：{orders:.2f}")
_VALUE = Text("value at risk: {value:,.0f}", "面临流失的价值：{value:,.0f}")
_NOT_ASKED = Text(
    "{user} as of {as_of:%Y-%m-%d %H:%M}: no score, because the customer had no qualifying event before that moment",
    "{user}，截至 {as_of:%Y-%m-%d %H:%M}：没有评分，因为该顾客在此之前没有合格事件",
)
_RECENT = (
    Column(Text("when (UTC)", "时间（UTC）")),
    Column(Text("what", "事件")),
    Column(Text("lines", "行数"), figures=True),
    Column(Text("value", "金额"), figures=True),
)


@app.command(cls=Command)
def explain(
    ctx: typer.Context,
    user: Annotated[str, typer.Argument(metavar="USER", help=both("user_id, as text", "user_id，按文本"))],
    as_of: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help=both("moment of knowledge; otherwise the newest event", "知识时点；省略则取最新事件")
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
        edge.show(edge.workspace.explain(user, as_of=as_of, bundle=bundle), _draw)


def _draw(found: Explanation, screen: Screen) -> None:
    if found.score is None:
        screen.say(_NOT_ASKED.format(user=found.user_id, as_of=found.as_of))
    else:
        _draw_score(found, found.score, screen)
    rows = [
        [f"{row['occurred_at']:%Y-%m-%d %H:%M}", row["type"], row["lines"], row["value"]]
        for row in found.history.recent.iter_rows(named=True)
    ]
    screen.table(_RECENT, rows, title=Text("newest events", "最近事件"))


def _draw_score(found: Explanation, score: dict[str, Any], screen: Screen) -> None:
    screen.say(
        _RISK.format(
            user=found.user_id,
            as_of=found.as_of,
            probability=score["churn_probability"],
            band=BANDS[score["band"]],
        ),
        "bold",
    )
    if score["expected_orders"] is not None:
        screen.say(_EXPECTED.format(orders=score["expected_orders"]))
    if score["value_at_risk"] is not None:
        screen.say(_VALUE.format(value=score["value_at_risk"]))
    for reason in reason_lines(score["reasons"] or []):
        screen.say(f"  {'▲' if reason.raises else '▼'} {reason.text}")
