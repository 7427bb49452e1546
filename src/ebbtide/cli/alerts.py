"""`ebbtide alerts ...`: see the alerts of the live service and say what became of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from ebbtide.cli.command import Command, both, make_app
from ebbtide.cli.opened_store import opened_store
from ebbtide.cli.wiring import Edge, edge_of
from ebbtide.core.language import Text

if TYPE_CHECKING:
    from ebbtide.store.database import Database

app = make_app(
    Text("see the alerts of the live service and say what became of them", "查看实时服务的提醒并记录处理结果")
)
ACTOR = "cli"
AlertId = Annotated[
    str, typer.Argument(metavar="ALERT_ID", help=both("its id, from `alerts list`", "提醒 id，见 `alerts list`"))
]
Owner = Annotated[str | None, typer.Option(metavar="NAME", help=both("who looks after it", "负责人"))]
Note = Annotated[str, typer.Option(metavar="TEXT", help=both("what there is to say", "备注"))]


@dataclass(frozen=True)
class _Desk:
    """Where a command looks at alerts: the store, its shop, and now."""

    edge: Edge
    database: Database
    shop_id: str
    now: datetime

    def audit(self, action: str, *, user_id: str = "", **detail: str | int) -> None:
        """Note that somebody at the terminal read or changed something."""
        from ebbtide.core.windows import to_us  # noqa: PLC0415 - needs the extra
        from ebbtide.store.audit import Audit, Entry  # noqa: PLC0415
        from ebbtide.store.shops import Shops  # noqa: PLC0415

        subject = Shops(self.database).pseudonym(self.shop_id, user_id) if user_id else ""
        Audit(self.database).add([Entry(self.shop_id, to_us(self.now), ACTOR, action, subject, "", detail or None)])


@app.command("list", cls=Command, help=both("alerts, the newest first", "提醒列表，最新在前"))
def list_(
    ctx: typer.Context,
    state: Annotated[
        list[str] | None,
        typer.Option(metavar="STATE", help=both("only this state; may be repeated", "仅此状态；可重复")),
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=both("only of this rule; may be repeated", "仅此规则；可重复")),
    ] = None,
    user: Annotated[str, typer.Option(metavar="ID", help=both("only of this customer", "仅此顾客"))] = "",
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help=both("rows of a page", "每页行数"))] = 100,
    after: Annotated[
        str | None, typer.Option(metavar="CURSOR", help=both("go on behind the page before", "从上一页之后继续"))
    ] = None,
) -> None:
    with _desk(ctx) as desk:
        from ebbtide.pipeline.alerts import AlertFilter, list_alerts  # noqa: PLC0415 - needs the extra

        wanted = AlertFilter(tuple(state or ()), tuple(rule or ()), user)
        found = list_alerts(desk.database, desk.shop_id, wanted, limit=limit, after=after)
        desk.audit("alerts.read", user_id=user, count=len(found.alerts))
        desk.edge.show(found)


@app.command(cls=Command, help=both("one alert and what became of it", "单条提醒及其处理过程"))
def show(ctx: typer.Context, alert_id: AlertId) -> None:
    with _desk(ctx) as desk:
        from ebbtide.pipeline.alerts import show_alert  # noqa: PLC0415 - needs the extra

        found = show_alert(desk.database, desk.shop_id, alert_id)
        desk.audit("alert.read", user_id=found.alert.user_id, alert=alert_id)
        desk.edge.show(found)


@app.command(cls=Command, help=both("somebody looks after it", "确认：有人负责"))
def ack(ctx: typer.Context, alert_id: AlertId, owner: Owner = None, note: Note = "") -> None:
    _move(ctx, alert_id, "acknowledged", owner, note)


@app.command(cls=Command, help=both("something was done about it", "已采取行动"))
def act(ctx: typer.Context, alert_id: AlertId, owner: Owner = None, note: Note = "") -> None:
    _move(ctx, alert_id, "acted", owner, note)


@app.command(cls=Command, help=both("it is over", "关闭提醒"))
def close(ctx: typer.Context, alert_id: AlertId, owner: Owner = None, note: Note = "") -> None:
    _move(ctx, alert_id, "closed", owner, note)


@app.command(
    cls=Command,
    help=both("how many, by rule and state, and what became of their messages", "按规则和状态计数，及消息发送情况"),
)
def count(ctx: typer.Context) -> None:
    with _desk(ctx) as desk:
        from ebbtide.pipeline.alerts import count_alerts  # noqa: PLC0415 - needs the extra

        desk.edge.show(count_alerts(desk.database, desk.shop_id))


@app.command(
    cls=Command,
    help=both(
        "send messages again that were given up, once the receiver is mended", "接收方修复后，重新发送已放弃的消息"
    ),
)
def resend(
    ctx: typer.Context,
    channel: Annotated[str, typer.Option(metavar="NAME", help=both("only of this channel", "仅此渠道"))] = "",
) -> None:
    with _desk(ctx) as desk:
        from ebbtide.pipeline.alerts import revive_messages  # noqa: PLC0415 - needs the extra

        found = revive_messages(desk.database, desk.shop_id, now=desk.now, channel=channel)
        desk.audit("alerts.resend", count=found.count)
        desk.edge.show(found)


def _move(ctx: typer.Context, alert_id: str, state: str, owner: str | None, note: str) -> None:
    with _desk(ctx) as desk:
        from ebbtide.pipeline.alerts import change_alert  # noqa: PLC0415 - needs the extra

        found = change_alert(
            desk.database, desk.shop_id, alert_id, state, actor=ACTOR, now=desk.now, owner=owner, note=note
        )
        desk.audit("alert.change", user_id=found.alert.user_id, alert=alert_id, state=state)
        desk.edge.show(found)


@contextmanager
def _desk(ctx: typer.Context) -> Iterator[_Desk]:
    with edge_of(ctx) as edge, opened_store(edge) as (database, shop_id):
        from ebbtide.pipeline.live_shop import system_clock  # noqa: PLC0415 - needs the extra

        yield _Desk(edge, database, shop_id, system_clock())
