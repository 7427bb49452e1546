"""The item table: weekly, mergeable, and blind to what was not complete at the moment."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.windows import DAY_US
from ebbtide.features import tables
from ebbtide.features.catalogue import Catalogue
from ebbtide.features.declarations import Mean
from ebbtide.features.encode import encode
from ebbtide.features.engine import compute
from ebbtide.features.tables import ItemCounter, ItemTable

MakeLog = Callable[..., pl.DataFrame]
WEEK = 7 * DAY_US
ITEM_COLUMNS = Catalogue(tuple(Mean(c, "product_view", 60) for c in ("popularity", "popularity_change", "price_level")))


def count(events: pl.DataFrame, until_us: int) -> ItemTable:
    """The table of one log."""
    counter = ItemCounter(until_us)
    counter.add(events)
    return counter.table()


def same(a: ItemTable, b: ItemTable) -> bool:
    """Equal in every array."""
    return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in a.__dataclass_fields__)


@pytest.fixture
def views(make_log: MakeLog) -> pl.DataFrame:
    """One user's views of one item at 10 money, on day 3 of each of the weeks 2768..2779, and at 20 in week 2780."""
    week = np.arange(2768, 2781)
    base = make_log(0, events=len(week), users=1)
    moment = pl.Series(week * WEEK + 3 * DAY_US).cast(base.schema["occurred_at"])
    return base.with_columns(
        pl.lit("product_view").alias("type"), pl.lit("x").alias("item_id"), moment.alias("occurred_at"),
        moment.alias("ingested_at"), pl.Series("unit_price", np.where(week < 2780, 10.0, 20.0)),
    )  # fmt: skip


def facts(views: pl.DataFrame, table: ItemTable, as_of_us: int) -> list[float]:
    """popularity, its change and the price level over the last 60 days."""
    shard = encode(views, ChurnDefinition())
    return [
        float(v) for v in compute(shard, np.zeros(1, np.int32), np.array([as_of_us]), ITEM_COLUMNS, tables=table)[0]
    ]


def test_only_complete_weeks_count(views: pl.DataFrame) -> None:
    """At the end of week 2780 the last four complete weeks are 2777..2780, the four before 2773..2776.

    60 days hold the views of weeks 2773..2780, 53 to 4 days old; that of week 2772 is just 60 days old and out.
    """
    end = 2781 * WEEK
    table = count(views, end)
    usual = (12 * math.log(10) + math.log(20)) / 13
    popularity, change, level = facts(views, table, end)
    assert popularity == pytest.approx(math.log1p(4))
    assert change == pytest.approx(0)
    assert level == pytest.approx((7 * math.log(10) + math.log(20)) / 8 - usual, abs=1e-6)
    # one microsecond earlier week 2780 is not complete: usual is 10, the new price twice that; and nine views are in
    _, _, level = facts(views, table, end - 1)
    assert level == pytest.approx(math.log(2) / 9, abs=1e-6)


def test_after_the_table_ends_it_speaks_of_its_end(views: pl.DataFrame) -> None:
    """Weeks that the table never saw are not taken for weeks without sales."""
    table = count(views, 2777 * WEEK)
    popularity, change, _ = facts(views, table, 2781 * WEEK)
    assert (popularity, change) == (pytest.approx(math.log1p(4)), pytest.approx(0))


def test_an_event_counts_in_the_week_in_which_it_was_known(views: pl.DataFrame) -> None:
    """Delivered two weeks late, it is missing from its own week."""
    late = views.with_columns(ingested_at=pl.col("occurred_at") + pl.duration(days=14))
    table, punctual = count(late, 2781 * WEEK), count(views, 2779 * WEEK)
    assert np.array_equal(table.week - 2, punctual.week)


def test_shards_add_up_in_any_order(make_log: MakeLog) -> None:
    """Split by users, counted apart, merged: the same table to the last bit."""
    log, until = make_log(1, events=4000, users=30), 2000 * DAY_US * 10
    whole = count(log, until)
    for buckets in (2, 7):
        parts = [ItemCounter(until) for _ in range(buckets)]
        for i, part in enumerate(parts):
            part.add(log.filter(pl.col("user_id").hash() % buckets == i))
        for part in parts[:-1]:
            parts[-1].merge(part)
        assert same(whole, parts[-1].table())


def test_save_and_load(tmp_path: Path, make_log: MakeLog) -> None:
    """JSON and arrays, no pickle."""
    table = count(make_log(2), 3000 * WEEK)
    table.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["items.json", "items.npz"]
    assert same(ItemTable.load(tmp_path), table)


def test_many_events_are_looked_up_like_few(make_log: MakeLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are hashed once each in a large shard, once an event in a small one: the same rows, nulls unknown."""
    log = make_log(3)
    table = count(log.filter(pl.col("item_id") != "i3"), 3000 * WEEK)
    few = table.look_up(log["item_id"]).row
    monkeypatch.setattr(tables, "_FEW_EVENTS", 0)
    assert np.array_equal(few, table.look_up(log["item_id"]).row)
    unknown = log["item_id"].is_null() | (log["item_id"] == "i3").fill_null(False)
    assert np.array_equal(few < 0, unknown.to_numpy())


def test_items_that_the_table_never_saw_are_unknown(views: pl.DataFrame, make_log: MakeLog) -> None:
    """Another shop's table, an empty table, no table: NaN."""
    end = 2781 * WEEK
    other = count(views.with_columns(item_id=pl.lit("y")), end)
    for table in (other, count(views.clear(), end), None):
        shard = encode(views, ChurnDefinition())
        X = compute(shard, np.zeros(1, np.int32), np.array([end]), ITEM_COLUMNS, tables=table)
        assert np.isnan(X).all()
