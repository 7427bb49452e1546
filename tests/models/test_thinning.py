"""A sample of users: stable, whole, and never without one of the two classes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ebbtide.models.thinning import thinned


@pytest.fixture(scope="module")
def rows(make_rows):
    rows = make_rows(1000)
    return replace(rows, user=np.repeat(rows.user[:250], 4))


def test_few_rows_stay(rows):
    assert thinned(rows, 1000) is rows


def test_users_come_with_all_their_rows_or_none(rows):
    kept = thinned(rows, 300)
    assert 250 <= len(kept) <= 304
    _, counts = np.unique(kept.user, return_counts=True)
    assert (counts == 4).all()


def test_the_order_of_rows_does_not_matter(rows):
    order = np.random.default_rng(0).permutation(1000)
    assert set(thinned(rows.take(order), 300).user) == set(thinned(rows, 300).user)


def test_a_smaller_sample_lies_within_a_larger(rows):
    assert set(thinned(rows, 100).user) <= set(thinned(rows, 400).user)


def test_a_sample_of_one_class_is_no_sample(rows):
    rare = replace(rows, y=(rows.user == rows.user.max()).astype(float))
    assert len(thinned(rare, 100)) == 1000
