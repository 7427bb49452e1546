"""`campaign` and `effect` on the command line: one JSON object each, both languages, exit codes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.cli.conftest import Answer

from ebbtide.actions.campaign import Campaigns
from ebbtide.cli.main import run

ACTIONS = """
[campaign]
holdout = 0.1
control = 0.4

[[action]]
name = "coupon"
kind = "coupon"
contact_cost = 0.5
value = 4.0
acceptance = 0.25
assumed_effect = 0.3

[[action]]
name = "free_call"
kind = "call"
contact_cost = 0
consent = "phone"
"""


@pytest.fixture(scope="module")
def campaign_shop(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained shop with a catalogue and one campaign that ran."""
    folder = tmp_path_factory.mktemp("campaigns") / "shop"
    shutil.copytree(shop, folder)
    toml = folder / "ebbtide.toml"
    toml.write_text(toml.read_text(encoding="utf-8") + ACTIONS, encoding="utf-8")
    (folder / ".ebbtide" / "assignment.secret").write_bytes(b"always the same draw")
    assert run(["campaign", "start", "june", "--action", "coupon", "--as-of", "2024-06-11", "-w", str(folder)]) == 0
    return folder


def test_the_whole_way_of_a_campaign(campaign_shop: Path, answer: Answer, tmp_path: Path) -> None:
    listed = answer("campaign", "list", "-w", str(campaign_shop))
    (june,) = (c for c in listed["campaigns"] if c["name"] == "june")
    exported = answer("campaign", "export", "june", "--out", str(tmp_path / "june.csv"), "-w", str(campaign_shop))
    assert exported["rows"] == june["treated"] > 50
    told = answer("effect", "june", "-w", str(campaign_shop))
    assert told["adjustment"] == "CUPAC"
    assert [o["name"] for o in told["outcomes"]] == ["retained", "orders", "value", "net"]
    assert all(o["plain"]["low"] < o["plain"]["high"] for o in told["outcomes"])
    every = answer("effect", "-w", str(campaign_shop))
    assert "june" in [c["name"] for c in every["campaigns"]]


def test_the_mean_cost_counts_who_accepts(campaign_shop: Path, answer: Answer) -> None:
    """0.50 for the contact, and a quarter of the customers takes 4.00."""
    started = answer(
        "campaign", "start", "cost", "--action", "coupon", "--as-of", "2024-06-11", "-w", str(campaign_shop)
    )
    assert started["cost"] == pytest.approx(1.5 * started["treated"])
    assert 0 < started["promise"]["explained"] < 1
    answer("campaign", "stop", "cost", "-w", str(campaign_shop))


def test_where_chooses_the_customers(campaign_shop: Path, answer: Answer) -> None:
    some = ["--action", "coupon", "--where", "churn_probability > 0.3", "--control", "0.5"]
    started = answer("campaign", "start", "risky", *some, "--as-of", "2024-06-11", "-w", str(campaign_shop))
    everybody = answer("campaign", "list", "-w", str(campaign_shop))["campaigns"][0]
    assert 0 < started["treated"] + started["control"] < everybody["treated"] + everybody["control"]


def test_a_condition_that_cannot_be_read_names_the_columns(campaign_shop: Path, answer: Answer) -> None:
    told = answer(
        "campaign", "start", "x", "--action", "coupon", "--where", "riskk > 1", "-w", str(campaign_shop), code=2
    )
    assert "--where: `riskk` is not a column of the profile" in told["error"]["message"]
    assert "churn_probability" in told["error"]["message"]


def test_where_sees_the_whole_profile_as_a_plan_does(campaign_shop: Path, answer: Answer) -> None:
    """Not only the risk; and what was known is kept with the assignment, so that groups can be told apart later."""
    some = ["--action", "coupon", "--where", "orders >= 3 and stage = 'active'"]
    started = answer("campaign", "start", "active", *some, "--as-of", "2024-06-11", "-w", str(campaign_shop))
    drawn = Campaigns(campaign_shop / ".ebbtide" / "campaigns").read("active", "assigned")
    assert drawn.height == started["treated"] + started["control"] > 0
    assert set(drawn["stage"]) == {"active"}
    assert drawn["segment"].null_count() == 0
    answer("campaign", "stop", "active", "-w", str(campaign_shop))


def test_the_read_out_tells_stages_and_segments_apart(campaign_shop: Path, answer: Answer) -> None:
    """Drawn towards each other, with q over all groups that were looked at."""
    groups = answer("effect", "june", "-w", str(campaign_shop))["groups"]
    assert {"band", "stage", "segment"} <= {g["by"] for g in groups}
    assert all(0 <= g["q"] <= 1 for g in groups)
    for by in ("stage", "segment"):
        own = [g for g in groups if g["by"] == by]
        measured, shrunk = ([g[k]["value"] for g in own] for k in ("effect", "shrunk"))
        assert max(shrunk) - min(shrunk) <= max(measured) - min(measured)


def test_an_action_that_nobody_may_get_is_refused(campaign_shop: Path, answer: Answer) -> None:
    """Nobody has consented to calls; and no customer is surer than sure to leave."""
    told = answer("campaign", "start", "x", "--action", "free_call", "-w", str(campaign_shop), code=3)
    assert "consent" in told["error"]["message"]
    told = answer("campaign", "start", "x", "--action", "coupon", "--where", "churn_probability > 2", "-w", str(campaign_shop), code=3)  # fmt: skip
    assert "nobody may get the action `coupon`" in told["error"]["message"]


def test_results_are_taken_from_a_file(campaign_shop: Path, answer: Answer, tmp_path: Path) -> None:
    file = tmp_path / "r.csv"
    file.write_text("user_id,value\nnobody,3\n", encoding="utf-8")
    told = answer("campaign", "results", "june", str(file), "-w", str(campaign_shop))
    assert (told["read"], told["accepted"], told["refused"]) == (1, 0, {"not_in_campaign": 1})


@pytest.mark.parametrize(("language", "said"), [("en", "measured on"), ("zh", "结果完整的")])
def test_the_read_out_speaks_both_languages(
    campaign_shop: Path, language: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["effect", "june", "-w", str(campaign_shop), "--lang", language]) == 0
    shown = capsys.readouterr().out
    assert said in shown
    assert run(["campaign", "list", "-w", str(campaign_shop), "--lang", language]) == 0


def test_an_unknown_campaign_is_wrong_use(campaign_shop: Path, answer: Answer) -> None:
    assert "june" in answer("effect", "july", "-w", str(campaign_shop), code=2)["error"]["message"]


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_a_plan_becomes_a_campaign(campaign_shop: Path, answer: Answer, tmp_path: Path, suffix: str) -> None:
    """What `ebbtide plan` writes is what `campaign start` reads; control is drawn among the planned customers."""
    where, plan = ["-w", str(campaign_shop), "--as-of", "2024-06-11"], tmp_path / f"plan.{suffix}"
    planned = answer("plan", "--budget", "300", "--out", str(plan), *where)
    started = answer("campaign", "start", f"from-{suffix}", "--plan", str(plan), *where)
    held_out = started["left_out"]["holdout"]
    assert started["treated"] > 0
    assert started["treated"] + started["control"] + held_out == planned["treated"]
