"""A plan over a real workspace: limits hold, rules hold, nothing of the future counts, every odd case is told."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.pipeline.conftest import UNTIL, OpenShop, SmallShop, Trained

from ebbtide.actions.catalogue import catalogue_of
from ebbtide.actions.experiment import is_held_out, workspace_secret
from ebbtide.core.config import Config
from ebbtide.core.errors import ConfigError, InputError, MissingBundleError
from ebbtide.core.progress import silent
from ebbtide.events.lake import Lake
from ebbtide.events.schema import CONSENT_COLUMNS, EXPOSURE_COLUMNS
from ebbtide.events.tables import append_rows
from ebbtide.pipeline.plan import plan, plan_of_facts
from ebbtide.pipeline.plan_facts import PlanFacts, gather_facts
from ebbtide.pipeline.plan_report import PlanReport

MESSAGE = {"name": "message", "contact_cost": 0.05, "assumed_effect": 0.02}
COUPON = {
    "name": "coupon",
    "kind": "coupon",
    "contact_cost": 0.05,
    "value": 5.0,
    "acceptance": 0.2,
    "assumed_effect": 0.1,
}
CALL = {"name": "call", "kind": "call", "contact_cost": 4.0, "assumed_effect": 0.2, "capacity": 7}
NO_HOLDOUT = {"holdout": 0.0}
COLUMNS = ["user_id", "action", "cost", "expected_gain", "propensity", "why"]

Plan = Callable[..., PlanReport]


def with_actions(
    config: Config, *actions: dict[str, Any], campaign: dict[str, Any] = NO_HOLDOUT, **shared: Any
) -> Config:
    raw = config.model_dump() | {"action": list(actions), "actions": shared, "campaign": campaign}
    return Config.model_validate(raw)


@pytest.fixture(scope="module")
def facts(trained: Trained) -> PlanFacts:
    """What was known of the small shop at UNTIL, looked up once."""
    config = with_actions(trained.shop.config, MESSAGE)
    return gather_facts(config, trained.shop.root, (), UNTIL, None, silent)


@pytest.fixture
def planned(trained: Trained, facts: PlanFacts) -> Plan:
    """`planned(MESSAGE, ..., budget=50, root=..., **actions)`: a plan of the small shop at UNTIL, or of that in `root`."""

    def make(*actions: dict[str, Any], budget: float = 50.0, root: Path | None = None, **more: Any) -> PlanReport:
        config = with_actions(trained.shop.config, *(actions or (MESSAGE, COUPON, CALL)), **more)
        if root:
            return plan(config, root, budget=budget, as_of=UNTIL)
        return plan_of_facts(config, catalogue_of(config), facts, budget)

    return make


@pytest.fixture
def copied(trained: Trained, tmp_path: Path) -> Path:
    """The trained shop in a folder of its own, to add consents and exposures to."""
    return Path(shutil.copytree(trained.shop.root, tmp_path / "shop"))


def test_a_plan_keeps_its_budget_and_names_everybody_once(planned: Plan, trained: Trained) -> None:
    done = planned()
    assert done.frame.columns[:6] == COLUMNS
    assert set(done.frame["user_id"]) == set(trained.shop.score().frame["user_id"])
    assert done.frame["user_id"].is_unique().all()
    assert 45 < done.frame["cost"].sum() <= 50
    assert done.cost == pytest.approx(done.frame["cost"].sum())
    assert done.gain == pytest.approx(done.frame["expected_gain"].sum())
    assert done.worst_cost > done.cost
    assert (done.frame["action"] == "call").sum() <= 7
    nothing = done.frame.filter(pl.col("action") == "nothing")
    assert nothing.select("cost", "expected_gain").sum().row(0) == (0.0, 0.0)
    assert nothing["not_before"].is_null().all()
    assert (done.frame["propensity"] == 1.0).all()


def test_the_same_plan_comes_out_twice(planned: Plan) -> None:
    first, second = (planned(epsilon=0.2, seed=5) for _ in range(2))
    assert first.frame.equals(second.frame)


def test_risk_times_value_times_the_assumed_effect_is_what_an_action_brings(planned: Plan, trained: Trained) -> None:
    done = planned({**COUPON, "assumed_effect": 0.5}, budget=1e6, margin=0.4)
    scores = trained.shop.score().frame.select("user_id", "value_at_risk")
    both = done.treated.join(scores, on="user_id")
    expected = 0.4 * 0.5 * both["value_at_risk"] - 1.05
    assert both["expected_gain"].to_list() == pytest.approx(expected.to_list())
    assert both["why"].str.contains("effect assumed, not measured").all()
    assert any("assumed, not measured" in f.en for f in done.findings)


def test_a_larger_budget_never_brings_less(planned: Plan) -> None:
    points = planned().curve
    assert [p.budget for p in points] == sorted(p.budget for p in points)
    gains = [p.gain for p in points]
    assert all(b >= a * 0.999 for a, b in itertools.pairwise(gains))
    assert all(p.cost <= p.budget + 1e-9 for p in points)
    assert points[0].next_unit >= points[-2].next_unit > points[-1].next_unit == 0.0


def test_a_budget_of_nothing_plans_nothing_and_says_so(planned: Plan) -> None:
    done = planned(budget=0.0)
    assert (done.frame["action"] == "nothing").all()
    assert done.frame.height > 0
    assert any("the budget is 0" in f.en and "message" in f.en for f in done.findings)
    assert done.curve[0].next_unit > 0


def test_a_budget_below_the_cheapest_action_says_which_that_is(planned: Plan) -> None:
    done = planned(budget=0.01)
    assert done.treated.is_empty()
    assert any("pays for no action: the cheapest, message" in f.en for f in done.findings)


@pytest.mark.parametrize("budget", [-1.0, float("nan"), float("inf")])
def test_what_is_no_budget_is_refused(budget: float, trained: Trained) -> None:
    with pytest.raises(InputError, match="a budget is 0 or more"):
        plan(with_actions(trained.shop.config, MESSAGE), trained.shop.root, budget=budget)


def test_without_actions_an_example_is_shown(trained: Trained) -> None:
    with pytest.raises(InputError, match=r"\[\[action\]\]"):
        plan(trained.shop.config, trained.shop.root, budget=1.0)


def test_without_a_bundle_it_is_asked_for(small_shop: SmallShop) -> None:
    with pytest.raises(MissingBundleError):
        plan(with_actions(small_shop.config, MESSAGE), small_shop.root, budget=1.0)


@pytest.mark.parametrize("assignment", ["value", "thompson"])
def test_a_moment_at_which_nobody_is_asked_about_gives_an_empty_plan(
    assignment: str, trained: Trained, facts: PlanFacts
) -> None:
    """With all the trimmings: groups, exploration, the guard."""
    nobody = replace(
        facts, profile=facts.profile.head(0), behaviour=facts.behaviour.head(0), zones=facts.zones.head(0),
        held_out=facts.held_out[:0],
    )  # fmt: skip
    config = with_actions(trained.shop.config, COUPON, CALL, group="country", epsilon=0.1, assignment=assignment)
    done = plan_of_facts(config, catalogue_of(config), nobody, 50.0)
    assert done.frame.is_empty()
    assert done.cost == done.gain == 0.0
    assert any("nobody is eligible" in f.en for f in done.findings)
    assert done.sections()


def test_an_action_for_nobody_names_its_condition(planned: Plan) -> None:
    done = planned(MESSAGE, {**CALL, "who": "orders > 100000"})
    assert any("its condition `orders > 100000` holds for none" in f.en for f in done.findings)
    assert done.lines[1].possible == 0


def test_an_unknown_column_is_answered_with_the_nearest(planned: Plan) -> None:
    with pytest.raises(ConfigError, match="did you mean `value_at_risk`"):
        planned({**CALL, "who": "value_at_rsk > 5"})
    with pytest.raises(ConfigError, match="did you mean `country`"):
        planned(group="contry")


def test_an_action_of_which_nothing_is_known_is_given_to_nobody(planned: Plan) -> None:
    done = planned({"name": "letter", "contact_cost": 0.1})
    assert done.treated.is_empty()
    assert any("nothing is known or assumed of the action's effect" in f.en for f in done.findings)


def test_the_global_holdout_gets_nothing(planned: Plan, copied: Path) -> None:
    done = planned(budget=1e6, root=copied, campaign={"holdout": 0.3})
    kept = is_held_out(done.frame["user_id"], 0.3, workspace_secret(copied / ".ebbtide"))
    held = done.frame.filter(pl.Series(kept))
    assert held.height > 0
    assert (held["action"] == "nothing").all()
    assert held["why"].str.contains("global holdout").all()
    assert done.treated.height > 0


def rows(schema: dict[str, Any], users: pl.Series, **values: Any) -> pl.DataFrame:
    told = {"user_id": users, **{c: [v] * len(users) for c, v in values.items()}}
    return pl.DataFrame({c: told.get(c, [None] * len(users)) for c in schema}, schema=schema)


def test_only_who_consented_is_addressed(planned: Plan, copied: Path, trained: Trained) -> None:
    users = trained.shop.score().frame["user_id"].sort()
    yes, late = users[:40], users[40:60]
    lake = Lake.open(copied / ".ebbtide" / "lake")
    given = {"purpose": "marketing", "granted": True}
    append_rows(lake, "consents", rows(CONSENT_COLUMNS, yes, valid_from=UNTIL, **given), ["c1"])
    append_rows(lake, "consents", rows(CONSENT_COLUMNS, late, valid_from=UNTIL + timedelta(days=1), **given), ["c2"])
    done = planned({**MESSAGE, "consent": "marketing", "assumed_effect": 0.9}, budget=1e6, root=copied)
    assert done.treated.height > 0
    assert set(done.treated["user_id"]) <= set(yes)
    assert done.lines[0].kept_back["consent"] == len(users) - 40


def test_who_was_just_contacted_waits(planned: Plan, copied: Path, trained: Trained) -> None:
    users = trained.shop.score().frame["user_id"].sort()
    lake, moment = Lake.open(copied / ".ebbtide" / "lake"), UNTIL - timedelta(days=2)
    shown = {"campaign_id": "c", "action": "call", "occurred_at": moment, "ingested_at": moment}
    append_rows(lake, "exposures", rows(EXPOSURE_COLUMNS, users[:30], **shown), ["e1"])
    tomorrow = shown | {"occurred_at": UNTIL + timedelta(days=1)}
    append_rows(lake, "exposures", rows(EXPOSURE_COLUMNS, users[30:60], **tomorrow), ["e2"])
    done = planned({**MESSAGE, "cooldown": "3d", "assumed_effect": 0.9}, budget=1e6, root=copied, max_contacts=0)
    assert not set(done.treated["user_id"]) & set(users[:30])
    assert set(done.treated["user_id"]) & set(users[30:60])


def test_a_call_in_the_night_waits_for_the_morning_or_is_not_made(planned: Plan) -> None:
    """UNTIL is a midnight; all live where it is summer time, two hours ahead: 09:00 there is 07:00."""
    late = planned({**CALL, "quiet": "20:00-09:00", "deadline": {"low": "2d", "medium": "2d", "high": "2d"}})
    assert late.treated.height > 0
    assert set(late.treated["not_before"]) == {UNTIL + timedelta(hours=7)}
    assert set(late.treated["deadline"]) == {UNTIL + timedelta(days=2)}
    hurried = planned({**CALL, "quiet": "20:00-09:00", "deadline": {"low": "6h", "medium": "6h", "high": "6h"}})
    assert hurried.treated.is_empty()
    assert any("quiet hours last until after the deadline" in f.en for f in hurried.findings)


def test_groups_get_their_shares(planned: Plan) -> None:
    done = planned(budget=40.0, group="country", min_share=0.1, max_share=0.6)
    assert not any("min_share" in f.en for f in done.findings)
    short = planned(CALL, budget=8.0, group="country", min_share=0.5)
    assert any("min_share = 0.5 cannot be met" in f.en for f in short.findings)


def test_exploration_is_logged(planned: Plan) -> None:
    done = planned(epsilon=0.4, budget=200.0)
    assert ((done.frame["propensity"] > 0) & (done.frame["propensity"] <= 1)).all()
    assert (done.frame["propensity"] < 0.5).any()
    assert done.frame["cost"].sum() <= 200.0
    assert done.frame["why"].str.contains("left to chance").any()
    assert any("customers are left to chance" in f.en for f in done.findings)


def test_thompson_sampling_plans_within_the_budget_and_logs_chances(planned: Plan) -> None:
    """The coupon has no assumed effect: that is no reason not to try it."""
    blank = {k: v for k, v in COUPON.items() if k != "assumed_effect"}
    done = planned(MESSAGE, blank, CALL, budget=60.0, assignment="thompson")
    assert 0 < done.frame["cost"].sum() <= 60.0
    assert ((done.frame["propensity"] > 0) & (done.frame["propensity"] <= 1)).all()
    assert done.frame["propensity"].n_unique() > 10
    assert {line.effect for line in done.lines} == {"learnt"}
    assert any("Thompson sampling" in f.en for f in done.findings)
    assert done.frame.equals(planned(MESSAGE, blank, CALL, budget=60.0, assignment="thompson").frame)


def test_caution_without_measurements_says_that_it_did_nothing(planned: Plan) -> None:
    assert any("cautious needs measured effects" in f.en for f in planned(cautious=True).findings)


def test_nothing_of_the_future_changes_a_plan(
    planned: Plan, trained: Trained, sim_log: pl.DataFrame, open_shop: OpenShop
) -> None:
    past = sim_log.filter((pl.col("occurred_at") <= UNTIL) & (pl.col("ingested_at") <= UNTIL))
    other = open_shop(past, buckets=3).borrow(trained.shop)
    here = planned(root=trained.shop.root)
    assert here.frame.equals(planned(root=other.root).frame)
    assert here.frame.equals(planned().frame)


def test_a_plan_tells_itself_in_both_languages_and_as_json(planned: Plan) -> None:
    done = planned()
    for section in done.sections():
        assert all(line.en and line.zh for line in (*section.lines, *section.columns))
    told = json.loads(json.dumps(done.to_json()))
    assert told["treated"] == done.treated.height
    assert told["cost"] <= told["budget"]
    assert {a["name"] for a in told["actions"]} == {"message", "coupon", "call"}
