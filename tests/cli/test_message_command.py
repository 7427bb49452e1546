"""`message` and `campaign export --messages` on the command line."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from tests.cli.conftest import Answer

from ebbtide.actions.campaign import Campaigns
from ebbtide.cli.main import run
from ebbtide.events.lake import Lake

ACTIONS = """
[campaign]
holdout = 0.0
control = 0.4

[[action]]
name = "coupon"
kind = "coupon"
contact_cost = 0.5

[[action]]
name = "phone"
kind = "call"
contact_cost = 4

[recommend]
lessons = 0
"""
OFFER = ("--fact", "offer=5 EUR", "--fact", "until=2024-08-01")


@pytest.fixture(scope="module")
def writing(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained shop with actions; lists and draws leave things behind."""
    folder = Path(shutil.copytree(shop, tmp_path_factory.mktemp("messages") / "shop"))
    toml = folder / "ebbtide.toml"
    toml.write_text(toml.read_text(encoding="utf-8") + ACTIONS, encoding="utf-8")
    (folder / ".ebbtide" / "assignment.secret").write_bytes(b"always the same draw")
    return folder


@pytest.fixture(scope="module")
def user(writing: Path) -> str:
    lake = Lake.open(writing / ".ebbtide" / "lake")
    return str(lake.read_bucket(lake.buckets()[0])["user_id"].min())


def test_one_object_holds_the_message_and_its_items(writing: Path, user: str, answer: Answer) -> None:
    told = answer("message", user, "--kind", "coupon", *OFFER, "-w", str(writing))
    (message,) = told["messages"]
    assert (message["user_id"], message["kind"], message["source"]) == (user, "coupon", "template")
    assert "5 EUR" in message["subject"]
    assert "2024-08-01" in message["body"]
    assert len(message["items"]) == 3
    assert told["held_out"] == 0


def test_it_speaks_chinese(writing: Path, user: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["message", user, "--kind", "recommendation", "-w", str(writing), "--lang", "zh"]) == 0
    said = capsys.readouterr().out
    assert "您好" in said
    assert "Hello" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--kind", "cupon"], "did you mean `coupon`?"),
        (["--kind", "coupon"], "{offer}, {until}"),
        (["--fact", "offer"], "expected NAME=VALUE"),
        (["--fact", "orders=9"], "`orders` cannot be given"),
    ],
)
def test_wrong_use_is_answered_with_what_to_do(
    writing: Path, user: str, answer: Answer, arguments: list[str], said: str
) -> None:
    assert said in answer("message", user, *arguments, "-w", str(writing), code=2)["error"]["message"]


def test_an_unknown_user_is_told_without_the_id(writing: Path, answer: Answer) -> None:
    told = answer("message", "who-is-this", "-w", str(writing), code=2)["error"]["message"]
    assert "no event of this user" in told
    assert "who-is-this" not in told


def test_who_is_held_out_is_told_not_to_be_sent_to(
    writing: Path, user: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(writing, tmp_path / "held"))
    toml = folder / "ebbtide.toml"
    toml.write_text(toml.read_text(encoding="utf-8").replace("holdout = 0.0", "holdout = 0.9999"), encoding="utf-8")
    assert run(["message", user, "--kind", "recommendation", "-w", str(folder)]) == 0
    assert "global holdout, which no action reaches: do not send it" in capsys.readouterr().out


def test_an_export_with_messages_holds_the_text_of_each_treated_customer(
    writing: Path, answer: Answer, tmp_path: Path
) -> None:
    plan, rows = tmp_path / "plan.csv", tmp_path / "out.csv"
    lake = Lake.open(writing / ".ebbtide" / "lake")
    users = lake.read_bucket(lake.buckets()[0])["user_id"].unique().sort()[:60]
    action = pl.Series("action", ["phone" if n % 3 == 0 else "coupon" for n in range(60)])
    pl.DataFrame([users, action]).with_columns(cost=pl.lit(1.0)).write_csv(plan)
    answer("campaign", "start", "july", "--plan", str(plan), "-w", str(writing))
    assert "{offer}, {until}" in answer(
        "campaign", "export", "july", "--out", str(rows), "--messages", "-w", str(writing), code=2
    )["error"]["message"]  # fmt: skip
    assert "goes with --messages" in answer(
        "campaign", "export", "july", "--out", str(rows), *OFFER, "-w", str(writing), code=2
    )["error"]["message"]  # fmt: skip
    answer("campaign", "export", "july", "--out", str(rows), "--messages", *OFFER, "-w", str(writing))
    with rows.open(encoding="utf-8", newline="") as handle:
        told = list(csv.DictReader(handle))
    treated = Campaigns(writing / ".ebbtide" / "campaigns").read("july", "assigned").filter(arm="treatment")
    assert [r["user_id"] for r in told] == treated["user_id"].to_list()
    for row in told:
        assert ("5 EUR" in row["subject"]) == (row["action"] == "coupon")
        assert len(row["items"].split("|")) == (3 if row["action"] == "coupon" else 1)
    events = tmp_path / "out.jsonl"
    answer("campaign", "export", "july", "--out", str(events), "--messages", *OFFER, "-w", str(writing))
    lines = [json.loads(line)["properties"] for line in events.read_text(encoding="utf-8").splitlines()]
    assert [p.get("items") for p in lines] == [r["items"].split("|") if r["items"] else None for r in told]
