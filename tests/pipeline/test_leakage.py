"""What is known at a moment decides everything at that moment, bit for bit; the shape of the lake decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbtide.core.progress import silent
from ebbtide.core.windows import from_us
from ebbtide.events.schema import EVENT_TYPES, TIME
from ebbtide.pipeline.score import score_members, score_shard
from ebbtide.pipeline.train import prepare


def known(events: pl.DataFrame, until: Any) -> pl.DataFrame:
    return events.filter((pl.col("occurred_at") <= until) & (pl.col("ingested_at") <= until))


def at_random_later(events: pl.DataFrame, until: Any, count: int = 3000) -> pl.DataFrame:
    """Events of all types after `until`: of the same users and of new ones, with wild money and unseen identities."""
    rng = np.random.default_rng(5)
    rows = events.sample(count, with_replacement=True, seed=5)
    later = pl.Series(rng.integers(1, 29 * 86_400_000_000, count)).cast(pl.Duration("us")) + until
    new = pl.Series(rng.random(count) < 0.3)
    return rows.with_columns(
        event_id=pl.format("later-{}", pl.int_range(pl.len())),
        user_id=pl.when(new).then(pl.format("new-{}", pl.int_range(pl.len()) % 50)).otherwise("user_id"),
        type=pl.Series(rng.choice(EVENT_TYPES, count)),
        occurred_at=later.cast(TIME),
        ingested_at=later.cast(TIME),
        order_id=pl.format("later-{}", pl.int_range(pl.len()) // 2),
        item_id=pl.format("item-{}", pl.Series(rng.integers(0, 30, count))),
        category=pl.lit("never seen before"),
        value=pl.Series(rng.normal(0, 1e4, count)),
        rating=pl.lit(1.0),
        discount=pl.lit(5.0),
        query=pl.lit("where is my order"),
    )


def delivered_late(events: pl.DataFrame, until: Any) -> pl.Series:
    """Which events are to arrive after `until`: every tenth of the log."""
    return pl.Series(np.arange(len(events)) % 10 == 3) & (events["occurred_at"] <= until)


VARIANTS: dict[str, Callable[[pl.DataFrame, Any], Any]] = {
    "cut at until": known,
    "with any later events": lambda log, until: pl.concat([log, at_random_later(log, until)]),
    "in one bucket": lambda log, until: log,
    "in seven buckets": lambda log, until: log,
    "in another row order": lambda log, until: log.sample(fraction=1.0, shuffle=True, seed=2),
    "in several files": lambda log, until: [log[i::3] for i in range(3)],
}
BUCKETS = {"in one bucket": 1, "in seven buckets": 7}


@pytest.fixture(scope="module", params=list(VARIANTS))
def variant(request, sim_log, open_shop, small_shop):
    """The same knowledge at `until` in another guise."""
    events = VARIANTS[request.param](sim_log, small_shop.until)
    return open_shop(events, buckets=BUCKETS.get(request.param, 2))


@pytest.fixture(scope="module")
def ready(small_shop):
    return prepared(small_shop)


@pytest.fixture(scope="module")
def listed(trained):
    return trained.shop.score().frame


def prepared(shop):
    return prepare(shop.config, shop.root, until=shop.until, progress=silent)


def assert_same_rows(one, other, parts):
    for part in parts:
        assert getattr(one, part).tobytes() == getattr(other, part).tobytes(), part


def assert_same_preparation(one, other):
    """Rows, capabilities, catalogue, item table, populations and the verdict of the gate: bit for bit the same."""
    assert one.catalogue == other.catalogue
    assert one.rows.names == other.rows.names
    assert_same_rows(one.rows, other.rows, ("X", "y", "as_of_us", "user", "stayed_us"))
    assert one.seen.capabilities == other.seen.capabilities
    assert vars(one.seen).keys() == vars(other.seen).keys()
    for name, found in vars(one.seen).items():
        if name != "items":
            assert found == vars(other.seen)[name], name
    for name, found in vars(one.seen.items).items():
        assert np.array_equal(found, vars(other.seen.items)[name]), name
    assert one.gate == other.gate
    assert (one.held_out, one.sampled) == (other.held_out, other.sampled)
    assert one.people.keys() == other.people.keys()
    for moment, people in one.people.items():
        for name, found in vars(people).items():
            assert found.tobytes() == vars(other.people[moment])[name].tobytes(), (moment, name)


def assert_same_list(one, other):
    assert one["user_id"].equals(other["user_id"])
    for name in ("churn_probability", "percentile", "expected_orders", "value_at_risk"):
        assert one[name].to_numpy().tobytes() == other[name].to_numpy().tobytes(), name
    assert one.drop("model").equals(other.drop("model"))


def test_training_data_do_not_change(variant, ready):
    """Models are functions of these rows alone, so no model can differ either."""
    assert_same_preparation(ready, prepared(variant))


def test_scores_do_not_change(variant, trained, listed):
    assert_same_list(listed, variant.borrow(trained.shop).score().frame)


def test_an_event_that_arrives_late_counts_as_unknown(sim_log, open_shop, small_shop, trained):
    """An event ingested after `until` leaves the same traces as one that never happened: none."""
    late = delivered_late(sim_log, small_shop.until)
    arrives = small_shop.until + timedelta(microseconds=1)
    delayed = sim_log.with_columns(ingested_at=pl.when(late).then(pl.lit(arrives, TIME)).otherwise("ingested_at"))
    never, afterwards = open_shop(sim_log.filter(~late)), open_shop(delayed)
    assert_same_preparation(prepared(never), prepared(afterwards))
    assert_same_list(never.borrow(trained.shop).score().frame, afterwards.borrow(trained.shop).score().frame)


def test_a_rehearsal_knows_nothing_that_arrived_after_its_moment(sim_log, open_shop, small_shop):
    """At a rehearsed moment an event that arrived later is one that never happened: in features and in labels."""
    moment_us = prepared(small_shop).held_out[0]
    late = delivered_late(sim_log, from_us(moment_us))
    arrives = from_us(moment_us + 1)
    delayed = sim_log.with_columns(ingested_at=pl.when(late).then(pl.lit(arrives, TIME)).otherwise("ingested_at"))
    never, afterwards = (prepared(open_shop(log)).rows for log in (sim_log.filter(~late), delayed))
    assert len(never.known_at(moment_us)) > 100
    assert_same_rows(never.known_at(moment_us), afterwards.known_at(moment_us), ("X", "y", "as_of_us", "user"))
    assert_same_rows(never.at(moment_us), afterwards.at(moment_us), ("X", "as_of_us", "user"))
    closed = afterwards.as_of_us + afterwards.embargo_us <= moment_us
    assert (
        afterwards.y[closed] != afterwards.known_at(moment_us).y
    ).any()  # they did arrive, and change labels of today


def test_an_event_known_at_the_very_moment_counts(sim_log, trained):
    """The boundary belongs to the past: occurred_at = as_of and ingested_at = as_of are known."""
    until = trained.shop.until
    user = sim_log["user_id"][0]
    own = known(sim_log.filter(pl.col("user_id") == user), until)
    order = own.filter(pl.col("type") == "order")[-1:].with_columns(
        event_id=pl.lit("now"), order_id=pl.lit("now"), occurred_at=pl.lit(until, TIME), ingested_at=pl.lit(until, TIME)
    )
    scored = score_members(pl.concat([own, order]), until, trained.bundle)
    recency = trained.bundle.catalogue.names.index("outcome_recency_days")
    assert scored.X[0, recency] == 0.0


def test_the_whole_of_training_and_scoring_does_not_change(sim_log, open_shop, trained, listed):
    """Everything at once, through fit, choice, calibration and reasons."""
    until = trained.shop.until
    log = pl.concat([known(sim_log, until), at_random_later(sim_log, until)]).sample(fraction=1.0, shuffle=True, seed=9)
    shop = open_shop([log[: len(log) // 2], log[len(log) // 2 :]], buckets=5)
    report = shop.train()
    assert report.weights == trained.report.weights
    assert report.verdict == trained.report.verdict
    again = shop.shelf.load(report.bundle)
    assert (again.calibration, again.usual, again.choice) == (
        trained.bundle.calibration, trained.bundle.usual, trained.bundle.choice,
    )  # fmt: skip
    assert_same_list(listed, shop.score().frame)


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_no_event_after_as_of_changes_a_score(data, sim_log, trained):
    """Any event that occurs or is ingested after as_of, of any type, put anywhere among the rows."""
    until = trained.shop.until
    own = sim_log.filter(pl.col("user_id").is_in(sim_log["user_id"].unique().sort()[:12].to_list()))
    one = own.sample(1, seed=data.draw(st.integers(0, 1000)))
    days = st.floats(-200, 200, allow_nan=False)
    occurred = until + timedelta(days=data.draw(days))
    lag = timedelta(seconds=data.draw(st.integers(1, 10**7)))
    event = one.with_columns(
        event_id=pl.lit(data.draw(st.sampled_from(["0", "zz"]))),
        type=pl.lit(data.draw(st.sampled_from(EVENT_TYPES))),
        occurred_at=pl.lit(occurred, TIME),
        ingested_at=pl.lit(max(occurred, until) + lag, TIME),
        value=pl.lit(data.draw(st.sampled_from([None, 0.0, -3.0, 1e9])), pl.Float64),
    )
    place = data.draw(st.integers(0, len(own)))
    more = pl.concat([own[:place], event, own[place:]])
    plain = score_shard(own, until, trained.bundle, reasons="all")
    assert_same_list_of_shard(plain, score_shard(more, until, trained.bundle, reasons="all"))


def assert_same_list_of_shard(one, other):
    assert one["churn_probability"].to_numpy().tobytes() == other["churn_probability"].to_numpy().tobytes()
    assert one.equals(other)
