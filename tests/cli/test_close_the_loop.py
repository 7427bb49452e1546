"""The commands of `docs/howto/close-the-loop.md`, in their order, on a shop whose campaign works."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.cli.conftest import Answer, make_shop

from ebbtide.actions.campaign import Campaigns

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "close-the-loop.md"
NOW = datetime(2024, 6, 10, tzinfo=UTC)
KEPT = 0.6
"""Share of the treated whom the coupon brings back."""
ACTIONS = """
[[action]]
name = "coupon"
kind = "coupon"
contact_cost = 0.05
value = 1.0
assumed_effect = 0.2

[[action]]
name = "letter"
contact_cost = 0.5
assumed_effect = 0.01
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Filled by the first test: what each command answered, by its number."""
    return {"folder": tmp_path_factory.mktemp("loop") / "shop"}


def commands() -> Iterator[list[str]]:
    for block in re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        yield from (shlex.split(line)[1:] for line in block.splitlines())


def open_shop(folder: Path) -> pl.DataFrame:
    """The shop as it was known NOW; out: what is still to come."""
    make_shop(folder)
    toml = folder / "ebbtide.toml"
    toml.write_text(toml.read_text(encoding="utf-8") + ACTIONS, encoding="utf-8")
    (folder / ".ebbtide").mkdir()
    (folder / ".ebbtide" / "assignment.secret").write_bytes(b"always the same draw")
    file = folder / "data" / "orders.csv"
    orders = pl.read_csv(file, infer_schema=False)
    past = pl.col("order_date") <= f"{NOW:%Y-%m-%d %H:%M:%S}"
    orders.filter(past).write_csv(file)
    return orders.filter(~past & pl.col("order_date").str.starts_with("2024"))


def live_on(folder: Path, coming: pl.DataFrame) -> None:
    """What would have come anyway, and one more order of those whom the coupon moved."""
    drawn = Campaigns(folder / ".ebbtide" / "campaigns").read("spring", "assigned").filter(arm="treatment")
    moved = drawn.filter(pl.Series(np.random.default_rng(7).random(drawn.height) < KEPT))
    more = moved.select(
        customer="user_id",
        order_date=pl.lit(f"{NOW + timedelta(days=12):%Y-%m-%d %H:%M:%S}"),
        kind=pl.lit("order"),
        receipt=pl.lit("back-") + pl.col("user_id"),
        article=pl.lit("a-1"),
        amount=pl.lit("20.0"),
    )
    pl.concat([coming, more]).write_csv(folder / "data" / "after.csv")


def test_the_documented_round_ends_with_a_plan_that_was_measured(
    told: dict[str, Any], answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = told["folder"]
    coming = open_shop(folder)
    monkeypatch.chdir(folder)
    answer("ingest")
    for words in commands():
        if words[0] == "ingest":
            live_on(folder, coming)
        quick = ["--learner", "odds"] if words[0] == "uplift" else []
        told.setdefault(words[0], []).append(answer(*words, *quick))
    first, second = ({line["name"]: line for line in p["actions"]} for p in told["plan"])
    assert {name: line["effect"] for name, line in first.items()} == {"coupon": "assumed", "letter": "assumed"}
    assert {name: line["effect"] for name, line in second.items()} == {"coupon": "combined", "letter": "assumed"}
    assert second["coupon"]["users"] > 0


def test_effect_and_uplift_tell_the_same_and_what_was_planted(told: dict[str, Any]) -> None:
    """Both look at the same customers: who would have left anyway times the share that the coupon brings back."""
    (effect,), (learnt,) = told["effect"], told["uplift"]
    retained = next(o for o in effect["outcomes"] if o["name"] == "retained")
    planted = KEPT * (1 - retained["plain"]["control_mean"])
    assert retained["adjusted"]["low"] > 0
    assert retained["adjusted"]["low"] <= planted <= retained["adjusted"]["high"]
    line = learnt["effects"]["coupon"]
    assert abs(line["average"] - planted) < 3 * line["average_error"]


def test_the_plans_gain_is_mostly_what_was_measured_not_what_was_assumed(told: dict[str, Any]) -> None:
    plan = pl.read_csv(told["folder"] / "plan.csv")
    coupons = plan.filter(action="coupon")
    assert coupons["why"].str.contains("(effect measured, combined with what was assumed)", literal=True).all()
    (weight,) = re.findall(
        r"what the measurement counts: coupon (\d+)%", " ".join(f["en"] for f in told["plan"][1]["findings"])
    )
    assert int(weight) > 50
    assert told["campaign"][-1]["treated"] > 0
