"""Alerts are raised with the scores or not at all, once, capped, and with the reason why one was kept back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import polars as pl
import pytest
from tests.pipeline.conftest import UNTIL, OpenShop, SmallShop, Trained

from ebbtide.core.alert_settings import AlertConfig, AlertsConfig, ChannelConfig
from ebbtide.core.config import Config
from ebbtide.core.errors import InputError
from ebbtide.core.windows import to_us
from ebbtide.events.tables import append_rows
from ebbtide.pipeline.alert_message import AlertMessage
from ebbtide.pipeline.alerting import Alerting, Raised, make_react
from ebbtide.pipeline.alerts import (
    AlertFilter,
    change_alert,
    count_alerts,
    list_alerts,
    revive_messages,
    show_alert,
    tidy_alerts,
)
from ebbtide.pipeline.live_shop import LiveShop
from ebbtide.pipeline.rescoring import Change, ignore, rescore_everybody, rescore_touched
from ebbtide.store.alerts import Alert
from ebbtide.store.database import Database
from ebbtide.store.inbox import Incoming
from ebbtide.store.outbox import Message, Outbox
from ebbtide.store.scores import StoredScore
from ebbtide.store.timers import Timers

ENTERS = AlertConfig(name="risk", when="enters", band="high", cooldown="0s")
CART = AlertConfig(name="cart", when="unfollowed", did=["cart_add"], but_not=["order"], within="2h", cooldown="0s")
CHANNELS = [ChannelConfig(name=name, kind="log") for name in ("log", "crm")]


@dataclass
class Service:
    """A live shop whose clock stands where the test puts it, with the rules that it asks for."""

    shop: SmallShop
    live: LiveShop
    now: datetime

    def config(self, *rules: AlertConfig, **settings: Any) -> Config:
        made = AlertsConfig(**{"daily_cap": 0, "user_cap": 0, **settings})
        campaign = self.shop.config.campaign.model_copy(update={"holdout": 0.0})
        changes = {"alert": list(rules), "alerts": made, "channel": CHANNELS, "campaign": campaign}
        return self.shop.config.model_copy(update=changes)

    def alerting(self, *rules: AlertConfig, **settings: Any) -> Alerting:
        return Alerting(self.config(*rules, **settings), self.shop.root)

    def tell(self, user: str, kind: str, at: datetime) -> None:
        fields = {"user_id": user, "type": kind, "occurred_at": to_us(at)}
        self.live.inbox.add([Incoming("shop", f"{user}{kind}{to_us(at)}", user, fields)], to_us(self.now))

    def change(self, before: dict[str, float], after: dict[str, float], **given: Any) -> Change:
        """Scores before, an hour ago, and now."""
        was, now = (
            {u: StoredScore(u, to_us(at), p, None, "x", None, 100 * p, None, "m") for u, p in scores.items()}
            for scores, at in ((before, self.now - timedelta(hours=1)), (after, self.now))
        )
        return Change(self.live, self.now, was, now, **{"touched": (), **given})

    def happen(self, alerting: Alerting, before: dict[str, float], after: dict[str, float]) -> None:
        with self.live.database.write() as connection:
            alerting.react(connection, self.change(before, after))

    def alerts(self, **wanted: Any) -> list[Alert]:
        return list(list_alerts(self.live.database, "shop", AlertFilter(**wanted), limit=1000).alerts)

    def messages(self, channel: str = "log", at: datetime | None = None) -> list[Message]:
        with self.live.database.write() as connection:
            now_us = to_us(at or self.now)
            return Outbox(self.live.database, "shop").claim_within(connection, channel, now_us, 10**6, 10**6)


@pytest.fixture(scope="module")
def workspace(trained: Trained, sim_log: pl.DataFrame, open_shop: OpenShop) -> SmallShop:
    """The log until UNTIL in a lake of its own, with the bundle."""
    return open_shop(sim_log.filter(pl.col("ingested_at") <= UNTIL)).borrow(trained.shop)


@pytest.fixture
def service(workspace: SmallShop, store_url: str) -> Iterator[Service]:
    database = Database.open(store_url)
    made = Service(workspace, None, UNTIL)  # type: ignore[arg-type]
    made.live = LiveShop(workspace.config, workspace.root, "shop", database, clock=lambda: made.now)
    yield made
    database.close()


def test_an_alert_and_its_messages_say_what_was_seen_and_carry_one_id(service: Service) -> None:
    service.happen(service.alerting(ENTERS), {"u": 0.5}, {"u": 0.8})
    (alert,) = service.alerts()
    assert (alert.rule, alert.user_id, alert.state, alert.at_us) == ("risk", "u", "open", to_us(UNTIL))
    assert alert.detail["churn_probability"] == 0.8
    assert alert.detail["before"] == 0.5
    sent = service.messages("log") + service.messages("crm")
    assert [m.message_id for m in sent] == [alert.alert_id] * 2
    message = AlertMessage.read(sent[0].body)
    assert message.kind == "alert.opened"
    assert message.data["alert_id"] == alert.alert_id
    assert message.data["value_at_risk"] == 80.0
    assert message.to_bytes() == sent[0].body


def test_an_alert_storm_is_capped_for_the_worthiest_and_every_suppressed_one_is_stored(service: Service) -> None:
    """10,000 users cross the line at once."""
    alerting = service.alerting(ENTERS, daily_cap=100)
    before = {f"u{k}": 0.1 for k in range(10_000)}
    after = {f"u{k}": 0.7 + k * 1e-5 for k in range(10_000)}
    service.happen(alerting, before, after)
    told = count_alerts(service.live.database, "shop")
    assert told.alerts == {("risk", "open", ""): 100, ("risk", "suppressed", "daily_cap"): 9_900}
    assert told.messages == {("crm", "waiting"): 100, ("log", "waiting"): 100}
    assert {a.user_id for a in service.alerts(states=["open"])} == {f"u{k}" for k in range(9_900, 10_000)}
    service.now += timedelta(hours=2)
    service.happen(alerting, {"late": 0.1}, {"late": 0.9})
    assert [a.suppressed for a in service.alerts(user_id="late")] == ["daily_cap"], "the cap is one of the whole day"
    service.now += timedelta(days=1)
    service.happen(alerting, {"next": 0.1}, {"next": 0.9})
    assert [a.suppressed for a in service.alerts(user_id="next")] == [""]


def test_holdout_and_consent_are_respected(service: Service) -> None:
    asked = ENTERS.model_copy(update={"consent": "marketing"})
    config = service.config(asked)
    everybody = [f"u{k}" for k in range(400)]
    words = [(u, UNTIL - timedelta(days=2), True) for u in everybody[:200]]
    words += [(u, UNTIL - timedelta(days=1), False) for u in everybody[:100]]
    words += [(u, UNTIL + timedelta(days=1), True) for u in everybody[:50]]  # not yet
    rows = pl.DataFrame(words, orient="row", schema=["user_id", "valid_from", "granted"]).with_columns(
        pl.col("valid_from").dt.cast_time_unit("us"), purpose=pl.lit("marketing")
    )
    append_rows(service.shop.lake, "consents", rows.select("user_id", "valid_from", "purpose", "granted"), [])
    held = config.model_copy(update={"campaign": config.campaign.model_copy(update={"holdout": 0.2})})
    alerting = Alerting(held, service.shop.root)
    service.happen(alerting, dict.fromkeys(everybody, 0.1), dict.fromkeys(everybody, 0.9))
    by = {why: {a.user_id for a in service.alerts() if a.suppressed == why} for why in ("", "holdout", "no_consent")}
    assert len(by["holdout"]) == pytest.approx(80, abs=35)
    assert by[""] == set(everybody[100:200]) - by["holdout"]
    assert by["no_consent"] == set(everybody) - set(everybody[100:200]) - by["holdout"]
    assert alerting.withdrawn("marketing", ["u0", "u150", "stranger"], UNTIL) == {"u0", "stranger"}


def test_what_was_raised_in_quiet_hours_waits_for_their_end(service: Service) -> None:
    service.happen(service.alerting(ENTERS, quiet="00:00-08:00"), {"u": 0.5}, {"u": 0.8})
    assert UNTIL.hour == 0
    assert [a.state for a in service.alerts()] == ["open"]
    assert service.messages(at=UNTIL + timedelta(hours=7, minutes=59)) == []
    assert len(service.messages(at=UNTIL + timedelta(hours=8))) == 1


def test_a_rule_that_names_channels_is_told_there_only(service: Service) -> None:
    service.happen(service.alerting(ENTERS.model_copy(update={"channels": ["crm"]})), {"u": 0.5}, {"u": 0.8})
    assert (len(service.messages("log")), len(service.messages("crm"))) == (0, 1)


def test_a_cart_without_an_order_is_told_when_its_time_has_passed_and_not_otherwise(service: Service) -> None:
    alerting, start = service.alerting(CART), UNTIL
    for user in ("forgot", "bought", "bought-just-now", "again"):
        service.tell(user, "cart_add", start)
    rescore_touched(service.live, react=alerting.react)
    service.now = start + timedelta(hours=1)
    service.tell("bought", "order", service.now)
    service.tell("again", "cart_add", service.now)
    rescore_touched(service.live, react=alerting.react)
    assert alerting.fire_due(service.live).opened == 0
    service.now = start + timedelta(hours=2)
    service.tell("bought-just-now", "order", service.now)  # not scored yet
    assert alerting.fire_due(service.live).opened == 1
    assert alerting.fire_due(service.live).opened == 0
    (alert,) = service.alerts()
    assert (alert.user_id, alert.detail["since"]) == ("forgot", start.isoformat())
    service.now = start + timedelta(hours=3)
    assert alerting.fire_due(service.live).opened == 1
    assert {a.user_id for a in service.alerts()} == {"forgot", "again"}


def test_a_log_told_belatedly_alarms_nobody(service: Service) -> None:
    alerting = service.alerting(CART)
    service.tell("old", "cart_add", UNTIL - timedelta(hours=4))
    service.tell("late", "cart_add", UNTIL - timedelta(hours=3))
    rescore_touched(service.live, react=alerting.react)
    assert alerting.fire_due(service.live).opened == 1
    assert [a.user_id for a in service.alerts()] == ["late"]


def test_a_rule_tells_the_same_however_late_scoring_and_timers_run(service: Service) -> None:
    """Nothing runs for a day: what was not followed within its time is told, also if it was followed later, or began anew."""
    alerting, minute = service.alerting(CART), timedelta(minutes=1)
    happens = {"forgot": [("cart_add", 0)], "bought": [("cart_add", 0), ("order", 119)], "too-late": [("cart_add", 0), ("order", 121)],
               "twice": [("cart_add", 0), ("cart_add", 121)], "again": [("cart_add", 0), ("cart_add", 119), ("order", 130)]}  # fmt: skip
    for user, events in happens.items():
        for kind, minutes in events:
            service.now = UNTIL + minutes * minute
            service.tell(user, kind, service.now)
    service.now = UNTIL + timedelta(days=1)
    rescore_touched(service.live, react=alerting.react)
    assert alerting.fire_due(service.live).opened == 4
    assert sorted(a.user_id for a in service.alerts()) == ["forgot", "too-late", "twice", "twice"]
    assert alerting.fire_due(service.live) == Raised(0, 0)


def test_valuable_customers_who_fall_silent_are_told_also_if_they_were_silent_before_the_rule(service: Service) -> None:
    """Timers are set from the histories that are there already; only who is worth enough is told."""
    rescore_everybody(service.live)
    stored = {s.user_id: s for s in service.live.scores.at_risk("shop", limit=10**6)}
    worth = sorted(s.value_at_risk or 0.0 for s in stored.values())[len(stored) // 2]
    rule = AlertConfig(name="silent", when="silent", within="20d", value=worth, cooldown="0s")
    alerting = service.alerting(rule)
    last = dict(
        pl.concat(list(service.live.histories.everybody())).group_by("user_id").agg(pl.last("occurred_at")).iter_rows()
    )
    assert alerting.seed_timers(service.live) == sum(at + timedelta(days=20) > UNTIL for at in last.values())
    service.now = UNTIL + timedelta(days=5)
    while (Timers(service.live.database).next_due_us("shop") or 2**62) <= to_us(service.now):
        alerting.fire_due(service.live, limit=50)
    expected = {
        u
        for u, at in last.items()
        if UNTIL < at + timedelta(days=20) <= service.now and u in stored and (stored[u].value_at_risk or 0) >= worth
    }
    assert {a.user_id for a in service.alerts()} == expected != set()


def test_scores_alerts_and_messages_happen_all_or_not_at_all(service: Service) -> None:
    alerting = service.alerting(ENTERS)

    def killed(*_: Any) -> None:
        with service.live.database.write() as connection:
            alerting.react(connection, service.change({"u": 0.5}, {"u": 0.8}))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    assert service.alerts() == []
    assert service.messages() == []
    service.happen(alerting, {"u": 0.5}, {"u": 0.8})
    assert len(service.alerts()) == 1


def test_two_workers_who_score_the_same_users_at_once_raise_each_alert_once(service: Service) -> None:
    users = [f"u{k}" for k in range(50)]
    alerting = service.alerting(ENTERS)

    def work(number: int) -> None:
        change = service.change(dict.fromkeys(users, 0.5), dict.fromkeys(users, 0.8))
        later = {u: replace(s, as_of_us=s.as_of_us + number) for u, s in change.after.items()}
        with service.live.database.write() as connection:
            alerting.react(connection, replace(change, after=later))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert sorted(a.user_id for a in service.alerts()) == sorted(users)


def test_alerts_of_the_real_model_carry_reasons_and_come_through_the_hook(service: Service) -> None:
    """Everybody is scored twice, twenty silent days apart; who entered the band in between is told with reasons."""
    rescore_everybody(service.live)
    first = {s.user_id: s for s in service.live.scores.at_risk("shop", limit=10**6)}
    service.now = UNTIL + timedelta(days=20)
    rescore_everybody(service.live, react=service.alerting(ENTERS).react)
    second = {s.user_id: s for s in service.live.scores.at_risk("shop", limit=10**6)}
    entered = {u for u, s in second.items() if u in first and first[u].band != "high" and s.band == "high"}
    assert {a.user_id for a in service.alerts()} == entered != set()
    told = AlertMessage.read(service.messages()[0].body).data
    assert {"feature", "text", "contribution"} <= set(told["reasons"][0])
    assert json.dumps(told)


def test_no_rules_mean_no_hook(service: Service) -> None:
    assert make_react(service.config(), service.shop.root) is ignore


def test_a_list_pages_to_its_end_and_a_foreign_cursor_is_refused(service: Service) -> None:
    service.happen(service.alerting(ENTERS), {f"u{k}": 0.1 for k in range(7)}, {f"u{k}": 0.9 for k in range(7)})
    database, after, seen = service.live.database, None, []
    for _ in range(3):
        page = list_alerts(database, "shop", limit=3, after=after)
        seen += [a["user_id"] for a in page.to_json()["alerts"]]
        after = page.after
    assert (sorted(seen), after) == ([f"u{k}" for k in range(7)], None)
    for cursor in ("", "x", "é", "AAAA", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OmFscl8x"):
        with pytest.raises(InputError, match="no cursor"):
            list_alerts(database, "shop", after=cursor)
    with pytest.raises(InputError, match="states of an alert"):
        list_alerts(database, "shop", AlertFilter(states=["opened"]))
    with pytest.raises(InputError, match=r"1 to 1,000"):
        list_alerts(database, "shop", limit=0)
    assert "u3" in str(list_alerts(database, "shop").sections())


def test_an_alert_is_acknowledged_acted_on_and_closed_with_owner_and_notes(service: Service) -> None:
    service.happen(service.alerting(ENTERS), {"u": 0.5}, {"u": 0.8})
    database, alert_id = service.live.database, service.alerts()[0].alert_id
    by = {"actor": "key1", "now": service.now}
    change_alert(database, "shop", alert_id, "acknowledged", owner=" Ann ", note="calling", **by)
    change_alert(database, "shop", alert_id, "acted", note="called", **by)
    with pytest.raises(InputError, match="cannot become acknowledged: it can become closed"):
        change_alert(database, "shop", alert_id, "acknowledged", **by)
    view = change_alert(database, "shop", alert_id, "closed", **by)
    assert (view.alert.owner, [n.note for n in view.notes]) == ("Ann", ["calling", "called", ""])
    assert show_alert(database, "shop", alert_id).to_json() == view.to_json()
    assert view.sections()
    for bad in ({"state": "open"}, {"state": "closed", "note": "x" * 4001}, {"state": "closed", "owner": "\x00"}):
        with pytest.raises(InputError, match=r"can become|at most"):
            change_alert(database, "shop", alert_id, **{**by, **bad})  # type: ignore[arg-type]


def test_what_nobody_looked_at_expires_with_its_messages(service: Service) -> None:
    alerting = service.alerting(ENTERS, expires="1d")
    service.happen(alerting, {"u": 0.5, "v": 0.5}, {"u": 0.8, "v": 0.8})
    seen = service.alerts(user_id="v")[0].alert_id
    change_alert(service.live.database, "shop", seen, "acted", actor="cli", now=service.now)
    config, later = service.config(ENTERS, keep="10d"), service.now + timedelta(days=1)
    assert tidy_alerts(config, service.live.database, "shop", now=later) == 1
    assert [a.state for a in service.alerts(user_id="u")] == ["expired"]
    assert [m.user_id for m in service.messages(at=later)] == ["v"]
    assert revive_messages(service.live.database, "shop", now=later).count == 0
    tidy_alerts(config, service.live.database, "shop", now=later + timedelta(days=10))
    assert service.alerts() == []
