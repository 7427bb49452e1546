"""RFM scores are quintiles; segments read them from one table."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ebbtide.explain.rfm import _TABLE, SEGMENTS, Rfm, fit_rfm


@pytest.fixture(scope="module")
def buyers():
    rng = np.random.default_rng(1)
    orders = rng.geometric(0.3, 500)
    return pl.DataFrame(
        {
            "days_since_order": rng.permutation(500) + 0.5,
            "orders": orders,
            "spent": orders * rng.lognormal(3, 1, 500),
        }
    )


def test_scores_of_distinct_values_are_fifths(buyers):
    scores = fit_rfm(buyers).scores(buyers)
    assert scores["recency_score"].value_counts().sort("recency_score")["count"].to_list() == [100] * 5
    assert scores["money_score"].value_counts().sort("money_score")["count"].to_list() == [100] * 5
    newest = scores.filter(buyers["days_since_order"] < 100)
    assert newest["recency_score"].unique().to_list() == [5]


def test_equal_values_get_equal_scores_and_more_never_gets_less(buyers):
    both = buyers.hstack(fit_rfm(buyers).scores(buyers)).sort("orders")
    assert both.group_by("orders").agg(pl.col("frequency_score").n_unique())["frequency_score"].max() == 1
    assert both["frequency_score"].is_sorted()


def test_the_best_are_champions_and_the_worst_lost():
    rfm = Rfm((1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 3.0, 4.0))
    asked = pl.DataFrame(
        {"days_since_order": [0.5, 9.0, 9.0, 0.5], "orders": [9, 1, 9, 1], "spent": [9.0, 1.0, 9.0, 0.1]}
    )
    assert rfm.scores(asked)["segment"].to_list() == ["champions", "lost", "cannot_lose", "newcomers"]


def test_without_money_frequency_decides_alone_and_without_orders_there_is_no_segment():
    rfm = fit_rfm(pl.DataFrame({"days_since_order": [1.0, 2.0], "orders": [1, 2], "spent": [None, None]}))
    assert rfm.money is None
    asked = pl.DataFrame({"days_since_order": [1.0, None], "orders": [2, 0], "spent": [None, None]})
    scores = rfm.scores(asked)
    assert scores["money_score"].null_count() == 2
    assert scores["segment"].is_null().to_list() == [False, True]


def test_nobody_with_an_order_gives_no_quintiles():
    assert fit_rfm(pl.DataFrame({"days_since_order": [None], "orders": [0], "spent": [None]})) is None


def test_every_segment_has_a_place_and_a_name():
    assert {name for line in _TABLE for name in line} == set(SEGMENTS)


def test_saved_and_read_it_scores_the_same(buyers):
    rfm = fit_rfm(buyers)
    assert Rfm.from_json(rfm.to_json()) == rfm
