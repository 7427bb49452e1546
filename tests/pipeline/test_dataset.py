"""From events to rows: by hand, in any number of shards, within the cap."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.errors import DataError
from ebbtide.core.ids import hash_texts
from ebbtide.core.windows import to_us
from ebbtide.events.schema import EVENT_COLUMNS, empty_events
from ebbtide.features.catalogue import Catalogue
from ebbtide.features.declarations import Count, Recency
from ebbtide.pipeline.dataset import collect, known_events, label, populations, sample_cohorts, survey

START = datetime(2024, 1, 1, tzinfo=UTC)
DEFINITION = ChurnDefinition(horizon_days=10, eligible_days=30)
CATALOGUE = Catalogue((Count("order", days=30), Recency("order"), Count("product_view")), ("order",))


def day(count: float) -> datetime:
    return START + timedelta(days=count)


class Shards:
    """Frames in memory, served like the buckets of a lake."""

    def __init__(self, *frames: pl.DataFrame) -> None:
        self.frames = frames

    def buckets(self) -> list[int]:
        return list(range(len(self.frames)))

    def read_bucket(self, bucket: int, columns: Sequence[str] | None = None) -> pl.DataFrame:
        return self.frames[bucket] if columns is None else self.frames[bucket].select(columns)


def events(*rows: tuple[str, float, str], lag_days: float = 0.0, **columns) -> pl.DataFrame:
    """(user, day, type), every order of its own, worth 10."""
    frame = pl.DataFrame(rows, schema=["user_id", "day", "type"], orient="row").with_columns(
        occurred_at=pl.Series([day(d) for _, d, _ in rows]),
        ingested_at=pl.Series([day(d + lag_days) for _, d, _ in rows]),
        event_id=pl.format("{}-{}", "user_id", pl.int_range(pl.len())),
        order_id=pl.when(pl.col("type") == "order").then(pl.format("{}-{}", "user_id", "day")),
        value=10.0,
        **columns,
    )
    missing = [pl.lit(None).alias(c) for c in EVENT_COLUMNS if c not in frame.columns]
    frame = frame.with_columns(missing).select(pl.col(c).cast(t) for c, t in EVENT_COLUMNS.items())
    return frame.sort("user_id", "occurred_at", "event_id")


ANN = events(("ann", 0, "order"), ("ann", 5, "product_view"), ("ann", 12, "order"), ("ann", 19, "order"))
BOB = events(("bob", 3, "order"), ("bob", 40, "order"))
LATE = events(("cyd", 8, "order"), lag_days=20)
LOG = Shards(ANN, BOB, LATE)
AT = [to_us(day(d)) for d in (10, 20)]


def labelled(lake=LOG, until=45):
    return pl.concat(label(lake, DEFINITION, AT, day(until)))


def test_known_means_occurred_and_ingested():
    both = pl.concat([ANN, LATE])
    assert known_events(both, day(12))["event_id"].to_list() == ["ann-0", "ann-1", "ann-2"]
    assert known_events(both, day(28))["user_id"].to_list() == ["ann"] * 4 + ["cyd"]
    assert len(known_events(both, day(28) - timedelta(microseconds=1))) == 4


def test_the_survey_counts_what_was_known():
    """At day 19: three orders and a view of ann, one order of bob; cyd's order is not known yet."""
    seen = survey(LOG, DEFINITION, day(19))
    assert (seen.events, seen.users) == (5, 2)
    assert (seen.facts["type:order"], seen.facts["type:product_view"]) == (4, 1)
    assert (seen.first_us, seen.last_us, seen.first_outcome_us) == (to_us(day(0)), to_us(day(19)), to_us(day(0)))
    assert seen.history_days == 19
    assert {"orders", "browsing", "money"} <= seen.capabilities


def test_a_capability_that_comes_later_is_not_seen_before():
    later = Shards(ANN, events(("eve", 30, "search"), ("eve", 30, "order")))
    assert "search" not in survey(later, DEFINITION, day(29)).capabilities
    assert "search" in survey(later, DEFINITION, day(30)).capabilities


def test_a_survey_before_the_first_outcome_says_so():
    views = Shards(events(("ann", 0, "product_view"), ("ann", 9, "order")))
    for lake, until in ((LOG, -1), (views, 8), (Shards(), 8)):
        with pytest.raises(DataError, match="no event of the outcome kind was known at"):
            survey(lake, DEFINITION, day(until))


def test_labels_are_those_of_the_cohorts():
    """At day 10 ann (orders at 12, 19) and bob (silent until 40); at day 20 the same two, both silent until 30."""
    rows = labelled().sort("as_of", "user_id")
    assert rows["stayed_at"].to_list() == [day(12), None, None, None]
    assert rows.drop("stayed_at").rows() == [
        ("ann", day(10), False),
        ("bob", day(10), True),
        ("ann", day(20), True),
        ("bob", day(20), True),
    ]


def test_rows_stand_in_the_order_of_moment_and_user_and_hold_what_was_known():
    """ann at day 10: one order (day 0), one view; at day 20 three orders, the newest a day ago."""
    cohorts = labelled().sample(fraction=1.0, shuffle=True, seed=1)
    rows = collect(LOG, DEFINITION, CATALOGUE, cohorts, survey(LOG, DEFINITION, day(45)).items)
    assert rows.as_of_us.tolist() == [AT[0], AT[0], AT[1], AT[1]]
    user = {name: hash_texts(pl.Series([name]))[0] for name in ("ann", "bob")}
    by_key = {(u, m): (x.tolist(), y) for u, m, x, y in zip(rows.user, rows.as_of_us, rows.X, rows.y, strict=True)}
    assert by_key == {
        (user["ann"], AT[0]): ([1.0, 10.0, 1.0], 0.0),
        (user["ann"], AT[1]): ([3.0, 1.0, 1.0], 1.0),
        (user["bob"], AT[0]): ([1.0, 7.0, 0.0], 1.0),
        (user["bob"], AT[1]): ([1.0, 17.0, 0.0], 1.0),
    }
    assert (np.diff(rows.user[:2].astype(float)) > 0).all()
    assert rows.names == CATALOGUE.names
    assert rows.embargo_us == DEFINITION.closing_us


def test_rows_are_labelled_as_they_were_known_at_a_moment():
    """ann's order of day 12 arrives on day 30: at day 20 she had churned, at day 30 she had not."""
    order = events(("ann", 12, "order"), lag_days=18)
    lake = Shards(pl.concat([events(("ann", 0, "order"), ("ann", 40, "order")), order]).sort("occurred_at"), BOB)
    cohorts = pl.concat(label(lake, DEFINITION, AT[:1], day(45)))
    rows = collect(lake, DEFINITION, CATALOGUE, cohorts, survey(lake, DEFINITION, day(45)).items)
    ann = rows.user == hash_texts(pl.Series(["ann"]))[0]
    assert rows.y[ann].tolist() == [0.0]
    for moment, churned in ((20, 1.0), (29, 1.0), (30, 0.0)):
        assert rows.known_at(to_us(day(moment))).y[ann].tolist() == [churned]
    assert len(rows.known_at(to_us(day(19)))) == 0


@pytest.mark.parametrize("lake", [Shards(LATE, BOB, ANN), Shards(pl.concat([ANN, BOB, LATE])), Shards(BOB, ANN)])
def test_how_users_are_spread_over_shards_does_not_matter(lake):
    items = survey(LOG, DEFINITION, day(45)).items
    one, other = (collect(s, DEFINITION, CATALOGUE, labelled(s), items) for s in (LOG, lake))
    for part in ("X", "y", "as_of_us", "user", "stayed_us"):
        assert getattr(one, part).tobytes() == getattr(other, part).tobytes()


def test_nobody_eligible_is_said_in_words():
    nobody = pl.concat(label(LOG, DEFINITION, [to_us(day(-5))], day(45)))
    with pytest.raises(DataError, match="no user is eligible at any closed moment"):
        collect(LOG, DEFINITION, CATALOGUE, nobody, survey(LOG, DEFINITION, day(45)).items)


def make_cohorts(users: int, moments: int) -> pl.DataFrame:
    frame = pl.DataFrame({"user_id": [f"u{i}" for i in range(users)]})
    return frame.join(pl.DataFrame({"as_of": [day(m) for m in range(moments)]}), how="cross")


@given(users=st.integers(1, 400), moments=st.integers(1, 6), most=st.integers(10, 600), parts=st.integers(1, 7))
@settings(max_examples=40, deadline=None)
def test_a_sample_stays_within_the_cap_and_keeps_users_whole(users, moments, most, parts):
    rows = make_cohorts(users, moments)
    sample, share = sample_cohorts((rows[i::parts] for i in range(parts)), most, seed=3)
    assert len(sample) <= most
    assert (share == 1.0) == (len(rows) <= most)
    assert sample.group_by("user_id").len()["len"].unique().to_list() in ([moments], [])
    together, same = sample_cohorts([rows], most, seed=3)
    assert same == share
    assert together.sort("user_id", "as_of").equals(sample.sort("user_id", "as_of"))


def test_a_sample_is_as_large_as_the_cap_allows():
    """Users come whole, so less than one user's rows may be missing."""
    for seed in range(5):
        sample, share = sample_cohorts([make_cohorts(3000, 4)], 5000, seed)
        assert 5000 - 4 < len(sample) <= 5000
        assert share == pytest.approx(5000 / 12_000, abs=0.05)


def test_another_seed_samples_other_users():
    one, other = (set(sample_cohorts([make_cohorts(1000, 1)], 300, s)[0]["user_id"]) for s in (1, 2))
    assert one != other


def test_a_larger_cap_adds_users_and_loses_none():
    small, large = (set(sample_cohorts([make_cohorts(1000, 1)], n, 1)[0]["user_id"]) for n in (200, 500))
    assert small < large


def test_populations_are_all_users_known_at_the_moment():
    """At day 20, ann: order days 0, 12, 19, so x = 2, t_x = 19, T = 20; bob: day 3 only, so 0, 0, 17; cyd is unknown."""
    people = populations(LOG, DEFINITION, AT)[AT[1]]
    assert sorted(zip(people.x, people.t_x, people.age, strict=True)) == [(0.0, 0.0, 17.0), (2.0, 19.0, 20.0)]
    assert sorted(people.orders) == [1.0, 3.0]
    assert people.order_value.tolist() == [10.0, 10.0]
    later = populations(LOG, DEFINITION, [to_us(day(28))])[to_us(day(28))]
    assert len(later.x) == 3


def test_populations_do_not_depend_on_the_shards():
    one, other = (populations(s, DEFINITION, AT) for s in (LOG, Shards(pl.concat([LATE, ANN, BOB]))))
    for moment in AT:
        for name, column in vars(one[moment]).items():
            assert column.tobytes() == vars(other[moment])[name].tobytes()


def test_no_users_make_an_empty_population():
    for lake in (Shards(), Shards(empty_events())):
        assert len(populations(lake, DEFINITION, AT)[AT[0]].x) == 0
    assert len(populations(LOG, DEFINITION, [to_us(day(-9))])[to_us(day(-9))].x) == 0


def test_a_sample_of_the_population_is_the_users_of_the_sample():
    names = [f"u{i}" for i in range(400)]
    lake = Shards(events(*[(n, 1.0, "order") for n in names]))
    half = populations(lake, DEFINITION, [AT[0]], share=0.5, seed=1)[AT[0]]
    assert 150 < len(half.x) < 250


def test_progress_is_told_from_start_to_end():
    told = []
    list(label(LOG, DEFINITION, AT, day(45), lambda stage, done, total: told.append((stage.en, done, total))))
    assert told == [("labelling cohorts", n, 3) for n in range(4)]
