"""Treated customers: marked by their own window, left out of training if wanted, told apart if kept; never a feature."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.pipeline.conftest import END, UNTIL, OpenShop, SmallShop

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.errors import DataError
from ebbtide.core.progress import silent
from ebbtide.events.lake import Lake
from ebbtide.events.schema import EXPOSURE_COLUMNS
from ebbtide.events.tables import append_rows
from ebbtide.models.base import Rows
from ebbtide.pipeline.train import prepare
from ebbtide.pipeline.treated import Treatments

DAY = datetime(2024, 5, 1, tzinfo=UTC)
D = timedelta(days=1)


def _exposures(rows: list[tuple[str, datetime, str]]) -> pl.DataFrame:
    users, times, actions = (list(c) for c in zip(*rows, strict=True))
    return pl.DataFrame({"user_id": users, "occurred_at": times, "ingested_at": times, "action": actions}).with_columns(
        campaign_id=pl.lit("c"), propensity=pl.lit(0.5)
    )


def _treatments(rows: list[tuple[str, datetime, str]], until: datetime = END) -> Treatments:
    shown = _exposures(rows).filter((pl.col("action") != "nothing") & (pl.col("occurred_at") <= until))
    return Treatments(shown.select("user_id", treated_at="occurred_at"), ChurnDefinition())


def _cohort(*users: str) -> pl.DataFrame:
    return pl.DataFrame({"user_id": list(users), "as_of": [DAY] * len(users)}).with_columns(
        pl.col("as_of").cast(EXPOSURE_COLUMNS["occurred_at"])
    )


def test_the_window_is_half_open_like_every_other() -> None:
    """At as_of: outside. At the very end: inside. A microsecond later: outside."""
    rows = [("a", DAY, "call"), ("b", DAY + 30 * D, "call"), ("c", DAY + 30 * D + timedelta(microseconds=1), "call")]
    assert _treatments(rows).marked(_cohort("a", "b", "c"))["treated"].to_list() == [False, True, False]


def test_control_and_strangers_are_untreated_and_two_actions_mark_one_row() -> None:
    rows = [("a", DAY + D, "nothing"), ("b", DAY + D, "call"), ("b", DAY + 2 * D, "coupon")]
    assert _treatments(rows).marked(_cohort("b", "a", "z"))["treated"].to_list() == [True, False, False]


def test_an_action_not_known_yet_marks_nothing(tmp_path: Path) -> None:
    lake = Lake.create(tmp_path / "lake", 1)
    late = _exposures([("a", DAY + D, "call")]).with_columns(ingested_at=pl.lit(DAY + 9 * D))
    append_rows(lake, "exposures", late, [])
    assert not Treatments.known_at(lake, ChurnDefinition(), DAY + 8 * D)
    assert Treatments.known_at(lake, ChurnDefinition(), DAY + 9 * D)


def test_rows_left_out_are_counted_and_a_shop_without_untreated_is_told() -> None:
    treatments = _treatments([("a", DAY + D, "call"), ("b", DAY + D, "call")])
    (kept,) = treatments.without([_cohort("a", "z")])
    assert (kept["user_id"].to_list(), treatments.left_out) == (["z"], 1)
    with pytest.raises(DataError, match="set \\[train\\] treated to keep"):
        list(_treatments([("a", DAY + D, "call")]).without([_cohort("a")]))


@pytest.fixture(scope="module")
def treated_shop(sim_log: pl.DataFrame, open_shop: OpenShop) -> SmallShop:
    """The small shop, in which every third user got a call at some time, and control users got nothing."""
    shop = open_shop(sim_log)
    users = sim_log["user_id"].unique().sort()
    rows = [(u, UNTIL - (20 + n % 90) * D, "call" if n % 3 == 0 else "nothing") for n, u in enumerate(users)]
    append_rows(shop.lake, "exposures", _exposures(rows), [])
    return shop


def _rows(shop: SmallShop) -> tuple[Rows, int]:
    ready = prepare(shop.config, shop.root, until=UNTIL, progress=silent)
    return ready.rows, ready.left_out


def test_left_out_rows_are_those_that_keep_marks_and_all_others_stay_as_they_are(
    treated_shop: SmallShop, small_shop: SmallShop
) -> None:
    plain, none = _rows(small_shop)
    kept, zero = _rows(treated_shop.with_train(treated="keep"))
    left, count = _rows(treated_shop)
    assert plain.treated is None
    assert (none, zero) == (0, 0)
    assert kept.treated is not None
    assert count == kept.treated.sum() > 50
    assert np.array_equal(kept.X, plain.X, equal_nan=True)
    assert np.array_equal(left.X, plain.X[~kept.treated], equal_nan=True)
    assert np.array_equal(left.y, plain.y[~kept.treated])


def test_exposures_are_no_feature(treated_shop: SmallShop, small_shop: SmallShop) -> None:
    assert _rows(treated_shop)[0].names == _rows(small_shop)[0].names


def test_kept_rows_are_judged_apart(treated_shop: SmallShop) -> None:
    report = treated_shop.with_train(treated="keep", model="recency").train()
    test = report.verdict.test
    assert test is not None
    apart = {s.label: s for s in test.slices if s.group == "action"}
    assert apart.keys() == {"treated", "untreated"}
    assert apart["treated"].rows + apart["untreated"].rows == test.users


def test_training_says_how_many_rows_it_left_out(treated_shop: SmallShop) -> None:
    report = treated_shop.with_train(model="recency").train()
    assert report.left_out > 50
    assert any("are left out: the risk and all figures are those without an action" in t.en for t in report.lines())
    assert report.to_json()["left_out"] == report.left_out


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
    kept, _ = _rows(shop.with_train(treated="keep"))
    left, _ = _rows(shop)
    assert kept.treated is not None
    assert left.y.mean() == pytest.approx(kept.y[~kept.treated].mean())
    assert left.y.mean() > kept.y.mean() + 0.1
