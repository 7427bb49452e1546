"""The profile frame: one row for each known user, the same as the list says, and nothing known later in it."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from ebbtide.explain.profile_columns import PROFILE_COLUMNS
from ebbtide.explain.rfm import SEGMENTS
from ebbtide.explain.stages import STAGES
from ebbtide.pipeline.profiles import profile_everybody, profile_frame


@pytest.fixture(scope="module")
def frame(trained):
    return profile_frame(trained.shop.config, trained.shop.root, as_of=trained.shop.until)


def known(log, until):
    return log.filter((pl.col("occurred_at") <= until) & (pl.col("ingested_at") <= until))


def test_every_known_user_has_exactly_one_row(frame, sim_log, trained):
    users = known(sim_log, trained.shop.until)["user_id"].unique().sort()
    assert frame["user_id"].to_list() == users.to_list()


def test_the_columns_are_the_declared_ones(frame):
    assert dict(frame.schema) == {name: c.dtype for name, c in PROFILE_COLUMNS.items()}


def test_every_user_has_a_stage_and_every_buyer_a_segment(frame):
    assert set(frame["stage"]) <= set(STAGES)
    assert frame["stage"].null_count() == 0
    assert set(frame.filter(pl.col("orders") > 0)["segment"]) <= set(SEGMENTS)
    assert frame.filter(pl.col("orders") == 0)["segment"].is_null().all()


def test_the_eligible_are_those_of_the_list_with_the_same_figures(frame, trained):
    listed = trained.shop.score(reasons="none").frame.sort("user_id")
    columns = ("user_id", "churn_probability", "percentile", "band", "expected_orders", "value_at_risk")
    assert_frame_equal(frame.filter("eligible").select(columns), listed.select(columns), rel_tol=1e-6)


def test_the_lapsed_are_there_without_a_probability(frame):
    lapsed = frame.filter(pl.col("stage") == "lapsed")
    assert len(lapsed) > 10
    assert lapsed["churn_probability"].null_count() == len(lapsed)
    assert lapsed["next_order_expected_at"].null_count() == len(lapsed)


def test_the_next_order_lies_ahead_and_inside_its_interval(frame, trained):
    ahead = frame.drop_nulls("next_order_expected_at")
    assert len(ahead) > 100
    inside = ahead.select(
        (pl.lit(trained.shop.until) < pl.col("next_order_from"))
        & (pl.col("next_order_from") <= pl.col("next_order_expected_at"))
        & (pl.col("next_order_expected_at") <= pl.col("next_order_until"))
    ).to_series()
    assert inside.all()


def test_later_events_and_other_buckets_change_nothing(frame, sim_log, trained, open_shop):
    """Cut at the moment and spread over seven buckets, the log gives the same rows."""
    cut = open_shop(known(sim_log, trained.shop.until), buckets=7).borrow(trained.shop)
    again = profile_frame(cut.config, cut.root, as_of=trained.shop.until)
    assert_frame_equal(again, frame, rel_tol=1e-9)


def test_a_log_that_cannot_tell_leaves_columns_empty(sim_log, trained, open_shop):
    """Orders alone: no service, no clicks; columns about those are null, not zero."""
    orders = sim_log.filter(pl.col("type") == "order").with_columns(coupon=pl.lit(None, pl.String))
    shop, bundle = open_shop(orders), replace(trained.bundle, profiles={})
    frame = profile_everybody(shop.lake, trained.shop.until, bundle, shop.config)
    empty = {name for name in frame.columns if frame[name].null_count() == len(frame)}
    assert {"refunds", "late_deliveries", "support_contacts", "unsolved_contacts", "coupon_share"} <= empty
    assert "last_rating" in empty
    assert frame["orders"].null_count() == 0


def test_the_reference_of_the_bundle_is_that_of_the_moment_of_training(frame, trained):
    """Surveyed anew at the same moment, it gives the same segments, groups and price levels."""
    fresh = replace(trained.bundle, profiles={})
    again = profile_everybody(trained.shop.lake, trained.shop.until, fresh, trained.shop.config)
    assert_frame_equal(again, frame)
