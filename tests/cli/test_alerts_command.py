"""`ebbtide alerts` on the command line: what the API does, with an audit entry each, in both languages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ebbtide.cli.main import run
from ebbtide.store.alerts import Alert, Alerts
from ebbtide.store.audit import Audit
from ebbtide.store.database import Database
from ebbtide.store.outbox import NewMessage, Outbox
from ebbtide.store.shops import Shops

IDS = [f"alr_{k:032x}" for k in range(3)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace whose store holds three alerts and a message that was given up."""
    (tmp_path / "ebbtide.toml").write_text("", encoding="utf-8")
    database = Database.open(f"sqlite:///{tmp_path}/.ebbtide/service.db")
    Shops(database).register("shop")
    with database.write() as connection:
        alerts = [
            Alert(alert_id=i, shop_id="shop", rule="cart", user_id=f"u{k}", at_us=k, state="open", suppressed="",
                  expires_us=2**52, detail={"when": "unfollowed"})
            for k, i in enumerate(IDS)
        ]  # fmt: skip
        Alerts.add_within(connection, alerts)
        Outbox(database, "shop").add_within(connection, [NewMessage("crm", IDS[0], 0, 0, "u0", "", b"{}")])
        (message,) = Outbox(database, "shop").claim_within(connection, "crm", 1, 9, 9)
        Outbox.bury_within(connection, message, "gone")
    database.close()
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], root: Path, *arguments: str) -> dict[str, Any]:
    assert run(["alerts", *arguments, "-w", str(root), "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_alerts_are_paged_moved_counted_and_sent_again(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = told(capsys, root, "list", "--limit", "2")
    rest = told(capsys, root, "list", "--after", first["next"])
    assert [a["alert_id"] for a in (*first["alerts"], *rest["alerts"])] == IDS[::-1]
    assert rest["next"] is None
    told(capsys, root, "ack", IDS[0], "--owner", "ana", "--note", "calls")
    told(capsys, root, "act", IDS[0])
    assert told(capsys, root, "close", IDS[0])["state"] == "closed"
    shown = told(capsys, root, "show", IDS[0])
    assert (shown["owner"], [n["state"] for n in shown["notes"]]) == ("ana", ["acknowledged", "acted", "closed"])
    assert {n["actor"] for n in shown["notes"]} == {"cli"}
    assert {row["state"]: row["count"] for row in told(capsys, root, "count")["alerts"]} == {"closed": 1, "open": 2}
    assert [a["user_id"] for a in told(capsys, root, "list", "--state", "closed", "--user", "u0")["alerts"]] == ["u0"]
    assert told(capsys, root, "resend", "--channel", "crm") == {"revived": 1}


def test_every_read_and_change_is_in_the_audit_without_the_customers_id(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["list"], ["show", IDS[1]], ["ack", IDS[1]], ["resend"]):
        told(capsys, root, *command)
    database = Database.open(f"sqlite:///{root}/.ebbtide/service.db")
    entries = [entry for _, entry in Audit(database).entries("shop", limit=10)]
    database.close()
    assert {(e.actor, e.action) for e in entries} == {
        ("cli", "alerts.read"), ("cli", "alert.read"), ("cli", "alert.change"), ("cli", "alerts.resend")
    }  # fmt: skip
    assert not any("u1" in (e.subject, e.told) for e in entries)


def test_what_cannot_be_done_is_said_in_both_languages(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["alerts", "close", "alr_nothing", "-w", str(root)]) == 2
    assert run(["alerts", "list", "--state", "odd", "-w", str(root), "--lang", "zh"]) == 2
    assert "提醒的状态有" in capsys.readouterr().err
    assert run(["alerts", "list", "-w", str(root), "--lang", "zh"]) == 0
    assert "顾客" in capsys.readouterr().out
