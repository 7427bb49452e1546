"""Alerts: what was seen of whom and when, what became of it, and why it was kept back if it was.

open ──> acknowledged ──> acted ──> closed
 │            │
 └──> acted, closed, expired (from acknowledged too)        suppressed: told nobody, stays as it is
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, tuple_, update

from ebbtide.core.errors import StateError, UnknownError
from ebbtide.core.language import Text
from ebbtide.store.database import Database, upserting
from ebbtide.store.tables import alert_notes, alerts

STATES: tuple[str, ...] = ("open", "acknowledged", "acted", "closed", "expired", "suppressed")
MOVES: Mapping[str, tuple[str, ...]] = {
    "acknowledged": ("open",),
    "acted": ("open", "acknowledged"),
    "closed": ("open", "acknowledged", "acted"),
}
"""From which states a person may bring an alert into a state."""
_LIVE = ("open", "acknowledged")
_DONE = ("acted", "closed", "expired", "suppressed")


class Suppression(Enum):
    """Why an alert was kept back: a closed list, in the order in which it is asked."""

    HYSTERESIS = "hysteresis"
    HOLDOUT = "holdout"
    NO_CONSENT = "no_consent"
    COOLDOWN = "cooldown"
    QUIET_HOURS = "quiet_hours"
    USER_CAP = "user_cap"
    DAILY_CAP = "daily_cap"

    @property
    def text(self) -> Text:
        """What the code means, in words."""
        return _TEXTS[self]


_TEXTS: dict[Suppression, Text] = {
    Suppression.HYSTERESIS: Text(
        "the customer had not fallen far enough below the band since entering it", "顾客进入该等级后尚未充分回落"
    ),
    Suppression.HOLDOUT: Text("the customer belongs to the global holdout", "顾客属于全局保留组"),
    Suppression.NO_CONSENT: Text("the customer has not consented to the rule's purpose", "顾客未同意该规则的用途"),
    Suppression.COOLDOWN: Text("the rule told of this customer a short while ago", "该规则近期已提醒过此顾客"),
    Suppression.QUIET_HOURS: Text("quiet hours, in which the rule suppresses", "处于免打扰时段，规则设为不发送"),
    Suppression.USER_CAP: Text("there were enough alerts about this customer today", "该顾客今日提醒数已达上限"),
    Suppression.DAILY_CAP: Text("there were enough alerts today", "今日提醒数已达上限"),
}


@dataclass(frozen=True)
class Alert:
    """One alert. `suppressed`: value of a `Suppression`, or ""; `detail`: what was seen, no names of persons."""

    alert_id: str
    shop_id: str
    rule: str
    user_id: str
    at_us: int
    state: str
    expires_us: int
    suppressed: str = ""
    owner: str = ""
    changed_us: int = 0
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Note:
    """One change of an alert's state. `actor`: id of a key, or `cli`, or empty for the service itself."""

    at_us: int
    state: str
    actor: str
    note: str


@dataclass(frozen=True)
class Wanted:
    """Which alerts: every filter that is not empty must fit; `after`: moment and id of the last row of the page before."""

    states: Sequence[str] = ()
    rules: Sequence[str] = ()
    user_id: str = ""
    after: tuple[int, str] | None = None


class Alerts:
    """The alerts of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @staticmethod
    def add_within(connection: Connection, rows: Sequence[Alert]) -> None:
        """Store new alerts, as a part of the transaction in which they were raised; one that is there stays as it is."""
        if rows:
            connection.execute(upserting(connection, alerts).on_conflict_do_nothing(), [_values(row) for row in rows])

    def find(self, shop_id: str, alert_id: str) -> tuple[Alert, list[Note]]:
        """An alert with what became of it, oldest first. Raises UnknownError if the shop has no such alert."""
        notes = select(alert_notes).where(alert_notes.c.alert_id == alert_id).order_by(alert_notes.c.seq)
        with self._database.read() as connection:
            found = _find(connection, shop_id, alert_id)
            return found, [Note(row.at_us, row.state, row.actor, row.note) for row in connection.execute(notes)]

    def listed(self, shop_id: str, wanted: Wanted, limit: int) -> list[Alert]:
        """The newest alerts first, ties by id."""
        chosen = _chosen(select(alerts), shop_id, wanted).order_by(alerts.c.at_us.desc(), alerts.c.alert_id.desc())
        if wanted.after is not None:
            chosen = chosen.where(tuple_(alerts.c.at_us, alerts.c.alert_id) < tuple_(*wanted.after))
        with self._database.read() as connection:
            return [_alert(row) for row in connection.execute(chosen.limit(limit))]

    def counts(self, shop_id: str, wanted: Wanted) -> dict[tuple[str, str, str], int]:
        """How many alerts, by rule, state and why they were suppressed."""
        by = (alerts.c.rule, alerts.c.state, alerts.c.suppressed)
        chosen = _chosen(select(*by, func.count()), shop_id, wanted).group_by(*by).order_by(*by)
        with self._database.read() as connection:
            return {(row[0], row[1], row[2]): int(row[3]) for row in connection.execute(chosen)}

    def change(self, shop_id: str, alert_id: str, state: str, note: Note, *, owner: str | None = None) -> Alert:
        """Bring an alert into a state of `MOVES`, with a note; `owner` None keeps the owner.

        Raises StateError for a move that is not allowed, naming those that are; then nothing has changed.
        """
        with self._database.write() as connection:
            values = {"state": state, "changed_us": note.at_us} | ({} if owner is None else {"owner": owner})
            moved = update(alerts).where(
                alerts.c.shop_id == shop_id, alerts.c.alert_id == alert_id, alerts.c.state.in_(MOVES.get(state, ()))
            )
            if not connection.execute(moved.values(**values)).rowcount:
                raise _no_such_move(_find(connection, shop_id, alert_id).state, state)
            _note(connection, [alert_id], note)
            return _find(connection, shop_id, alert_id)

    @staticmethod
    def expire_within(connection: Connection, shop_id: str, now_us: int, limit: int) -> list[str]:
        """Expire alerts that nobody acted on or closed in time, at most `limit`; their ids."""
        late = (
            select(alerts.c.alert_id)
            .where(alerts.c.shop_id == shop_id, alerts.c.state.in_(_LIVE), alerts.c.expires_us <= now_us)
            .order_by(alerts.c.expires_us)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        ids = list(connection.scalars(late))
        if ids:
            changed = {"state": "expired", "changed_us": now_us}
            connection.execute(update(alerts).where(alerts.c.alert_id.in_(ids)).values(**changed))
            _note(connection, ids, Note(now_us, "expired", "", ""))
        return ids

    @staticmethod
    def forget_within(connection: Connection, shop_id: str, before_us: int, limit: int) -> int:
        """Forget finished alerts from before a moment, with their notes, at most `limit`; says how many."""
        old = select(alerts.c.alert_id).where(
            alerts.c.shop_id == shop_id, alerts.c.state.in_(_DONE), alerts.c.at_us < before_us
        )
        ids = list(connection.scalars(old.limit(limit)))
        for table in (alert_notes, alerts):
            connection.execute(delete(table).where(table.c.alert_id.in_(ids)))
        return len(ids)


def _chosen(query: Any, shop_id: str, wanted: Wanted) -> Any:
    query = query.where(alerts.c.shop_id == shop_id)
    if wanted.states:
        query = query.where(alerts.c.state.in_(wanted.states))
    if wanted.rules:
        query = query.where(alerts.c.rule.in_(wanted.rules))
    return query.where(alerts.c.user_id == wanted.user_id) if wanted.user_id else query


def _find(connection: Connection, shop_id: str, alert_id: str) -> Alert:
    this = select(alerts).where(alerts.c.shop_id == shop_id, alerts.c.alert_id == alert_id)
    row = connection.execute(this).first()
    if row is None:
        raise UnknownError(
            "no alert `{alert_id}` here: list the alerts to see those that there are",
            "没有提醒 `{alert_id}`：请列出提醒查看现有的",
            alert_id=alert_id[:64],
        )
    return _alert(row)


def _no_such_move(old: str, new: str) -> StateError:
    possible = [state for state, before in MOVES.items() if old in before]
    if not possible:
        return StateError(
            "this alert is {old}, and that is final: nothing was changed",
            "该提醒处于 {old} 状态，已不可更改：未作任何修改",
            old=old,
        )
    return StateError(
        "an alert that is {old} cannot become {new}: it can become {possible}",
        "处于 {old} 状态的提醒不能变为 {new}：可变为 {possible}",
        old=old,
        new=new[:32],
        possible=", ".join(possible),
    )


def _note(connection: Connection, ids: Sequence[str], note: Note) -> None:
    values = {"at_us": note.at_us, "state": note.state, "actor": note.actor, "note": note.note}
    connection.execute(insert(alert_notes), [{"alert_id": alert_id, **values} for alert_id in ids])


_PLAIN = ("alert_id", "shop_id", "rule", "user_id", "at_us", "state", "suppressed", "owner", "expires_us", "changed_us")


def _values(alert: Alert) -> dict[str, Any]:
    plain = {name: getattr(alert, name) for name in _PLAIN}
    return {**plain, "changed_us": alert.changed_us or alert.at_us, "detail": json.dumps(dict(alert.detail))}


def _alert(row: Row[Any]) -> Alert:
    return Alert(**{name: getattr(row, name) for name in _PLAIN}, detail=json.loads(row.detail))
