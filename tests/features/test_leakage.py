"""Nothing that was not known at as_of may change a feature, bit for bit; nor may the way the rows came."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.windows import DAY_US, from_us
from ebbtide.features.catalogue import Catalogue, default_catalogue
from ebbtide.features.encode import EncodedShard, encode
from ebbtide.features.engine import compute
from ebbtide.features.tables import ItemCounter, ItemTable

MakeLog = Callable[..., pl.DataFrame]
Rows = Callable[[EncodedShard], tuple[NDArray[np.int32], NDArray[np.int64]]]


@pytest.fixture(scope="module")
def everything() -> Catalogue:
    """All default features of a question on `any`, which uses every kernel, with the item table's."""
    anything = ChurnDefinition(outcome=("any",), horizon_days=14.0, eligible=("any",))
    features = (*default_catalogue(ChurnDefinition(), 200, with_item_table=True).features,)
    more = [f for f in default_catalogue(anything, 200).features if f not in features]
    assert len({*features, *more}) > 250
    return Catalogue((*features, *more), ("order",))


@pytest.fixture(params=["as it happens", "late"])
def log(request: pytest.FixtureRequest, make_log: MakeLog) -> pl.DataFrame:
    """A log, once without and once with late events."""
    return make_log(7, late=0.4 if request.param == "late" else 0.0)


def table_of(events: pl.DataFrame, until_us: int) -> ItemTable:
    """The item table of a log."""
    counter = ItemCounter(until_us)
    counter.add(events)
    return counter.table()


def as_known(events: pl.DataFrame, as_of_us: int) -> pl.DataFrame:
    """What was known of a log at a moment."""
    moment = from_us(as_of_us)
    return events.filter(pl.col("occurred_at") <= moment, pl.col("ingested_at") <= moment)


def assert_same_bits(a: NDArray[np.float32], b: NDArray[np.float32], names: tuple[str, ...]) -> None:
    """Equal to the last bit, NaN included."""
    changed = (a.view(np.uint32) != b.view(np.uint32)) & ~(np.isnan(a) & np.isnan(b))
    assert not changed.any(), [names[i] for i in np.flatnonzero(changed.any(axis=0))][:5]


def test_what_is_not_known_at_as_of_changes_no_feature(
    log: pl.DataFrame, rows: Rows, everything: Catalogue, definition: ChurnDefinition
) -> None:
    """Each moment, computed on the whole log, equals the same moment on the log as it was known then."""
    whole = encode(log, definition)
    at_user, at_us = rows(whole)
    table = table_of(log, int(at_us.max()) + 400 * DAY_US)
    X = compute(whole, at_user, at_us, everything, tables=table)
    assert np.isfinite(X).mean() > 0.4
    for as_of in np.unique(at_us).tolist():
        past = as_known(log, as_of)
        shard = encode(past, definition)
        users = {user: i for i, user in enumerate(whole.user_ids)}
        places = np.array([users[user] for user in shard.user_ids], np.int64)
        alone = compute(
            shard, np.arange(len(shard), dtype=np.int32), np.full(len(shard), as_of), everything,
            tables=table_of(past, as_of),
        )  # fmt: skip
        at = np.flatnonzero(at_us == as_of)[places]
        assert_same_bits(X[at], alone, everything.names)


@pytest.mark.parametrize("seed", range(3))
def test_row_order_changes_no_feature(
    seed: int, log: pl.DataFrame, rows: Rows, everything: Catalogue, definition: ChurnDefinition
) -> None:
    """Shuffled rows give the same bits: ties in time are ordered by event id."""
    shuffled = log.sample(fraction=1.0, shuffle=True, seed=seed)
    shard, other = encode(log, definition), encode(shuffled, definition)
    at_user, at_us = rows(shard)
    assert shard.user_ids.equals(other.user_ids)
    assert_same_bits(
        compute(shard, at_user, at_us, everything), compute(other, at_user, at_us, everything), everything.names
    )


def test_other_users_of_the_shard_change_no_feature(
    log: pl.DataFrame, rows: Rows, everything: Catalogue, definition: ChurnDefinition
) -> None:
    """A user alone has the features that the user has among others."""
    shard = encode(log, definition)
    at_user, at_us = rows(shard)
    X = compute(shard, at_user, at_us, everything)
    for user in (0, len(shard) - 1):
        own = encode(log.filter(pl.col("user_id") == shard.user_ids[user]), definition)
        at = at_user == user
        alone = compute(own, np.zeros(at.sum(), np.int32), at_us[at], everything)
        assert_same_bits(X[at], alone, everything.names)


def test_threads_and_order_of_the_asked_rows_change_no_feature(
    log: pl.DataFrame, rows: Rows, everything: Catalogue, definition: ChurnDefinition
) -> None:
    """Many threads equal one; rows asked for in any order, or one by one, equal rows asked for together."""
    shard = encode(log, definition)
    at_user, at_us = rows(shard)
    X = compute(shard, at_user, at_us, everything, threads=1)
    assert_same_bits(X, compute(shard, at_user, at_us, everything, threads=3), everything.names)
    shuffle = np.random.default_rng(0).permutation(len(X))
    assert_same_bits(X[shuffle], compute(shard, at_user[shuffle], at_us[shuffle], everything), everything.names)
    for i in shuffle[:8]:
        one = compute(shard, at_user[i : i + 1], at_us[i : i + 1], everything)
        assert_same_bits(X[i : i + 1], one, everything.names)


def test_an_event_counts_from_the_moment_it_is_known(make_log: MakeLog, definition: ChurnDefinition) -> None:
    """Delivered a day late, an event is absent just before its arrival and present at it."""
    log = make_log(3, events=200, users=1)
    day = pl.duration(days=1)
    late = log.with_columns(ingested_at=pl.col("occurred_at") + day)
    last = late.sort("ingested_at")["ingested_at"].to_physical()[-1]
    catalogue = default_catalogue(definition, 200).keep(["any_count_all"])
    shard = encode(late, definition)
    moments = np.array([last - 1, last])
    before, after = compute(shard, np.zeros(2, np.int32), moments, catalogue)[:, 0]
    arriving = late.filter(pl.col("ingested_at").to_physical() == last).height
    assert (before, after) == (200 - arriving, 200)
