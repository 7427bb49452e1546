"""A plan with measured effects: combined with what is assumed, marked, and left alone where they do not fit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.pipeline.conftest import UNTIL, Trained
from tests.pipeline.test_plan import COUPON, MESSAGE, with_actions

from ebbtide.actions.calibrated import EffectLine
from ebbtide.actions.linear_effects import Linear
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.plan import plan
from ebbtide.pipeline.plan_report import PlanReport
from ebbtide.pipeline.profiles import profile_frame
from ebbtide.pipeline.uplift_store import UpliftModel, save_uplift

EFFECT, ERROR = 0.08, 0.02
ONLY_MEASURED = {name: value for name, value in COUPON.items() if name != "assumed_effect"}
Plan = Callable[..., PlanReport]


@pytest.fixture(scope="module")
def taught(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained shop in a folder of its own, where campaigns taught that a coupon keeps 8 in 100 of everybody."""
    root = Path(shutil.copytree(trained.shop.root, tmp_path_factory.mktemp("taught") / "shop"))
    save_uplift(Places(root), model_of(trained))
    return root


def model_of(trained: Trained, **changes: Any) -> UpliftModel:
    bundle, count = trained.bundle, len(trained.bundle.catalogue.names)
    zeros = (0.0,) * count
    flat = Linear(zeros, (1.0,) * count, 0.0, zeros, (0.0,), (zeros,), (0.5,), binary=True)
    made = UpliftModel(
        definition=bundle.definition, catalogue=bundle.catalogue, items=bundle.items, actions=("coupon",), effects=flat,
        lines=(EffectLine(0.0, EFFECT, 0.0, ERROR, 0.0),), money=None, money_lines=(), is_followed=False,
        verdict={"en": "", "zh": ""}, until=UNTIL, judged={},
    )  # fmt: skip
    return replace(made, **changes)


@pytest.fixture
def planned(trained: Trained, taught: Path) -> Plan:
    def make(root: Path = taught, **more: Any) -> PlanReport:
        actions = more.pop("actions", (MESSAGE, ONLY_MEASURED))
        config = with_actions(trained.shop.config, *actions, guard=False, **more)
        return plan(config, root, budget=1e6, as_of=UNTIL, language=more.get("language"))

    return make


def said(done: PlanReport) -> str:
    return " ".join(f.en for f in done.findings)


def test_the_gain_is_the_measured_effect_times_what_staying_is_worth(planned: Plan, trained: Trained) -> None:
    """By hand: 0.08 x margin x value at risk / probability, less the expected cost of 1.05."""
    profile = profile_frame(trained.shop.config, trained.shop.root, as_of=UNTIL).filter(
        pl.col("eligible") & pl.col("value_at_risk").is_not_null()
    )
    done = planned(margin=0.5)
    coupons = done.treated.filter(action="coupon").join(profile, on="user_id")
    staying = coupons["value_at_risk"] / coupons["churn_probability"]
    assert coupons.height > 50
    assert (coupons["expected_gain"] - (EFFECT * 0.5 * staying - 1.05)).abs().max() < 1e-9  # type: ignore[operator]


def test_each_action_is_marked_as_measured_or_assumed(planned: Plan) -> None:
    done = planned()
    assert {line.name: line.effect for line in done.lines} == {"message": "assumed", "coupon": "measured"}
    marks = {"coupon": "(effect measured)", "message": "(effect assumed, not measured)"}
    for action in (ONLY_MEASURED, MESSAGE):
        alone = planned(actions=(action,)).treated
        assert alone.height > 0
        assert alone["why"].str.contains(marks[str(action["name"])], literal=True).all()
    assert "the effect of coupon is measured" in said(done)
    assert "coupon: +8.0 points of who stays on average, at least +4.7 with 95 % confidence" in said(done)
    assert "the effect of message is assumed" in said(done)


def test_caution_counts_the_lower_end(planned: Plan) -> None:
    """One lower end for all: (0.08 - 1.645 x 0.02) / 0.08 of what the same customers would bring."""
    actions = ({**ONLY_MEASURED, "contact_cost": 0.0, "value": 0.0},)
    bold, careful = planned(actions=actions), planned(actions=actions, cautious=True)
    both = bold.treated.join(careful.treated, on="user_id")
    assert both.height == bold.treated.height > 0
    ratio = both["expected_gain_right"] / both["expected_gain"]
    assert ratio.to_list() == pytest.approx([1 - 1.6448536 * ERROR / EFFECT] * both.height)
    assert "lower end" in said(careful)
    assert "cautious needs measured effects" not in said(careful)


def test_an_assumption_and_a_measurement_count_by_their_precision(planned: Plan) -> None:
    """The surer the assumption is said to be, the less the measurement counts; both are told."""
    shares = []
    for error in (0.1, 1.0, 10.0):
        done = planned(actions=(COUPON,), assumed_error=error)
        assert {line.effect for line in done.lines} <= {"combined", "measured"}
        told = [f.en for f in done.findings if "what the measurement counts" in f.en]
        shares.append(float(told[0].rsplit("coupon ", 1)[1].rstrip("%")) if told else 100.0)
    assert shares[0] < shares[1] < shares[2]
    assert planned(actions=(COUPON,)).treated["why"].str.contains("combined with what was assumed").all()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"definition": {"horizon_days": 60.0}}, "another churn definition"),
        ({"until": UNTIL + timedelta(days=1)}, "they know what happened until"),
        ({"actions": ("voucher",)}, "actions that are not declared and are not used: voucher"),
    ],
)
def test_a_model_that_does_not_fit_is_left_alone_and_that_is_said(
    planned: Plan, trained: Trained, taught: Path, tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    root = Path(shutil.copytree(taught, tmp_path / "shop"))
    if "definition" in changes:
        changes = {"definition": replace(trained.bundle.definition, **changes["definition"])}
    save_uplift(Places(root), model_of(trained, **changes))
    done = planned(root, actions=(MESSAGE, COUPON))
    assert {line.effect for line in done.lines} == {"assumed"}
    assert why in said(done)
    shutil.rmtree(Places(root).uplift)
    without = planned(root, actions=(MESSAGE, COUPON))
    assert without.frame.equals(done.frame)
    assert why not in said(without)


def test_a_damaged_model_is_left_alone_and_that_is_said(planned: Plan, taught: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(taught, tmp_path / "shop"))
    file = Places(root).uplift / "uplift.json"
    file.write_bytes(file.read_bytes().replace(b"coupon", b"cannon"))
    done = planned(root, actions=(MESSAGE, COUPON))
    assert {line.effect for line in done.lines} == {"assumed"}
    assert "measured effects are not used" in said(done)


def test_an_action_that_does_harm_is_planned_for_nobody(
    planned: Plan, trained: Trained, taught: Path, tmp_path: Path
) -> None:
    """However cheap it is, and whatever was assumed of it, once the harm is measured sharply."""
    root = Path(shutil.copytree(taught, tmp_path / "shop"))
    save_uplift(Places(root), model_of(trained, lines=(EffectLine(0.0, -0.01, 0.0, 0.001, 0.0),)))
    done = planned(root, actions=({**COUPON, "contact_cost": 0.0, "value": 0.0},))
    assert done.treated.is_empty()
    assert "coupon: -1.0 points of who stays on average, at least -1.2 with 95 % confidence: it cannot be told" in said(
        done
    )
