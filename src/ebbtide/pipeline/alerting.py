"""Raising alerts: what the rules see in new scores and events becomes alerts and messages, inside the same transaction.

After a crash the scores, the alerts and the messages are all there or none of them is. Two workers cannot raise the same
alert: one transaction at a time raises alerts of a shop, and what it has seen is remembered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Connection

from ebbtide.core.config import Config
from ebbtide.core.errors import ConfigError
from ebbtide.core.language import Text
from ebbtide.core.settings import did_you_mean
from ebbtide.core.windows import from_us, to_us
from ebbtide.events.schema import EVENT_TYPES
from ebbtide.pipeline.alert_gates import Decision, Gate, day_of, decide
from ebbtide.pipeline.alert_message import opened
from ebbtide.pipeline.alert_rules import (
    Memory,
    Sighting,
    fits,
    see_events,
    see_scores,
    span_us,
    still_due,
)
from ebbtide.pipeline.live_shop import LiveShop
from ebbtide.pipeline.rescoring import Change, React, ignore
from ebbtide.store.alert_memory import counts_of_day, lock_alerts, memories_of, remember, set_counts
from ebbtide.store.alerts import Alert, Alerts
from ebbtide.store.outbox import NewMessage, Outbox
from ebbtide.store.timers import Timer, Timers


@dataclass(frozen=True)
class Raised:
    """How many alerts were opened and how many suppressed."""

    opened: int
    suppressed: int


class Alerting:
    """The rules of a shop at work. Raises ConfigError for event types that do not exist."""

    def __init__(self, config: Config, root: Path) -> None:
        check_types(config)
        self._config, self._gate = config, Gate(config, root)
        self._rules = {rule.name: rule for rule in config.alert}
        self._channels = [channel.name for channel in config.channel]
        self._waits = any(rule.when in ("unfollowed", "silent") for rule in config.alert)

    def react(self, connection: Connection, change: Change) -> None:
        """What follows from new scores: called within the transaction that stores them."""
        shop = change.shop
        lock_alerts(connection, shop.shop_id)
        if self._waits and change.touched:
            self._set_timers(connection, change)
        memories = _memories(connection, shop.shop_id, list(change.after))
        bands = shop.served.bundle.config.bands
        seen, changed = see_scores(self._config.alert, bands, change.before, change.after, memories)
        self._raise(connection, shop, seen, {**memories, **changed}, set(changed), change.as_of)

    def fire_due(self, shop: LiveShop, *, limit: int = 1000) -> Raised:
        """Look again at the users whose timers are due, and raise what is to be raised; at most `limit` timers.

        Whether what was waited for has happened is asked of all that is known by now, scored already or not.
        """
        now = shop.now()
        due = Timers(shop.database).due(shop.shop_id, to_us(now), limit)
        if not due:
            return Raised(0, 0)
        users = list(dict.fromkeys(timer.user_id for timer in due))
        happened = _happened(shop.histories.of_users(users), due, now)
        scores = shop.scores.of_users(shop.shop_id, users)
        bands = shop.served.bundle.config.bands
        with shop.database.write() as connection:
            lock_alerts(connection, shop.shop_id)
            seen = []
            for timer in Timers.take_within(connection, shop.shop_id, due):
                rule, score = self._rules.get(timer.rule), scores.get(timer.user_id)
                if rule and still_due(rule, timer, happened.get(timer.user_id, ())) and fits(rule, bands, score):
                    since = {"since": from_us(timer.since_us).isoformat()}
                    seen.append(Sighting(rule, timer.user_id, to_us(now), score, since))
            memories = _memories(connection, shop.shop_id, [s.user_id for s in seen])
            return self._raise(connection, shop, seen, memories, set(), now)

    def seed_timers(self, shop: LiveShop) -> int:
        """Set the timers that the known histories ask for, as when rules are new; those that are due already set none.

        Says how many. It reads every history once: call it when a service starts.
        """
        if not self._waits:
            return 0
        now, count = shop.now(), 0
        for events in shop.histories.everybody():
            known = events.filter((pl.col("occurred_at") <= now) & (pl.col("ingested_at") <= now))
            moments = (pl.col(name).dt.epoch("us") for name in ("occurred_at", "ingested_at"))
            rows = known.select("user_id", "type", *moments).iter_rows()
            timers = [t for t in see_events(self._config.alert, rows)[0] if t.due_us > to_us(now)]
            with shop.database.write() as connection:
                Timers.set_within(connection, shop.shop_id, timers)
            count += len(timers)
        return count

    def withdrawn(self, purpose: str, users: Sequence[str], now: datetime) -> set[str]:
        """Users of whom nobody may be told any more, though an alert was raised: the consent was taken back."""
        return self._gate.unwilling(purpose, users, now)

    def _set_timers(self, connection: Connection, change: Change) -> None:
        shop = change.shop
        stored = shop.inbox.after(shop.shop_id, change.since, change.up_to - change.since, until=change.up_to)
        events = ((e.user_id, e.fields["type"], e.fields["occurred_at"], e.fields["ingested_at"]) for e in stored)
        timers, stops = see_events(self._config.alert, events)
        for rule, moments in stops.items():
            Timers.stop_within(connection, shop.shop_id, rule, moments)
        Timers.set_within(connection, shop.shop_id, timers)

    def _raise(
        self,
        connection: Connection,
        shop: LiveShop,
        seen: Sequence[Sighting],
        memories: Mapping[str, Memory],
        changed: set[str],
        now: datetime,
    ) -> Raised:
        """Decide on sightings and store alerts, messages and what is to be remembered."""
        if not seen:
            remember(connection, shop.shop_id, {user: memories[user].to_json() for user in changed})
            return Raised(0, 0)
        day = day_of(self._config.shop.zone, to_us(now))
        counts = counts_of_day(connection, shop.shop_id, day)
        decided = decide(seen, self._config, memories, counts, self._gate.barred(seen, now), to_us(now))
        differing = changed | {s.user_id for s in seen}
        told = {user: memory.to_json() for user, memory in decided.memories.items() if user in differing}
        remember(connection, shop.shop_id, told)
        out = [d for d in decided.decisions if d.suppressed is None]
        if out:
            set_counts(connection, shop.shop_id, day, decided.counts)
        reasons = self._reasons(shop, out, now)
        alerts = [(d, self._alert(shop.shop_id, d, reasons.get(d.sighting.user_id))) for d in decided.decisions]
        Alerts.add_within(connection, [alert for _, alert in alerts])
        Outbox(shop.database, shop.shop_id).add_within(
            connection, [message for d, alert in alerts if d.suppressed is None for message in self._messages(d, alert)]
        )
        return Raised(len(out), len(alerts) - len(out))

    def _reasons(self, shop: LiveShop, out: Sequence[Decision], now: datetime) -> dict[str, Any]:
        """Reasons of the worthiest alerts, in the language of the shop."""
        users = [d.sighting.user_id for d in out if d.sighting.score][: self._config.alerts.reasons]
        if not users:
            return {}
        scored = shop.score_apart(users, as_of=now, reasons="all").scored
        return dict(scored.select("user_id", "reasons").iter_rows())

    def _alert(self, shop_id: str, decision: Decision, reasons: Any) -> Alert:
        sighting, score = decision.sighting, decision.sighting.score
        detail: dict[str, Any] = {"when": sighting.rule.when, **sighting.detail}
        if score is not None:
            names = ("churn_probability", "percentile", "band", "expected_orders", "value_at_risk", "model")
            detail |= {name: getattr(score, name) for name in names}
        if reasons:
            detail["reasons"] = reasons
        return Alert(
            alert_id=_alert_id(shop_id, sighting), shop_id=shop_id, rule=sighting.rule.name, user_id=sighting.user_id,
            at_us=sighting.at_us, state="suppressed" if decision.suppressed else "open",
            expires_us=sighting.at_us + span_us(self._config.alerts.expires),
            suppressed=decision.suppressed.value if decision.suppressed else "", detail=detail,
        )  # fmt: skip

    def _messages(self, decision: Decision, alert: Alert) -> list[NewMessage]:
        rule, body = decision.sighting.rule, opened(alert).to_bytes()
        due_us = decision.due_us
        return [
            NewMessage(channel, alert.alert_id, due_us, due_us, alert.user_id, rule.consent, body)
            for channel in rule.channels or self._channels
        ]


def make_react(config: Config, root: Path) -> React:
    """What follows from new scores under this config; nothing if it has no rules."""
    return Alerting(config, root).react if config.alert else ignore


def check_types(config: Config) -> None:
    """Raise ConfigError with every event type of a rule that does not exist."""
    unknown = [(r.name, t) for r in config.alert for t in (*r.did, *r.but_not) if t not in EVENT_TYPES]
    if unknown:
        listed = ", ".join(EVENT_TYPES)
        raise ConfigError(
            [
                Text(
                    f"alert {rule}: `{kind}` is no event type{did_you_mean(kind, EVENT_TYPES)}; there are: {listed}",
                    f"alert {rule}：`{kind}` 不是事件类型{did_you_mean(kind, EVENT_TYPES)}；可用：{listed}",
                )
                for rule, kind in unknown
            ]
        )


def _memories(connection: Connection, shop_id: str, users: Sequence[str]) -> dict[str, Memory]:
    return {user: Memory(**state) for user, state in memories_of(connection, shop_id, users).items()}


def _happened(events: pl.DataFrame, timers: Sequence[Timer], now: datetime) -> dict[str, list[tuple[str, int]]]:
    """By user the type and moment of each event that is known now, from the user's earliest timer on."""
    since = pl.DataFrame({"user_id": [t.user_id for t in timers], "since": [t.since_us for t in timers]})
    since = since.group_by("user_id").agg(pl.col("since").min())
    known = events.filter((pl.col("occurred_at") <= now) & (pl.col("ingested_at") <= now))
    moments = known.select("user_id", "type", pl.col("occurred_at").dt.epoch("us").alias("us")).join(
        since, on="user_id"
    )
    found: dict[str, list[tuple[str, int]]] = {}
    for user, kind, us in moments.filter(pl.col("us") >= pl.col("since")).select("user_id", "type", "us").iter_rows():
        found.setdefault(user, []).append((kind, us))
    return found


def _alert_id(shop_id: str, sighting: Sighting) -> str:
    """Made of what was seen; of a timer, when it began: two that are looked at together are two alerts."""
    moment = sighting.detail.get("since", sighting.at_us)
    told = json.dumps([shop_id, sighting.rule.name, sighting.user_id, moment])
    return f"alr_{hashlib.blake2b(told.encode(), digest_size=16).hexdigest()}"
