"""Planted truth: on a simulated shop whose lives are known, the list finds who leaves, in advance and in degree."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from ebbtide.churn.labels import churn_labels
from ebbtide.events.simulate import Truth
from ebbtide.pipeline.score import score_shard


@pytest.fixture(scope="module")
def outcome(sim_log, trained):
    """The list as of UNTIL beside what happened in the 30 days after it, which no model has seen."""
    listed = trained.shop.score(reasons="none").frame
    labels = churn_labels(
        sim_log, listed.select("user_id"), as_of=trained.shop.until, definition=trained.bundle.definition,
        known_until=trained.shop.end,
    )  # fmt: skip
    assert labels["churned"].null_count() == 0
    return listed.join(labels, on="user_id", how="inner", maintain_order="left")


@pytest.fixture(scope="module")
def auroc(outcome):
    return roc_auc_score(outcome["churned"], outcome["churn_probability"])


def test_the_list_ranks_far_better_than_chance(auroc):
    assert auroc > 0.8


def test_the_list_ranks_clearly_better_than_recency(auroc, outcome, sim_log, trained):
    """The rule of thumb: whoever has been away longest will not come back."""
    until = trained.shop.until
    known = (pl.col("occurred_at") <= until) & (pl.col("ingested_at") <= until) & (pl.col("type") == "order")
    last = sim_log.filter(known).group_by("user_id").agg(last=pl.col("occurred_at").max())
    silence = outcome.join(last, on="user_id", maintain_order="left").select((until - pl.col("last")).dt.total_hours())
    rule = roc_auc_score(outcome["churned"], silence.to_series())
    assert rule > 0.55
    assert auroc > rule + 0.02


def test_the_probabilities_are_right_on_average_and_inform(outcome):
    p, y = outcome["churn_probability"].to_numpy(), outcome["churned"].to_numpy()
    assert p.mean() == pytest.approx(y.mean(), abs=0.1)
    assert log_loss(y, p) < 0.9 * log_loss(y, np.full(len(y), y.mean()))


def test_bands_are_ordered_by_what_happened(outcome):
    rates = dict(outcome.group_by("band").agg(pl.col("churned").mean()).iter_rows())
    assert rates["high"] > rates["medium"] > rates["low"]


def test_expected_orders_follow_what_happened(outcome):
    kept, lost = (outcome.filter(pl.col("churned") == c)["expected_orders"].mean() for c in (False, True))
    assert kept > 1.5 * lost


def test_who_has_left_is_more_at_risk_than_who_has_not(trained, outcome, simulation):
    """By the hidden state, which no label shows: some who stay are silent for 30 days, some who left had just ordered."""
    truth = Truth(simulation).at(trained.shop.until)
    both = outcome.join(truth, on="user_id", how="inner")
    gone = both.filter(~pl.col("still_customer"))["churn_probability"]
    here = both.filter("still_customer")["churn_probability"]
    assert len(gone) > 20
    assert gone.mean() > here.mean() + 0.1


def test_silence_raises_the_risk_of_the_same_customer(sim_log, trained):
    """The same events seen 0, 20 and 60 days later: for almost everybody the probability of churn goes up."""
    until, bundle = trained.shop.until, trained.bundle
    known = sim_log.filter((pl.col("occurred_at") <= until) & (pl.col("ingested_at") <= until))
    at = [
        score_shard(known, until + timedelta(days=d), bundle, reasons="none").select(
            "user_id", pl.col("churn_probability").alias(str(d))
        )
        for d in (0, 20, 60)
    ]
    both = at[0].join(at[1], on="user_id").join(at[2], on="user_id")
    assert (both["20"] > both["0"]).mean() > 0.9
    assert (both["60"] > both["0"]).mean() > 0.95
