"""Alerts move only as the state machine allows, and lists page without gap or repetition."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ebbtide.core.errors import InputError
from ebbtide.store.alerts import MOVES, STATES, Alert, Alerts, Note, Suppression, Wanted
from ebbtide.store.database import Database

ONE = Alert("alr_1", "a", "risk", "u1", 10, "open", 100, detail={"before": 0.5})


def add(database: Database, *rows: Alert) -> Alerts:
    with database.write() as connection:
        Alerts.add_within(connection, rows)
    return Alerts(database)


def test_what_was_stored_comes_back_whole(database: Database) -> None:
    alerts = add(database, ONE)
    assert alerts.find("a", "alr_1") == (replace(ONE, changed_us=10), [])
    with pytest.raises(InputError, match="no alert"):
        alerts.find("b", "alr_1")


def test_raising_the_same_alert_again_changes_nothing(database: Database) -> None:
    alerts = add(database, ONE)
    add(database, replace(ONE, state="suppressed"))
    assert alerts.find("a", "alr_1")[0].state == "open"


def test_every_move_is_allowed_or_refused_as_the_machine_says(database: Database) -> None:
    for old, new in itertools.product(STATES, [*MOVES, "open", "expired", "nonsense"]):
        name = f"{old}-{new}"
        alerts, note = add(database, replace(ONE, alert_id=name, state=old)), Note(20, new, "key1", "called")
        if old in MOVES.get(new, ()):
            changed = alerts.change("a", name, new, note, owner="Ann")
            assert (changed.state, changed.owner, changed.changed_us) == (new, "Ann", 20)
            assert alerts.find("a", name)[1] == [note]
        else:
            with pytest.raises(InputError, match=r"cannot become|final"):
                alerts.change("a", name, new, note)
            assert alerts.find("a", name) == (replace(ONE, alert_id=name, state=old, changed_us=10), [])


def test_of_two_who_acknowledge_at_once_one_is_refused(database: Database) -> None:
    alerts = add(database, ONE)

    def acknowledge(who: str) -> bool:
        try:
            alerts.change("a", "alr_1", "acknowledged", Note(20, "acknowledged", who, ""), owner=who)
        except InputError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(acknowledge, "wxyz")) == 1
    assert len(alerts.find("a", "alr_1")[1]) == 1


def test_pages_follow_one_another_without_gap_or_repetition(database: Database) -> None:
    rows = [
        replace(ONE, alert_id=f"alr_{k:02}", at_us=k // 3, rule="even" if k % 2 else "odd", user_id=f"u{k % 5}")
        for k in range(23)
    ]
    alerts = add(database, *rows, replace(ONE, shop_id="b", alert_id="other"))
    got: list[Alert] = []
    while page := alerts.listed("a", Wanted(after=(got[-1].at_us, got[-1].alert_id) if got else None), 4):
        got += page
    assert [(a.at_us, a.alert_id) for a in got] == sorted(((r.at_us, r.alert_id) for r in rows), reverse=True)
    wanted = Wanted(states=["open"], rules=["odd"], user_id="u2")
    assert {a.alert_id for a in alerts.listed("a", wanted, 99)} == {"alr_02", "alr_12", "alr_22"}
    assert alerts.counts("a", Wanted()) == {("even", "open", ""): 11, ("odd", "open", ""): 12}


def test_only_who_was_left_waiting_expires_and_only_the_finished_are_forgotten(database: Database) -> None:
    states = [replace(ONE, alert_id=f"alr_{state}", state=state) for state in STATES]
    alerts = add(database, *states)
    with database.write() as connection:
        assert Alerts.expire_within(connection, "a", 99, 10) == []
        assert sorted(Alerts.expire_within(connection, "a", 100, 10)) == ["alr_acknowledged", "alr_open"]
    assert [n.state for n in alerts.find("a", "alr_open")[1]] == ["expired"]
    add(database, replace(ONE, alert_id="alr_new"))
    with database.write() as connection:
        assert Alerts.forget_within(connection, "a", 10, 100) == 0
        assert Alerts.forget_within(connection, "a", 11, 100) == len(STATES)
    assert [a.alert_id for a in alerts.listed("a", Wanted(), 10)] == ["alr_new"]


def test_every_suppression_is_told_in_both_languages() -> None:
    assert all(s.text.en and s.text.zh for s in Suppression)
    assert max(len(s.value) for s in Suppression) <= 16, "the column holds no more"
