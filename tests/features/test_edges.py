"""Shards at the edge: nobody, one user, one event, empty columns, times before 1970, wrong questions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.errors import InputError
from ebbtide.core.windows import DAY_US
from ebbtide.events.schema import EVENT_COLUMNS, empty_events
from ebbtide.features.catalogue import Catalogue, default_catalogue
from ebbtide.features.declarations import Calendar, Count, Recency, Sum
from ebbtide.features.encode import encode
from ebbtide.features.engine import compute
from ebbtide.features.kernels import rows

MakeLog = Callable[..., pl.DataFrame]
NOBODY, NEVER = np.zeros(0, np.int32), np.zeros(0, np.int64)


def test_an_empty_shard_has_no_users_and_no_rows(definition: ChurnDefinition) -> None:
    """Nothing in, nothing out, with all columns."""
    shard = encode(empty_events(), definition)
    catalogue = default_catalogue(definition, 365)
    assert len(shard) == 0
    assert compute(shard, NOBODY, NEVER, catalogue).shape == (0, len(catalogue))


def test_one_event_is_enough(make_log: MakeLog, definition: ChurnDefinition) -> None:
    """A single event gives counts and recency, and no rhythm."""
    event = make_log(0, events=1, users=1)
    shard = encode(event, definition)
    catalogue = default_catalogue(definition, 365)
    as_of = event["occurred_at"].to_physical()[0] + DAY_US
    X = compute(shard, np.zeros(1, np.int32), np.array([as_of]), catalogue)
    found = dict(zip(catalogue.names, X[0].tolist(), strict=True))
    assert found["any_count_all"] == 1
    assert found["any_recency_days"] == 1
    assert np.isnan(found["any_gap_q50_days"])


def test_before_the_first_event_nothing_is_known(make_log: MakeLog, definition: ChurnDefinition) -> None:
    """A moment before the log: counts are zero, times unknown."""
    shard = encode(make_log(0), definition)
    at_user = np.arange(len(shard), dtype=np.int32)
    X = compute(shard, at_user, np.zeros(len(shard), np.int64), Catalogue((Count("any"), Recency("any"))))
    assert (X[:, 0] == 0).all()
    assert np.isnan(X[:, 1]).all()


def test_columns_that_a_shop_does_not_have_are_unknown(make_log: MakeLog, definition: ChurnDefinition) -> None:
    """Only users, times and types: every feature of the catalogue still computes."""
    log = make_log(1)
    bare = ("event_id", "user_id", "occurred_at", "ingested_at", "type")
    log = log.with_columns(pl.lit(None, dtype).alias(n) for n, dtype in EVENT_COLUMNS.items() if n not in bare)
    shard = encode(log, definition)
    at_user = np.arange(len(shard), dtype=np.int32)
    catalogue = default_catalogue(definition, 365, with_item_table=True)
    X = compute(shard, at_user, np.full(len(shard), log["occurred_at"].to_physical().max()), catalogue)
    assert (X[:, catalogue.names.index("order_value_sum_all")] == 0).all()
    assert np.isnan(X[:, catalogue.names.index("order_item_id_favourite_share_all")]).all()


def test_times_before_1970_count_like_any(definition: ChurnDefinition, make_log: MakeLog) -> None:
    """The same log a century (whole weeks, so that weekends stay) earlier has the same features, but the calendar."""
    log = make_log(2, late=0.2)
    century = 36_519
    early = log.with_columns((pl.col(c) - pl.duration(days=century)) for c in ("occurred_at", "ingested_at"))
    catalogue = default_catalogue(definition, 200).drop(["calendar"])
    now, then = encode(log, definition), encode(early, definition)
    at_user = np.arange(len(now), dtype=np.int32)
    at_us = np.full(len(now), log["occurred_at"].to_physical().max())
    X, Y = compute(now, at_user, at_us, catalogue), compute(then, at_user, at_us - century * DAY_US, catalogue)
    for i, name in enumerate(catalogue.names):
        np.testing.assert_allclose(X[:, i], Y[:, i], rtol=1e-6, err_msg=name)


def test_unknown_types_are_custom(make_log: MakeLog, definition: ChurnDefinition) -> None:
    """A type outside the canonical list counts as custom and as any."""
    log = make_log(1).with_columns(type=pl.lit("teleport"))
    shard = encode(log, definition)
    as_of = np.full(len(shard), log["occurred_at"].to_physical().max())
    X = compute(shard, np.arange(len(shard), dtype=np.int32), as_of, Catalogue((Count("custom"), Count("any"))))
    assert (X[:, 0] == X[:, 1]).all()
    assert X[:, 0].sum() == len(log)


def test_a_user_with_very_many_events(definition: ChurnDefinition, make_log: MakeLog) -> None:
    """One busy user among few: counts stay exact."""
    busy = make_log(4, events=30_000, users=1, days=900)
    log = pl.concat(
        [busy, make_log(5, users=3).with_columns(user_id="v" + pl.col("user_id"), event_id="v" + pl.col("event_id"))]
    )
    shard = encode(log, definition)
    as_of = np.full(len(shard), log["occurred_at"].to_physical().max())
    X = compute(shard, np.arange(len(shard), dtype=np.int32), as_of, default_catalogue(definition, 900), threads=2)
    assert X[0, default_catalogue(definition, 900).names.index("any_count_all")] == 30_000


def test_inputs_are_not_changed(make_log: MakeLog, definition: ChurnDefinition) -> None:
    """Neither the frame nor the row arrays."""
    log = make_log(6)
    copy = log.clone()
    shard = encode(log, definition)
    at_user, at_us = np.array([1, 0], np.int32), np.array([2, 1], np.int64)
    compute(shard, at_user, at_us, default_catalogue(definition, 100))
    assert log.equals(copy)
    assert at_user.tolist() == [1, 0]
    assert at_us.tolist() == [2, 1]


def test_a_user_that_the_shard_lacks_is_refused(make_log: MakeLog, definition: ChurnDefinition) -> None:
    """The message says how many users there are."""
    shard = encode(make_log(1), definition)
    with pytest.raises(InputError, match="it holds 12 users"):
        compute(shard, np.array([12], np.int32), np.zeros(1, np.int64), Catalogue((Count("any"),)))


def test_too_many_windows_are_refused(make_log: MakeLog, definition: ChurnDefinition) -> None:
    """250 windows are plenty."""
    catalogue = Catalogue(tuple(Count("any", d) for d in range(1, 300)))
    with pytest.raises(InputError, match="299 different windows"):
        compute(encode(make_log(1), definition), np.zeros(1, np.int32), np.zeros(1, np.int64), catalogue)


def test_no_features_are_no_columns(make_log: MakeLog, definition: ChurnDefinition) -> None:
    """An empty catalogue, and one without any event feature."""
    shard = encode(make_log(1), definition)
    at_user, at_us = np.zeros(1, np.int32), np.zeros(1, np.int64)
    assert compute(shard, at_user, at_us, Catalogue(())).shape == (1, 0)
    assert compute(shard, at_user, at_us, Catalogue((Calendar("weekday"),)))[0, 0] == 3  # 1 January 1970: Thursday


def test_the_outcome_is_what_the_definition_says(make_log: MakeLog) -> None:
    """`outcome` follows the definition: any, or several types with orders counted once."""
    log = make_log(8)
    at_us = log["occurred_at"].to_physical().max()
    catalogue = Catalogue((Count("outcome"), Count("any"), Count("order+search"), Sum("value", "outcome")))
    for outcome, same_as in ((("any",), 1), (("search", "order"), 2)):
        shard = encode(log, ChurnDefinition(outcome=outcome))
        X = compute(shard, np.arange(len(shard), dtype=np.int32), np.full(len(shard), at_us), catalogue)
        assert (X[:, 0] == X[:, same_as]).all()


def test_a_user_taken_out_of_a_shard_is_the_user_encoded_alone(make_log: MakeLog, definition: ChurnDefinition) -> None:
    """Bit for bit, with columns that were there before and columns asked for later."""
    log = make_log(5, events=400, users=12)
    catalogue, few = default_catalogue(definition, 365), Catalogue((Count("order"), Sum("value", "order", 90)))
    as_of = np.array([log["occurred_at"].to_physical().max()])
    for ready in (True, False):
        shard = encode(log, definition)
        if ready:
            compute(shard, np.arange(len(shard), dtype=np.int32), np.repeat(as_of, len(shard)), catalogue)
        for place, user in enumerate(shard.user_ids):
            own, alone = shard.of_user(place), encode(log.filter(pl.col("user_id") == user), definition)
            assert own.user_ids.to_list() == alone.user_ids.to_list() == [user]
            assert own.events.equals(alone.events)
            for asked in (catalogue, few):
                found, expected = (compute(s, np.zeros(1, np.int32), as_of, asked) for s in (own, alone))
                np.testing.assert_array_equal(found, expected)


def test_the_kernels_are_compiled_once(make_log: MakeLog, definition: ChurnDefinition) -> None:
    """Whatever memory a shard's arrays live in: a second compilation would cost a user ten seconds."""
    sorted_log = make_log(9).sort("user_id", "occurred_at", "event_id")
    for log in (sorted_log, sorted_log.reverse(), sorted_log.clear(), sorted_log.drop_nulls("value").rechunk()):
        shard = encode(log, definition)
        at_user = np.arange(len(shard), dtype=np.int32)
        compute(shard, at_user, at_user[::-1].astype(np.int64), default_catalogue(definition, 90))
    assert len(rows._fill.signatures) == 1  # type: ignore[attr-defined]
