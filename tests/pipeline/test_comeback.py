"""The model of coming back: an inverse cohort, tested on moments that it had not seen, kept in the bundle."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.churn.labels import labelled_cohorts
from ebbtide.models.bundle import load_bundle
from ebbtide.pipeline.profiles import profile_everybody


@pytest.fixture(scope="module")
def returning(sim_log, open_shop):
    """A question with a short eligibility window, so that many lapse and some come back; one plain model."""
    shop = open_shop(sim_log, churn={"horizon": "20d", "eligible": "order in 20d"})
    report = shop.with_train(model="frequency").train()
    return shop, report, shop.shelf.load(report.bundle)


@pytest.fixture(scope="module")
def frame(returning):
    shop, _, bundle = returning
    return profile_everybody(shop.lake, shop.until, bundle, shop.config)


def test_the_lapsed_had_an_outcome_once_and_none_in_the_window(sim_log):
    """Against the definition in Polars, at three moments."""
    definition = ChurnDefinition(horizon_days=20.0, eligible_days=30.0)
    until = sim_log["ingested_at"].max()
    moments = [until - timedelta(days=d) for d in (40, 60, 90)]
    found = labelled_cohorts(sim_log, moments, definition, known_until=until, lapsed=True)
    orders = sim_log.filter(pl.col("type") == "order")
    for at in moments:
        known = orders.filter((pl.col("occurred_at") <= at) & (pl.col("ingested_at") <= at))
        last = known.group_by("user_id").agg(pl.col("occurred_at").max())
        lapsed = last.filter(pl.col("occurred_at") <= at - timedelta(days=30))["user_id"].sort()
        after = orders.filter((pl.col("occurred_at") > at) & (pl.col("occurred_at") <= at + timedelta(days=20)))
        own = found.filter(pl.col("as_of") == at)
        assert own["user_id"].to_list() == lapsed.to_list()
        assert own.filter(~pl.col("churned"))["user_id"].to_list() == [u for u in lapsed if u in set(after["user_id"])]


def test_the_model_tells_who_comes_back(returning):
    _, report, bundle = returning
    figures = bundle.comeback.figures
    assert figures.auroc.low > 0.5
    assert abs(figures.predicted - figures.observed) < 0.1
    assert f"AUROC {figures.auroc.value:.3f}" in report.comeback.en
    assert "回归" in report.comeback.zh


def test_the_lapsed_and_only_they_have_a_chance_of_coming_back(frame):
    assert (frame["comeback_probability"].is_not_null() == (frame["stage"] == "lapsed")).all()
    assert frame["comeback_probability"].drop_nulls().is_between(0, 1).all()


def test_who_came_back_had_been_given_the_better_chances(frame, returning, sim_log):
    """In the 20 days after the moment of training, which no model has seen."""
    shop, _, _ = returning
    after = (pl.col("occurred_at") > shop.until) & (pl.col("occurred_at") <= shop.until + timedelta(days=20))
    back = sim_log.filter(after & (pl.col("type") == "order"))["user_id"].unique()
    lapsed = frame.filter(pl.col("stage") == "lapsed").with_columns(back=pl.col("user_id").is_in(back.implode()))
    mean = dict(lapsed.group_by("back").agg(pl.col("comeback_probability").mean()).iter_rows())
    assert mean[True] > 1.5 * mean[False]


def test_a_log_with_too_few_returns_says_so_and_has_no_chances(trained):
    assert trained.bundle.comeback is None
    assert "no model of coming back" in trained.report.comeback.en
    assert trained.report.to_json()["comeback"] == trained.report.comeback.en


def test_bundles_without_it_are_read_and_with_it_are_sealed(returning, tmp_path):
    """A changed file of the model is found, as of every other file of the bundle."""
    shop, report, bundle = returning
    folder = shop.shelf.folder / report.bundle
    again = load_bundle(folder)
    assert again.comeback.figures == bundle.comeback.figures
    assert "comeback/comeback.json" in again.manifest["files"]
    bare = replace(bundle, comeback=None)
    frame = profile_everybody(shop.lake, shop.until, bare, shop.config)
    assert frame["comeback_probability"].null_count() == len(frame)
