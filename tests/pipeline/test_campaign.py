"""Campaigns from the draw to the verdict, on a shop whose effect is planted by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ebbtide.actions.campaign import Campaigns
from ebbtide.actions.catalogue import action_named
from ebbtide.core.config import Config, parse_config
from ebbtide.core.errors import DataError, InputError, MissingBundleError
from ebbtide.events.lake import Lake, lake_folder
from ebbtide.pipeline.campaign import Ask, Started, list_campaigns, start_campaign, stop_campaign
from ebbtide.pipeline.campaign_export import export_campaign
from ebbtide.pipeline.campaign_plan import candidates_of_action
from ebbtide.pipeline.campaign_results import take_results
from ebbtide.pipeline.effect import effect, effects
from ebbtide.pipeline.effect_policy import policy_effect
from ebbtide.pipeline.ingest import ingest

AS_OF = datetime(2024, 5, 1, tzinfo=UTC)
END = AS_OF + timedelta(days=31)
USERS = 900


@dataclass
class CampaignShop:
    """A shop of users who ordered in April; May is still to come. `home` holds plans and results files."""

    root: Path
    config: Config

    def start(self, name: str = "spring", **ask: Any) -> Started:
        wanted = {"as_of": AS_OF, **ask}
        if not wanted.keys() & {"action", "plan"}:
            wanted["plan"] = self.plan()
        return start_campaign(self.config, self.root, name, Ask(**wanted))

    def plan(self, users: int = USERS, *, cost: str = "2.0", first: int = 0, name: str = "plan.csv") -> Path:
        rows = [f"u{n:04d},{'coupon' if n % 2 else 'call'},{cost}" for n in range(first, first + users)]
        return self.write(name, "\n".join(["user_id,action,cost", *rows]))

    def write(self, name: str, text: str) -> Path:
        file = self.root / name
        file.write_text(text + "\n", encoding="utf-8")
        return file

    def assigned(self, name: str = "spring") -> pl.DataFrame:
        return self.campaigns.read(name, "assigned")

    @property
    def campaigns(self) -> Campaigns:
        return Campaigns(self.root / ".ebbtide" / "campaigns")

    @property
    def lake(self) -> Lake:
        return Lake.open(lake_folder(self.root))

    def live(self, *, stay: float, effect: float = 0.0, name: str = "spring", until: datetime = END) -> None:
        """May happens: control stays with one chance, treatment with another; each order is worth 30."""
        rng = np.random.default_rng(11)
        drawn = self.assigned(name)
        chance = stay + effect * (drawn["arm"] == "treatment").to_numpy()
        kept = drawn["user_id"].to_numpy()[rng.random(drawn.height) < chance]
        rows = [
            f"{u},2024-05-{d:02d} 10:00:00,order,30" for u, d in zip(kept, rng.integers(2, 29, len(kept)), strict=True)
        ]
        last = f"watch,{until:%Y-%m-%d} 00:00:00,page_view,"
        self.write("data/may.csv", "\n".join(["user,time,kind,value", *rows, last]))
        ingest(self.config, self.root, now=END + timedelta(days=1))


@pytest.fixture
def make_campaign_shop(tmp_path: Path) -> Callable[..., CampaignShop]:
    def make(**campaign: Any) -> CampaignShop:
        raw = {
            "shop": {"currency": "EUR"},
            "source": [{"path": "data/*.csv", "columns": {"user_id": "user", "occurred_at": "time", "type": "kind", "value": "value"}}],
            "churn": {"outcome": "order", "horizon": "30d", "eligible": "order in 90d"},
            "campaign": {"holdout": 0.0, "control": 0.3, **campaign},
            "action": [{"name": "coupon", "contact_cost": 2.0, "who": ""}],
        }  # fmt: skip
        (tmp_path / "data").mkdir()
        (tmp_path / ".ebbtide").mkdir()
        (tmp_path / ".ebbtide" / "assignment.secret").write_bytes(b"always the same draw")
        shop = CampaignShop(tmp_path, parse_config(raw, environ={}))
        rng = np.random.default_rng(5)
        rows = [f"u{n:04d},2024-04-{d:02d} 09:00:00,order,20" for n, d in enumerate(rng.integers(1, 31, USERS + 100))]
        shop.write("data/april.csv", "\n".join(["user,time,kind,value", *rows, "watch,2024-05-01 00:00:00,page_view,"]))
        ingest(shop.config, shop.root, now=END)
        return shop

    return make


@pytest.fixture
def shop(make_campaign_shop: Callable[..., CampaignShop]) -> CampaignShop:
    return make_campaign_shop()


def test_the_draw_is_written_down_with_its_chances_and_shown_as_exposures(shop: CampaignShop) -> None:
    started = shop.start()
    drawn = shop.assigned()
    assert (started.treated, started.control) == (
        (drawn["arm"] == "treatment").sum(),
        (drawn["arm"] == "control").sum(),
    )
    assert started.treated + started.control == USERS
    assert started.cost == 2.0 * started.treated
    shown = shop.lake.read_table("exposures").join(drawn, on="user_id")
    control = shown.filter(pl.col("arm") == "control")
    assert set(control["action"]) == {"nothing"}
    assert set(control["propensity"]) == {0.3}
    assert set(shown.filter(pl.col("arm") == "treatment")["action"]) == {"coupon", "call"}
    assert set(shown["campaign_id"]) == {"spring"}


def test_who_joins_later_is_added_and_nobody_changes(shop: CampaignShop) -> None:
    shop.start()
    first = shop.assigned()
    again = shop.start(plan=shop.plan(USERS + 50))
    assert (again.before, again.treated + again.control) == (USERS, 50)
    assert shop.assigned().head(USERS).equals(first)
    assert shop.lake.read_table("exposures").height == USERS + 50


def test_the_same_start_twice_draws_nobody_twice(shop: CampaignShop) -> None:
    shop.start()
    again = shop.start()
    assert (again.treated, again.control, shop.assigned().height) == (0, 0, USERS)
    assert shop.lake.read_table("exposures").height == USERS


def test_the_plans_chance_is_part_of_the_propensity(shop: CampaignShop) -> None:
    plan = shop.write(
        "p.csv", "\n".join(["user_id,action,cost,propensity", *(f"u{n:04d},call,1,0.5" for n in range(200))])
    )
    shop.start(plan=plan)
    told = shop.assigned().group_by("arm").agg(pl.col("propensity").unique()).sort("arm")
    assert told["propensity"].to_list() == [[0.3], [0.35]]


def test_the_holdout_never_takes_part(make_campaign_shop: Callable[..., CampaignShop]) -> None:
    shop = make_campaign_shop(holdout=0.2)
    one = shop.start("one")
    other = shop.start("two")
    assert one.left_out["holdout"] == other.left_out["holdout"] > 100
    assert set(shop.assigned("one")["user_id"]) == set(shop.assigned("two")["user_id"])


def test_campaigns_of_one_layer_share_no_customers(shop: CampaignShop) -> None:
    shop.start("one", plan=shop.plan(400), layer="coupons")
    other = shop.start("two", plan=shop.plan(600), layer="coupons")
    assert other.left_out["elsewhere"] == 400
    stop_campaign(shop.root, "one")
    assert shop.start("three", plan=shop.plan(400), layer="coupons").left_out["elsewhere"] == 0


def test_unknown_customers_are_left_out_and_counted(shop: CampaignShop) -> None:
    assert shop.start(plan=shop.plan(USERS + 300)).left_out["unknown"] == 200


def test_the_budget_ends_the_draw(shop: CampaignShop) -> None:
    started = shop.start(budget=101.0)
    assert started.treated == 50
    assert started.left_out["budget"] == USERS - started.treated - started.control


@pytest.mark.parametrize("budget", [0.0, -5.0, 1.99])
def test_a_budget_below_one_action_is_refused(shop: CampaignShop, budget: float) -> None:
    with pytest.raises(InputError, match="pays for no action: the cheapest costs 2") as refused:
        shop.start(budget=budget)
    assert "不足以支付任何动作" in refused.value.text.zh
    assert list_campaigns(shop.root).campaigns == ()


@pytest.mark.parametrize("control", [0.0, 1.0, -0.2])
def test_a_campaign_without_control_is_refused(shop: CampaignShop, control: float) -> None:
    with pytest.raises(InputError, match="needs a control group that gets nothing") as refused:
        shop.start(control=control)
    assert "对照组" in refused.value.text.zh


def test_a_draw_that_leaves_an_arm_empty_is_refused_and_nothing_is_written(shop: CampaignShop) -> None:
    with pytest.raises(DataError, match="both arms need somebody"):
        shop.start(plan=shop.plan(1))
    assert list_campaigns(shop.root).campaigns == ()
    assert shop.lake.read_table("exposures").is_empty()


def test_all_faults_of_a_plan_are_told_at_once(shop: CampaignShop) -> None:
    """A user in two arms, missing costs, an impossible chance, a row without user, no moment: counts, never values."""
    rows = [
        "user_id,action,cost,propensity,deadline",
        "u0001,call,1,,",
        "u0001,coupon,1,,",
        "u0002,call,,,",
        "u0003,call,1,0,",
        ",call,1,,",
        "u0004,call,1,,some day",
    ]
    with pytest.raises(InputError) as refused:
        shop.start(plan=shop.write("bad.csv", "\n".join(rows)))
    text = refused.value.text
    for said in (
        "2 rows plan different things",
        "1 rows have no cost",
        "1 rows have a propensity",
        "1 rows have no user_id",
        "1 rows have a `not_before` or `deadline` that is no moment",
    ):
        assert said in text.en
    assert "u0001" not in text.en + text.zh


def test_a_plan_without_costs_names_the_column(shop: CampaignShop) -> None:
    with pytest.raises(InputError, match="cost"):
        shop.start(plan=shop.write("bad.csv", "user_id,action\nu0001,call"))


def test_a_plan_of_nothing_plans_for_nobody(shop: CampaignShop) -> None:
    with pytest.raises(DataError, match="plans an action for nobody"):
        shop.start(plan=shop.write("none.csv", "user_id,action,cost\nu0001,nothing,0"))


def test_a_running_campaign_keeps_its_shares(shop: CampaignShop) -> None:
    shop.start()
    with pytest.raises(InputError, match="drawn the same way"):
        shop.start(control=0.5)
    stop_campaign(shop.root, "spring")
    with pytest.raises(InputError, match="has been stopped"):
        shop.start()


@pytest.mark.parametrize(("ask", "match"), [
    ({"plan": None}, "either --plan FILE"),
    ({"action": "nothing"}, "doing nothing is what the control group gets"),
    ({"action": "cupon"}, "did you mean `coupon`"),
])  # fmt: skip
def test_wrong_use_says_what_to_do(shop: CampaignShop, ask: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        shop.start(**ask)


def test_a_name_that_is_no_folder_is_refused(shop: CampaignShop) -> None:
    with pytest.raises(InputError, match="no name for a campaign"):
        shop.start("../spring")


def test_an_action_for_all_needs_a_model(shop: CampaignShop) -> None:
    with pytest.raises(MissingBundleError):
        shop.start(action="coupon")


def test_a_planted_effect_is_found_and_covered(shop: CampaignShop) -> None:
    shop.start()
    shop.live(stay=0.4, effect=0.2)
    told = effect(shop.config, shop.root, "spring")
    retained = told.outcome("retained")
    assert retained is not None
    assert (retained.low or 0) <= 0.2 <= (retained.high or 0)
    assert retained.low is not None
    assert retained.low > 0
    assert told.headline.en == "works"
    assert told.verdict[0].en.startswith("it works")
    net = told.outcome("net")
    assert net is not None
    assert net.value == pytest.approx((told.outcome("value").value or 0) - 2.0, abs=0.2)  # type: ignore[union-attr]


def test_no_effect_is_called_none_and_says_what_would_have_been_found(shop: CampaignShop) -> None:
    shop.start()
    shop.live(stay=0.5)
    told = effect(shop.config, shop.root, "spring")
    assert told.headline.en == "no effect told"
    assert "would have been found four times out of five" in told.verdict[0].en
    assert told.guardrails


def test_outcomes_count_only_when_their_window_has_closed(shop: CampaignShop) -> None:
    shop.start()
    told = effect(shop.config, shop.root, "spring")
    assert (told.measured, told.waiting) == ((0, 0), USERS)
    assert told.verdict[0].en.startswith("too early")
    assert told.outcomes == ()


def test_while_some_wait_the_interval_for_every_look_decides(shop: CampaignShop) -> None:
    """Half joined a day later: at the day on which the first half is complete, the others still wait."""
    shop.start(plan=shop.plan(450))
    shop.start(plan=shop.plan(900), as_of=AS_OF + timedelta(days=1))
    shop.live(stay=0.5, effect=0.1, until=AS_OF + timedelta(days=30))
    told = effect(shop.config, shop.root, "spring")
    assert told.waiting == 450
    retained = told.outcomes[0]
    assert retained.always.low is not None
    assert retained.adjusted.low is not None
    assert retained.always.low < retained.adjusted.low
    assert "still inside their window" in told.verdict[0].en


def test_an_arm_that_lost_users_is_a_mismatch_and_nothing_is_told(shop: CampaignShop) -> None:
    """The results leave out half of control."""
    shop.start()
    shop.live(stay=0.4)
    drawn = shop.assigned()
    told = drawn.filter((pl.col("arm") == "treatment") | (pl.col("bucket") % 2 == 0))
    shop_file = shop.write("r.csv", "\n".join(["user_id,retained", *(f"{u},1" for u in told["user_id"])]))
    take_results(shop.root, "spring", shop_file)
    with pytest.raises(DataError, match="sample ratio mismatch") as refused:
        effect(shop.config, shop.root, "spring")
    assert "样本比例失配" in refused.value.text.zh
    assert effects(shop.config, shop.root).unread[0][0] == "spring"


def test_results_of_a_file_take_the_place_of_the_events(shop: CampaignShop) -> None:
    shop.start()
    shop.live(stay=0.4)
    rows = [f"{u},{int(a == 'treatment')}" for u, a in shop.assigned().select("user_id", "arm").iter_rows()]
    taken = take_results(shop.root, "spring", shop.write("r.csv", "\n".join(["user_id,retained", *rows])))
    assert (taken.read, taken.accepted, taken.repeated) == (USERS, USERS, 0)
    retained = effect(shop.config, shop.root, "spring").outcome("retained")
    assert retained is not None
    assert retained.value == pytest.approx(1.0)


def test_results_that_come_twice_count_once(shop: CampaignShop) -> None:
    shop.start()
    shop.live(stay=0.4)
    file = shop.write(
        "r.csv", "user_id,occurred_at,value\nu0001,2024-05-05,10\nu0001,2024-05-06,10\nu0001,2024-05-06,10"
    )
    first = take_results(shop.root, "spring", file)
    again = take_results(shop.root, "spring", file)
    assert (first.accepted, first.repeated) == (2, 1)
    assert (again.accepted, again.repeated) == (0, 3)
    assert shop.campaigns.read("spring", "results")["value"].sum() == 20


def test_every_bad_row_of_results_is_kept_with_its_reason(shop: CampaignShop) -> None:
    shop.start()
    drawn = shop.assigned()
    treated, control = (drawn.filter(pl.col("arm") == a)["user_id"][0] for a in ("treatment", "control"))
    rows = [
        "user_id,occurred_at,value,arm,action",
        f"{treated},2024-04-30,10,,",
        f"{treated},2024-05-01,10,,",
        f"{treated},2024-06-01,10,,",
        f"{treated},2024-05-02,10,control,",
        f"{treated},2024-05-02,ten,,",
        f"{treated},whenever,10,,",
        "stranger,2024-05-02,10,,",
        ",2024-05-02,10,,",
        f"{control},2024-05-02,10,control,coupon",
    ]
    taken = take_results(shop.root, "spring", shop.write("r.csv", "\n".join(rows)))
    assert taken.refused == {
        "after_window": 1,
        "bad_value": 2,
        "before_assignment": 2,
        "no_user": 1,
        "not_in_campaign": 1,
        "two_arms": 1,
    }
    assert (taken.read, taken.accepted, taken.control_treated) == (9, 1, 1)
    assert shop.campaigns.read("spring", "refused").height == 8
    lines = [line for s in taken.sections() for line in s.lines]
    assert any("another arm than the one drawn" in t.en for t in lines)
    assert any("早于分组" in t.zh for t in lines)


def test_a_control_that_was_treated_anyway_stays_control_and_is_told(shop: CampaignShop) -> None:
    shop.start()
    shop.live(stay=0.4)
    control = shop.assigned().filter(pl.col("arm") == "control")["user_id"].head(3)
    rows = [f"{u},coupon" for u in control]
    take_results(shop.root, "spring", shop.write("r.csv", "\n".join(["user_id,action", *rows])))
    told = effect(shop.config, shop.root, "spring")
    assert told.control_treated == 3
    assert told.measured[1] == (shop.assigned()["arm"] == "control").sum()
    assert any("were treated anyway" in line.en for s in told.sections() for line in s.lines)


def test_a_results_file_without_results_names_the_columns(shop: CampaignShop) -> None:
    shop.start()
    with pytest.raises(InputError, match="has no result"):
        take_results(shop.root, "spring", shop.write("r.csv", "user_id,colour\nu0001,red"))


def test_the_export_holds_the_treated_and_nobody_of_control(shop: CampaignShop) -> None:
    shop.start()
    told = export_campaign(shop.root, "spring", shop.root / "out" / "list.csv")
    written = pl.read_csv(told.out, schema_overrides={"user_id": pl.String})
    drawn = shop.assigned()
    assert set(written["user_id"]) == set(drawn.filter(pl.col("arm") == "treatment")["user_id"])
    assert (told.rows, told.kept_back) == (written.height, drawn.height - written.height)
    assert written["assigned_at"][0] == "2024-05-01T00:00:00Z"


def test_segment_events_carry_ids_that_stay_the_same(shop: CampaignShop) -> None:
    shop.start()
    files = [export_campaign(shop.root, "spring", shop.root / f"{n}.jsonl").out for n in ("a", "b")]
    one, other = ([json.loads(line) for line in f.read_text(encoding="utf-8").splitlines()] for f in files)
    assert one == other
    assert len({e["messageId"] for e in one}) == len(one)
    assert one[0].keys() == {"type", "event", "messageId", "userId", "timestamp", "properties"}
    assert (one[0]["type"], one[0]["properties"]["campaign_id"]) == ("track", "spring")


def test_the_export_says_when_to_contact(shop: CampaignShop) -> None:
    rows = [
        f"u{n:04d},coupon,2.0,{'2024-05-02T07:00:00Z' if n % 2 else ''},{'2024-05-03 00:00:00' if n % 3 else ''}"
        for n in range(USERS)
    ]
    shop.start(plan=shop.write("when.csv", "\n".join(["user_id,action,cost,not_before,deadline", *rows])))
    told = export_campaign(shop.root, "spring", shop.root / "list.csv").out
    events = export_campaign(shop.root, "spring", shop.root / "list.jsonl").out.read_text(encoding="utf-8")
    written = pl.read_csv(told, schema_overrides={"user_id": pl.String}).rows_by_key("user_id", named=True, unique=True)
    for event in map(json.loads, events.splitlines()):
        number, row = int(event["userId"][1:]), written[event["userId"]]
        earliest = "2024-05-02T07:00:00Z" if number % 2 else None
        latest = "2024-05-03T00:00:00Z" if number % 3 else None
        assert (row["not_before"], row["deadline"]) == (earliest, latest)
        assert (event["properties"].get("not_before"), event["properties"].get("deadline")) == (earliest, latest)


def test_an_action_for_all_waits_for_the_end_of_quiet_hours_where_each_customer_lives() -> None:
    raw = {"action": [{"name": "call", "contact_cost": 4.0, "quiet": "21:00-08:00", "deadline": {"high": "2d"}}]}
    action = action_named(parse_config(raw, environ={}), "call")
    profile = pl.DataFrame(
        {"user_id": ["a", "b"], "eligible": True, "churn_probability": [0.9, 0.2], "band": ["high", "low"]}
    )
    found = candidates_of_action(profile, action, "", lambda _: pl.Series(["UTC", "Asia/Tokyo"]), AS_OF)
    assert found["not_before"].to_list() == [AS_OF + timedelta(hours=8), AS_OF]
    assert found["deadline"].to_list() == [AS_OF + timedelta(days=2), None]


def test_an_unknown_format_of_export_is_refused(shop: CampaignShop) -> None:
    shop.start()
    with pytest.raises(InputError, match="for Segment-style events"):
        export_campaign(shop.root, "spring", shop.root / "list.xlsx")


def test_many_campaigns_stand_beside_each_other(shop: CampaignShop) -> None:
    assert effects(shop.config, shop.root).to_json()["campaigns"] == []
    shop.start("one", plan=shop.plan(USERS))
    shop.start("two", plan=shop.plan(USERS))
    shop.live(stay=0.4, effect=0.25, name="one")
    report = effects(shop.config, shop.root)
    assert [e.name for e in report.effects] == ["one", "two"]
    assert report.moved() == ["one"]
    assert {g.by for g in report.groups} == {"action"}
    assert all(q is not None for q in report.q)
    assert json.dumps(report.to_json())
    assert "q is adjusted" in report.sections()[-1].lines[0].en


def test_what_is_promised_before_the_start_fits_the_arms(shop: CampaignShop) -> None:
    """No bundle: the base rate is that of April, when everybody ordered; so nothing varies."""
    promise = shop.start().promise
    assert (promise.rate, promise.explained, promise.detectable) == (1.0, 0.0, 0.0)


def test_the_policy_of_treating_everybody_is_worth_what_the_treated_brought(shop: CampaignShop) -> None:
    """Weights 1 / .7 on the treated and 0 on control: SNIPS is the treated mean."""
    shop.start()
    shop.live(stay=0.4, effect=0.2)
    told = policy_effect(shop.config, shop.root, "spring", shop.plan(name="all.csv"))
    retained = dict(told.values)["retained"]
    measured = effect(shop.config, shop.root, "spring").outcomes[0].plain
    assert retained.snips.value == pytest.approx(measured.treated_mean)
    assert retained.effective == pytest.approx(measured.treated)
    assert retained.weights_fit
    assert retained.dr.value == pytest.approx(0.6, abs=0.05)
    assert told.sections()[0].rows


def test_the_policy_of_nothing_is_worth_what_control_brought(shop: CampaignShop) -> None:
    shop.start()
    shop.live(stay=0.4, effect=0.2)
    nothing = shop.write("none.csv", "user_id,action\nu0001,nothing")
    retained = dict(policy_effect(shop.config, shop.root, "spring", nothing).values)["retained"]
    assert retained.snips.value == pytest.approx(
        effect(shop.config, shop.root, "spring").outcomes[0].plain.control_mean
    )


def test_a_policy_of_actions_that_nobody_could_have_drawn_is_refused(shop: CampaignShop) -> None:
    shop.start()
    shop.live(stay=0.4)
    other = shop.write("other.csv", "\n".join(["user_id,action", *(f"u{n:04d},parcel" for n in range(USERS))]))
    with pytest.raises(DataError, match="did not plan for these customers"):
        policy_effect(shop.config, shop.root, "spring", other)


def test_a_policy_for_which_too_few_were_drawn_is_refused(make_campaign_shop: Callable[..., CampaignShop]) -> None:
    shop = make_campaign_shop(effective_floor=400)
    shop.start()
    shop.live(stay=0.4)
    nothing = shop.write("none.csv", "user_id,action\nu0001,nothing")
    with pytest.raises(DataError, match="cannot answer for this policy"):
        policy_effect(shop.config, shop.root, "spring", nothing)


def test_chances_that_do_not_add_up_are_no_policy(shop: CampaignShop) -> None:
    shop.start()
    shop.live(stay=0.4)
    rows = ["user_id,action,propensity", "u0001,coupon,0.7", "u0001,call,0.7", "u0002,coupon,-1"]
    with pytest.raises(InputError, match=r"1 rows have no chance .* 1 users have chances that add up"):
        policy_effect(shop.config, shop.root, "spring", shop.write("p.csv", "\n".join(rows)))
