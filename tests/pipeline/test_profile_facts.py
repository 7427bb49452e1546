"""Facts, habits and the cohort of an encoded shard are those of plain queries over its events."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ebbtide.churn.definition import ANY, ChurnDefinition
from ebbtide.churn.labels import cohort_at
from ebbtide.explain.facts import user_facts
from ebbtide.explain.habits import user_habits
from ebbtide.features.cohort import eligible_users
from ebbtide.features.encode import encode

UTC = ZoneInfo("UTC")


@pytest.mark.parametrize("eligible", [("order",), ("search", "order"), ANY])
def test_the_cohort_is_that_of_the_events(sim_log, eligible):
    definition = ChurnDefinition(eligible=eligible, eligible_days=20.0)
    newest = sim_log["occurred_at"].max()
    for days in (0, 30, 61.5):
        as_of = newest - timedelta(days=days)
        known = sim_log.filter((pl.col("occurred_at") <= as_of) & (pl.col("ingested_at") <= as_of))
        shard = encode(known, definition)
        found = shard.user_ids.gather(eligible_users(shard, as_of, definition))
        assert len(found) > 0
        assert found.to_list() == cohort_at(known, as_of, definition)["user_id"].to_list()


def test_counts_money_and_rhythm_are_those_of_plain_queries(sim_log):
    """The same facts by Polars group by, on a simulated log."""
    definition, as_of = ChurnDefinition(), sim_log["occurred_at"].max()
    order = pl.col("type") == "order"
    days = sim_log.filter(order).group_by("user_id").agg(day=pl.col("occurred_at").dt.date().unique().sort())
    gaps = pl.col("day").list.diff(null_behavior="drop").list.eval(pl.element().dt.total_days())
    plain = (
        sim_log.group_by("user_id")
        .agg(
            orders=pl.coalesce("order_id", pl.col("occurred_at").cast(pl.String)).filter(order).n_unique().cast(pl.Int64),
            spent=pl.col("value").filter(order).sum(),
            refunds=pl.coalesce("order_id", "event_id").filter(pl.col("type") == "refund").n_unique().cast(pl.Int64),
            last_order_at=pl.col("occurred_at").filter(order).max(),
            support_contacts=(pl.col("type") == "support").sum().cast(pl.Int64),
        )
        .join(days.select("user_id", usual_gap_days=pl.when(gaps.list.len() >= 2).then(gaps.list.median())), on="user_id", how="left")
        .sort("user_id")
        .with_columns(spent=pl.when(pl.col("orders") > 0).then("spent"))
    )  # fmt: skip
    found = user_facts(encode(sim_log, definition), as_of, definition)
    assert_frame_equal(found.select(plain.columns), plain, rel_tol=1e-12)


def test_favourites_are_the_modes_of_plain_queries(sim_log):
    """The favourite channel by sorting all counts."""
    counted = (
        sim_log.filter(pl.col("channel").is_not_null())
        .group_by("user_id", "channel")
        .agg(orders=(pl.col("type") == "order").sum(), events=pl.len(), last=pl.col("occurred_at").max())
        .sort("user_id", "orders", "events", "last", "channel", descending=[False, True, True, True, False])
        .unique("user_id", keep="first", maintain_order=True)
    )
    found = user_habits(encode(sim_log, ChurnDefinition()), UTC).drop_nulls("channel")
    assert found["channel"].n_unique() > 1
    assert_frame_equal(found.select("user_id", "channel"), counted.select("user_id", "channel"))
