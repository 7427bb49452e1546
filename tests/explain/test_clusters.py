"""Groups found without labels: planted ones are found, named by what stands out, and do not depend on row order."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ebbtide.explain.clusters import Clusters, fit_clusters


@pytest.fixture(scope="module")
def crowd():
    """Two kinds of 150 users: regulars with small orders, and rare guests with large ones who use coupons."""
    rng = np.random.default_rng(2)
    regular = np.arange(300) < 150
    return pl.DataFrame(
        {
            "user_id": [f"u{i:03}" for i in range(300)],
            "outcome_days": np.where(regular, rng.integers(20, 30, 300), rng.integers(1, 3, 300)),
            "days_since_outcome": rng.exponential(20, 300),
            "days_since_first": rng.uniform(100, 200, 300),
            "average_order_value": np.where(regular, 10.0, 200.0) * rng.lognormal(0, 0.1, 300),
            "coupon_share": np.where(regular, 0.0, rng.uniform(0.6, 1.0, 300)),
            "refund_share": np.zeros(300),
            "support_contacts": np.zeros(300),
        }
    )


def test_planted_groups_are_found_and_named(crowd):
    found = fit_clusters(crowd, 2)
    numbers = found.number(crowd).to_numpy()
    assert (numbers[:150] == 1).all()
    assert (numbers[150:] == 2).all()
    first, second = found.names()
    assert {"come often", "small orders", "without coupons"} == set(first.en.split(", "))
    assert "常来" in first.zh
    assert {"come seldom", "large orders", "often with a coupon"} == set(second.en.split(", "))


def test_a_fact_that_is_the_same_for_all_is_no_trait(crowd):
    assert "refund_share" not in fit_clusters(crowd, 3).traits


def test_row_order_and_repetition_change_nothing(crowd):
    found = fit_clusters(crowd, 4)
    assert fit_clusters(crowd.sample(fraction=1.0, shuffle=True, seed=4), 4) == found == fit_clusters(crowd, 4)
    assert Clusters.from_json(found.to_json()) == found


def test_names_differ(crowd):
    names = [name.en for name in fit_clusters(crowd, 6).names()]
    assert len(set(names)) == len(names)


def test_who_never_came_belongs_nowhere(crowd):
    asked = crowd.head(2).with_columns(outcome_days=pl.Series([None, 25], dtype=pl.Int64))
    assert fit_clusters(crowd, 2).number(asked).to_list() == [None, 1]


def test_users_that_cannot_be_told_apart_form_no_groups(crowd):
    assert fit_clusters(crowd.head(1), 5) is None
    assert fit_clusters(crowd.clear(), 5) is None
