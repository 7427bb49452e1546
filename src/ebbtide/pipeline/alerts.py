"""`alerts`: list them, say what became of one, count them, and send dead letters again."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ebbtide.core.config import Config
from ebbtide.core.errors import InputError
from ebbtide.core.language import Text
from ebbtide.core.sections import Readable, Section
from ebbtide.core.windows import from_us, to_us
from ebbtide.pipeline.alert_message import alert_json
from ebbtide.pipeline.alert_rules import span_us
from ebbtide.store.alerts import MOVES, STATES, Alert, Alerts, Note, Suppression, Wanted
from ebbtide.store.database import Database
from ebbtide.store.outbox import Outbox

MOST = 1000
"""Alerts of a page."""
NOTE_LENGTH, OWNER_LENGTH = 4000, 256
_TIDIED_AT_ONCE = 1000
_COLUMNS = (
    Text("when", "时间"),
    Text("alert", "提醒"),
    Text("rule", "规则"),
    Text("customer", "顾客"),
    Text("state", "状态"),
    Text("suppressed because", "未发送原因"),
    Text("probability", "概率"),
    Text("owner", "负责人"),
)
_COUNT_COLUMNS = (
    Text("rule", "规则"),
    Text("state", "状态"),
    Text("suppressed because", "未发送原因"),
    Text("alerts", "提醒数"),
)
_NONE = Text("no alerts", "没有提醒")
_MORE = Text("there are more: go on with --after {cursor}", "还有更多：用 --after {cursor} 继续")
_NOW = Text("alert {alert_id} is {state}", "提醒 {alert_id} 现为 {state}")
_OUTBOX_COLUMNS = (Text("channel", "渠道"), Text("state", "状态"), Text("messages", "消息数"))
_REVIVED = Text("{count:,} dead letters wait to be sent again", "{count:,} 条死信等待重新发送")


@dataclass(frozen=True)
class AlertFilter:
    """Which alerts: every filter that is given must fit."""

    states: Sequence[str] = ()
    rules: Sequence[str] = ()
    user_id: str = ""


@dataclass(frozen=True)
class AlertList(Readable):
    """A page of alerts, the newest first; `after`: where the next page begins, None if there is none."""

    alerts: tuple[Alert, ...]
    after: str | None

    def sections(self) -> tuple[Section, ...]:
        """The alerts as a table."""
        if not self.alerts:
            return (Section(lines=(_NONE,)),)
        table = Section(columns=_COLUMNS, rows=tuple(_row(alert) for alert in self.alerts))
        return (table, Section(lines=(_MORE.format(cursor=self.after),))) if self.after else (table,)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {"alerts": [alert_json(alert) for alert in self.alerts], "next": self.after}


@dataclass(frozen=True)
class AlertView(Readable):
    """One alert and what became of it, the oldest note first."""

    alert: Alert
    notes: tuple[Note, ...] = field(default=())

    def sections(self) -> tuple[Section, ...]:
        """What it is now, and its notes."""
        now = _NOW.format(alert_id=self.alert.alert_id, state=self.alert.state)
        rows = tuple((from_us(n.at_us).isoformat(timespec="seconds"), n.state, n.actor, n.note) for n in self.notes)
        columns = (Text("when", "时间"), Text("state", "状态"), Text("by", "操作者"), Text("note", "备注"))
        return (
            Section(lines=(now,)),
            Section(columns=_COLUMNS, rows=(_row(self.alert),)),
            Section(columns=columns, rows=rows),
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        notes = [
            {"at": from_us(n.at_us).isoformat(), "state": n.state, "actor": n.actor, "note": n.note} for n in self.notes
        ]
        return {**alert_json(self.alert), "notes": notes}


@dataclass(frozen=True)
class AlertCounts(Readable):
    """How many alerts, by rule, state and why they were suppressed; and messages by channel and state."""

    alerts: dict[tuple[str, str, str], int]
    messages: dict[tuple[str, str], int]

    def sections(self) -> tuple[Section, ...]:
        """Both as tables."""
        rows = tuple((rule, state, why or None, n) for (rule, state, why), n in self.alerts.items())
        sent = tuple((channel, state, n) for (channel, state), n in self.messages.items())
        return (
            Section(columns=_COUNT_COLUMNS, rows=rows) if rows else Section(lines=(_NONE,)),
            Section(columns=_OUTBOX_COLUMNS, rows=sent),
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {
            "alerts": [
                {"rule": rule, "state": state, "suppressed": why or None, "count": n}
                for (rule, state, why), n in self.alerts.items()
            ],
            "messages": [{"channel": c, "state": state, "count": n} for (c, state), n in self.messages.items()],
        }


@dataclass(frozen=True)
class Revived(Readable):
    """Dead letters that wait again."""

    count: int

    def sections(self) -> tuple[Section, ...]:
        """How many."""
        return (Section(lines=(_REVIVED.format(count=self.count),)),)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {"revived": self.count}


def list_alerts(
    database: Database, shop_id: str, wanted: AlertFilter | None = None, *, limit: int = 100, after: str | None = None
) -> AlertList:
    """A page of alerts, the newest first. `after`: the cursor that the page before gave.

    Raises InputError for a state that does not exist, a limit outside 1 to `MOST`, or a cursor of somebody else's.
    """
    if not 1 <= limit <= MOST:
        raise InputError(
            "a page has 1 to {most:,} alerts, not {limit}",
            "每页可有 1 到 {most:,} 条提醒，而非 {limit}",
            most=MOST,
            limit=limit,
        )
    asked = _asked(wanted or AlertFilter(), None if after is None else _from_cursor(after))
    found = Alerts(database).listed(shop_id, asked, limit + 1)
    page = found[:limit]
    return AlertList(tuple(page), _cursor(page[-1]) if len(found) > limit else None)


def show_alert(database: Database, shop_id: str, alert_id: str) -> AlertView:
    """One alert with its notes. Raises InputError if the shop has no such alert."""
    alert, notes = Alerts(database).find(shop_id, alert_id)
    return AlertView(alert, tuple(notes))


def change_alert(
    database: Database, shop_id: str, alert_id: str, state: str, *, actor: str, now: datetime, owner: str | None = None,
    note: str = "",
) -> AlertView:  # fmt: skip
    """Acknowledge an alert, say that it was acted on, or close it. `owner`: who looks after it, None: as before.

    Raises InputError for a move that is not allowed, an alert that does not exist, or too long a text.
    """
    if state not in MOVES:
        raise InputError("an alert can become {possible}", "提醒可变为 {possible}", possible=", ".join(MOVES))
    for name, text, most in (("note", note, NOTE_LENGTH), ("owner", owner or "", OWNER_LENGTH)):
        if len(text) > most or "\x00" in text:
            raise InputError(
                "{name} must be text of at most {most:,} characters",
                "{name} 必须是不超过 {most:,} 个字符的文本",
                name=name,
                most=most,
            )
    said = Note(to_us(now), state, actor, note.strip())
    Alerts(database).change(shop_id, alert_id, state, said, owner=None if owner is None else owner.strip())
    return show_alert(database, shop_id, alert_id)


def count_alerts(database: Database, shop_id: str, wanted: AlertFilter | None = None) -> AlertCounts:
    """Alerts by rule, state and suppression, and messages by channel and state."""
    asked = _asked(wanted or AlertFilter(), None)
    return AlertCounts(Alerts(database).counts(shop_id, asked), Outbox(database, shop_id).counts())


def revive_messages(database: Database, shop_id: str, *, now: datetime, channel: str = "") -> Revived:
    """Send dead letters again, of one channel or of all."""
    return Revived(Outbox(database, shop_id).revive(to_us(now), channel=channel))


def tidy_alerts(config: Config, database: Database, shop_id: str, *, now: datetime) -> int:
    """Expire alerts that nobody acted on in time, with what waits to be sent of them, and forget what is old.

    Says how many expired. Messages that were sent are forgotten after a day, dead letters with the alerts.
    """
    outbox, now_us, count = Outbox(database, shop_id), to_us(now), 0
    old_us = now_us - span_us(config.alerts.keep)
    while True:
        with database.write() as connection:
            expired = Alerts.expire_within(connection, shop_id, now_us, _TIDIED_AT_ONCE)
            outbox.drop_alerts_within(connection, expired, "expired")
        count += len(expired)
        if len(expired) < _TIDIED_AT_ONCE:
            break
    with database.write() as connection:
        Alerts.forget_within(connection, shop_id, old_us, 10 * _TIDIED_AT_ONCE)
        outbox.prune_within(connection, done_before_us=now_us - span_us("1d"), dead_before_us=old_us)
    return count


def _asked(wanted: AlertFilter, after: tuple[int, str] | None) -> Wanted:
    unknown = sorted(set(wanted.states) - set(STATES))
    if unknown:
        raise InputError("the states of an alert are {states}", "提醒的状态有 {states}", states=", ".join(STATES))
    return Wanted(tuple(wanted.states), tuple(wanted.rules), wanted.user_id, after)


def _cursor(alert: Alert) -> str:
    return base64.urlsafe_b64encode(f"{alert.at_us}:{alert.alert_id}".encode()).decode().rstrip("=")


def _from_cursor(text: str) -> tuple[int, str]:
    try:
        told = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii")
        match = re.fullmatch(r"(\d{1,18}):(alr_[0-9a-f]{32})", told)
    except (binascii.Error, ValueError):
        match = None
    if match is None:
        raise InputError(
            "this is no cursor of a list of alerts: take `next` of the page before, as it is",
            "这不是提醒列表的游标：请原样使用上一页的 `next`",
        )
    return int(match[1]), match[2]


def _row(alert: Alert) -> tuple[Any, ...]:
    why = Suppression(alert.suppressed).text if alert.suppressed else None
    at = from_us(alert.at_us).isoformat(timespec="seconds")
    probability = alert.detail.get("churn_probability")
    return at, alert.alert_id, alert.rule, alert.user_id, alert.state, why, probability, alert.owner or None
