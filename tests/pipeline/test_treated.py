"""Treated customers: left out of training, kept, or modelled as if nothing had been done; never a feature, never judged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.pipeline.conftest import UNTIL, OpenShop, SmallShop

from ebbtide.churn.labels import NEVER_US
from ebbtide.core.errors import DataError
from ebbtide.core.progress import silent
from ebbtide.core.windows import from_us, to_us
from ebbtide.events.lake import Lake
from ebbtide.events.tables import append_rows
from ebbtide.models.base import Rows
from ebbtide.models.exposures import Exposures, Rule
from ebbtide.models.registry import candidates
from ebbtide.models.undone import learnable
from ebbtide.pipeline.backtest import backtest
from ebbtide.pipeline.compare import compare
from ebbtide.pipeline.continuing import continue_training
from ebbtide.pipeline.rehearsal import rehearse
from ebbtide.pipeline.train import Prepared, prepare
from ebbtide.pipeline.treated import check_untreated, known_exposures

DAY = datetime(2024, 5, 1, tzinfo=UTC)
D = timedelta(days=1)


def _exposures(rows: list[tuple[str, datetime, str]]) -> pl.DataFrame:
    users, times, actions = (list(c) for c in zip(*rows, strict=True))
    return pl.DataFrame({"user_id": users, "occurred_at": times, "ingested_at": times, "action": actions}).with_columns(
        campaign_id=pl.lit("c"), propensity=pl.lit(0.5)
    )


def _lake(folder: Path, rows: list[tuple[str, datetime, str]], known: datetime | None = None) -> Lake:
    lake = Lake.create(folder / "lake", 1)
    given = _exposures(rows)
    append_rows(lake, "exposures", given if known is None else given.with_columns(ingested_at=pl.lit(known)), [])
    return lake


def test_control_is_no_exposure_and_an_action_counts_from_when_it_was_known(tmp_path: Path) -> None:
    lake = _lake(tmp_path, [("a", DAY + D, "call"), ("b", DAY + D, "nothing")], known=DAY + 9 * D)
    assert known_exposures(lake, DAY + 8 * D, "leave_out") is None
    found = known_exposures(lake, DAY + 9 * D, "leave_out")
    assert found is not None
    assert found.kinds == ("call",)
    assert (from_us(int(found.at_us[0])), from_us(int(found.known_us[0]))) == (DAY + D, DAY + 9 * D)


@pytest.mark.parametrize("rule", ["leave_out", "model"])
def test_a_shop_without_untreated_is_told(small_shop: SmallShop, rule: Rule) -> None:
    rows = prepare(small_shop.config, small_shop.root, until=UNTIL, progress=silent).rows
    at = np.unique(rows.as_of_us) + 1
    user, moment = (a.ravel() for a in np.meshgrid(np.unique(rows.user), at, indexing="ij"))
    everybody = Exposures(user, moment, moment, np.zeros(len(user), np.int64), ("call",), rule)
    with pytest.raises(DataError, match="set \\[train\\] treated to keep"):
        check_untreated(replace(rows, exposures=everybody), UNTIL)
    check_untreated(replace(rows, exposures=replace(everybody, rule="keep")), UNTIL)


@pytest.fixture(scope="module")
def treated_shop(sim_log: pl.DataFrame, open_shop: OpenShop) -> SmallShop:
    """The small shop, in which every third user got a call at some time, and control users got nothing."""
    shop = open_shop(sim_log)
    users = sim_log["user_id"].unique().sort()
    rows = [(u, UNTIL - (20 + n % 90) * D, "call" if n % 3 == 0 else "nothing") for n, u in enumerate(users)]
    append_rows(shop.lake, "exposures", _exposures(rows), [])
    return shop


def _ready(shop: SmallShop) -> Prepared:
    return prepare(shop.config, shop.root, until=UNTIL, progress=silent)


def _learnt(shop: SmallShop) -> Rows:
    ready = _ready(shop)
    return learnable(ready.rows, ready.until_us, seed=0)


def test_left_out_rows_are_the_treated_and_all_others_stay_as_they_are(
    treated_shop: SmallShop, small_shop: SmallShop
) -> None:
    plain, left = _ready(small_shop).rows, _learnt(treated_shop.with_train(treated="leave_out"))
    untreated = _ready(treated_shop).rows.treated_us() == NEVER_US
    assert plain.exposures is None
    assert (~untreated).sum() > 50
    assert np.array_equal(left.X, plain.X[untreated], equal_nan=True)
    assert np.array_equal(left.y, plain.y[untreated])
    assert np.array_equal(_learnt(treated_shop.with_train(treated="keep")).y, plain.y)


def test_exposures_are_no_feature_under_any_rule(treated_shop: SmallShop, small_shop: SmallShop) -> None:
    plain = _ready(small_shop).rows
    for rule in ("keep", "leave_out", "model"):
        rows = _ready(treated_shop.with_train(treated=rule)).rows
        assert rows.names == plain.names
        assert np.array_equal(rows.X, plain.X, equal_nan=True)


def test_figures_are_of_the_untreated_under_every_rule(treated_shop: SmallShop) -> None:
    """The members judged are the same, and the report says how many are not."""
    judged = set()
    for rule in ("keep", "leave_out", "model"):
        report = treated_shop.with_train(treated=rule, model="recency").train()
        test, past = report.verdict.test, report.verdict.backtest
        assert test is not None
        assert test.users == past[-1].users
        assert report.treated.rule == rule
        assert report.treated.rows > 50
        assert any("are not judged" in t.en for t in report.lines())
        judged.add(tuple((m.users, m.treated, m.churn_rate) for m in past))
    (moments,) = judged
    assert sum(treated for _, treated, _ in moments) > 20


def test_training_says_what_became_of_treated_rows(treated_shop: SmallShop) -> None:
    left, kept, modelled = (
        treated_shop.with_train(model="recency", treated=rule).train() for rule in ("leave_out", "keep", "model")
    )
    assert any("are left out: the risk and all figures are those without an action" in t.en for t in left.lines())
    assert left.to_json()["left_out"] == left.treated.rows == left.to_json()["treated"]["rows"]
    assert any("learnt from as they are" in t.en for t in kept.lines())
    assert kept.to_json()["left_out"] == 0
    assert any("as if nothing had been done" in t.en for t in modelled.lines())
    assert [e.kind for e in modelled.treated.effects] == ["call"]
    assert any(t.en.startswith("call: log-odds of churn ") for t in modelled.lines())


def test_a_backtest_says_how_many_are_not_judged(treated_shop: SmallShop) -> None:
    report = backtest(treated_shop.config, treated_shop.root, moments=4, model="recency")
    assert any(m.treated for m in report.moments)
    assert any("with an action not judged" in t.en for t in report.lines())


@pytest.mark.parametrize("rule", ["keep", "leave_out", "model"])
def test_comparing_and_going_on_judge_the_untreated_too(treated_shop: SmallShop, rule: str) -> None:
    shop = treated_shop.with_train(treated=rule)
    then = shop.train(model="logistic", until=UNTIL - 10 * D)
    assert then.verdict.test is not None
    compared = compare(shop.config, shop.root, models=["logistic"], until=UNTIL)
    went_on = continue_training(shop.config, shop.root, until=UNTIL)
    assert went_on.continuation is not None
    assert went_on.verdict.test is not None
    untreated = _ready(shop).rows.at(to_us(UNTIL - 30 * D)).untreated()
    assert compared.users == went_on.continuation.users == went_on.verdict.test.users == len(untreated)
    assert went_on.treated.rule == rule


@pytest.mark.parametrize("model", ["logistic", "auto", "rnn"])
def test_a_bundle_that_models_actions_scores_without_asking_about_them(
    treated_shop: SmallShop, small_shop: SmallShop, open_shop: OpenShop, sim_log: pl.DataFrame, model: str
) -> None:
    """It has the columns of one that knows of no exposures, and gives the same scores in a lake without any."""
    shop, without = treated_shop.with_train(treated="model"), open_shop(sim_log)
    bundle = shop.shelf.load(shop.train(model=model).bundle)
    made = tuple(c for m in bundle.makers for c in m.declarations())
    assert [c.name for c in bundle.columns] == [
        *_ready(small_shop).catalogue.names,
        "expected_orders",
        *(c.name for c in made),
    ]
    assert bundle.manifest["treated"]["effects"][0]["kind"] == "call"
    assert shop.score().frame.equals(without.borrow(shop).score().frame)


@pytest.mark.parametrize("rule", ["leave_out", "model"])
def test_an_exposure_that_arrives_late_changes_nothing_rehearsed_before(
    sim_log: pl.DataFrame, open_shop: OpenShop, treated_shop: SmallShop, rule: str
) -> None:
    """More exposures arrive between the two newest rehearsed moments, of windows that had closed long before."""
    late_shop = open_shop(sim_log)
    append_rows(late_shop.lake, "exposures", treated_shop.lake.read_table("exposures"), [])
    before, after = (_rehearsed(s.with_train(treated=rule)) for s in (treated_shop, late_shop))
    assert before == after
    newest, arrival = before[-1], UNTIL - 40 * D
    users = sim_log["user_id"].unique().sort()
    more = [(u, UNTIL - 85 * D, "coupon") for u in users[1::3]]
    append_rows(late_shop.lake, "exposures", _exposures(more).with_columns(ingested_at=pl.lit(arrival)), [])
    changed = _rehearsed(late_shop.with_train(treated=rule))
    past = [n for n, r in enumerate(before) if r.moment < arrival]
    assert 0 < len(past) < len(before)
    assert [changed[n] for n in past] == [before[n] for n in past]
    assert changed[-1] != newest  # known by then: learnt from in another way


@dataclass(frozen=True)
class _Moment:
    """What was learnt and chosen at a rehearsed moment."""

    moment: datetime
    margins: tuple[float, ...]
    choice: str


def _rehearsed(shop: SmallShop) -> list[_Moment]:
    ready, entries = _ready(shop), candidates("logistic")
    past = rehearse(ready.rows, ready.held_out, entries, ready.setting_at, seed=0, progress=silent)
    return [
        _Moment(from_us(r.held.moment_us), tuple(r.held.margins["logistic"][0].tolist()), repr(r.choice)) for r in past
    ]


def test_what_is_learnt_is_the_risk_without_an_action(sim_log: pl.DataFrame, open_shop: OpenShop) -> None:
    """Everybody with an even number who is treated stays, by an order the day after: kept, their rows pull the risk of
    all down; left out, the mean is that of the untreated."""
    users = sim_log["user_id"].unique().sort()
    saved = [u for n, u in enumerate(users) if n % 2 == 0]
    calls = [UNTIL - days * D for days in range(25, 200, 25)]
    orders = sim_log.filter(pl.col("type") == "order").head(1)
    extra = [
        orders.with_columns(
            user_id=pl.lit(u), occurred_at=pl.lit(c + D), ingested_at=pl.lit(c + D), event_id=pl.lit(f"saved-{u}-{i}"), order_id=pl.lit(f"saved-{u}-{i}")
        ).cast(dict(sim_log.schema))  # type: ignore[arg-type]
        for u in saved for i, c in enumerate(calls)
    ]  # fmt: skip
    shop = open_shop(pl.concat([sim_log, *extra]).sort("user_id", "occurred_at", "event_id"))
    append_rows(shop.lake, "exposures", _exposures([(u, c, "call") for u in saved for c in calls]), [])
    kept, left = _learnt(shop.with_train(treated="keep")), _learnt(shop)
    assert left.y.mean() > kept.y.mean() + 0.1
    assert _learnt(shop.with_train(treated="model")).y.mean() > kept.y.mean() + 0.03
