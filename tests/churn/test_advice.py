"""Definition advice: what the gaps say, what each horizon would mean, and what is missing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from ebbtide.churn.advice import DefinitionAdvice, advise, advise_shards
from ebbtide.churn.definition import ChurnDefinition
from ebbtide.churn.labels import labelled_cohorts
from ebbtide.churn.sufficiency import judge_sufficiency

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 400


def shop(users: int = 600, mean_gap: float = 15.0, leave_rate: float = 0.004, seed: int = 0) -> pl.DataFrame:
    """Orders with exponential gaps from random starts, until a customer leaves at a constant rate a day."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(users):
        now = rng.uniform(0, DAYS * 0.8)
        end = min(now + rng.exponential(1 / leave_rate), DAYS)
        while now < end:
            rows.append((f"u{i}", START + timedelta(days=now)))
            now += 1 + rng.exponential(mean_gap)
    return pl.DataFrame(rows, schema={"user_id": pl.String, "occurred_at": pl.Datetime("us", "UTC")}, orient="row")


END = START + timedelta(days=DAYS)


@pytest.fixture(scope="module")
def advice() -> DefinitionAdvice:
    return advise(shop(), END)


def test_the_recommended_horizon_covers_the_gaps(advice: DefinitionAdvice) -> None:
    # gaps are 1 + exponential(15) days: 80 % end within 1 + 15 ln 5 = 25 days, so 30 is the first common length
    assert advice.recommended is not None
    assert advice.recommended.horizon_days == 30
    assert 60 <= advice.recommended.eligible_days <= 180
    assert advice.gap_days[0.5] == pytest.approx(1 + 15 * np.log(2), abs=2)
    assert advice.gap_days[0.9] == pytest.approx(1 + 15 * np.log(10), abs=4)


def test_the_sentence_holds_the_figures_in_both_languages(advice: DefinitionAdvice) -> None:
    assert advice.recommended is not None
    best = next(o for o in advice.options if o.horizon_days == 30)
    assert advice.recommended.describe().en in advice.text.en
    assert f"{best.base_rate:.0%} of {best.users:,} users churn" in advice.text.en
    assert advice.recommended.describe().zh in advice.text.zh


def test_returning_shares_fall_with_silence(advice: DefinitionAdvice) -> None:
    known = [share for share in advice.returning.values() if share is not None]
    assert len(known) >= 4
    assert known == sorted(known, reverse=True)


def test_returning_share_matches_the_planted_process() -> None:
    """After d days of silence a customer is still there with chance p(d); Kaplan-Meier must see it despite censoring."""
    advice = advise(shop(users=3000, mean_gap=10, leave_rate=0.01), END)
    # A spell that outlasts 14 calendar days has lasted some 14.5 days. Orders come at rate 0.1 from day 1 on, leaving
    # at rate 0.01 all the time; who is still there orders before leaving with chance 0.1 / 0.11.
    silent = 14.5
    there = np.exp(-0.01 * silent - 0.1 * (silent - 1))
    gone = (1 - np.exp(-0.01)) + np.exp(-0.01) * 0.01 / 0.11 * (1 - np.exp(-0.11 * (silent - 1)))
    expected = there / (there + gone) * 0.1 / 0.11
    assert advice.returning[14] == pytest.approx(expected, abs=0.03)


def test_options_are_what_the_labels_say(advice: DefinitionAdvice) -> None:
    events = shop().with_columns(ingested_at="occurred_at", type=pl.lit("order"))
    for option in advice.options:
        d = ChurnDefinition(horizon_days=option.horizon_days, eligible_days=option.eligible_days)
        newest = labelled_cohorts(events, [END - timedelta(days=option.horizon_days)], d, known_until=END)
        assert (option.users, option.churned) == (len(newest), newest["churned"].sum())
        passes = judge_sufficiency(lambda: [events], d, until=END).level != "fail"
        assert option.passes == passes


def test_few_users_are_told_what_is_missing() -> None:
    advice = advise(shop(users=20), END)
    assert advice.recommended is None
    assert "no definition can be advised yet: 20 users with an order" in advice.text.en
    assert "暂时无法建议定义" in advice.text.zh


@pytest.mark.parametrize("rows", [[], [("a", START)]])
def test_next_to_nothing_is_no_error(rows: list[tuple[str, datetime]]) -> None:
    schema = {"user_id": pl.String, "occurred_at": pl.Datetime("us", "UTC")}
    advice = advise(pl.DataFrame(rows, schema=schema, orient="row"), END)
    assert (advice.gaps, advice.recommended) == (0, None)
    json.dumps(advice.to_json(), allow_nan=False)


def test_several_orders_a_day_change_nothing(advice: DefinitionAdvice) -> None:
    twice = pl.concat([shop(), shop().with_columns(pl.col("occurred_at") + timedelta(microseconds=1))])
    assert advise(twice, END).to_json() == advice.to_json()


def test_shards_and_row_order_do_not_matter(advice: DefinitionAdvice) -> None:
    events = (
        shop().with_columns(ingested_at="occurred_at", type=pl.lit("order")).sample(fraction=1, shuffle=True, seed=1)
    )
    even = pl.col("user_id").str.ends_with("0") | pl.col("user_id").str.ends_with("2")
    shards = [events.filter(even), events.filter(~even)]
    assert advise_shards(lambda: shards, END, outcome=("order",)) == advice


def test_events_of_other_types_and_of_the_future_do_not_count(advice: DefinitionAdvice) -> None:
    orders = shop().with_columns(ingested_at="occurred_at", type=pl.lit("order"))
    views = orders.with_columns(type=pl.lit("product_view"))
    later = orders.with_columns(ingested_at=pl.col("occurred_at") + timedelta(days=1000))
    assert advise_shards(lambda: [pl.concat([orders, views, later])], END, outcome=("order",)) == advice


def test_advice_is_json_safe(advice: DefinitionAdvice) -> None:
    read = json.loads(json.dumps(advice.to_json(), allow_nan=False))
    assert ChurnDefinition.from_json(read["recommended"]) == advice.recommended


def test_frequent_visitors_are_not_advised_a_horizon_below_a_week() -> None:
    advice = advise(shop(users=600, mean_gap=0.5, leave_rate=0.005), END, outcome=("any",))
    assert advice.recommended is not None
    assert advice.recommended.horizon_days >= 7
    assert advice.recommended.outcome == ("any",)
