"""Where candidates come from: popularity, baskets, rhythm, factorisation, each against arithmetic or its library."""

from __future__ import annotations

import warnings
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from ebbtide.actions.recommend.factors import AlsConfig, ItemFactors, liking
from ebbtide.actions.recommend.interactions import BOUGHT, Interactions, meetings_of
from ebbtide.actions.recommend.neighbours import Neighbours
from ebbtide.actions.recommend.popularity import popularity
from ebbtide.actions.recommend.rhythm import Rhythm
from ebbtide.actions.recommend.tables import items_of

from .conftest import AS_OF, START, events_of


def known(*rows: tuple[str, str, str, float], day: float = 100.0) -> Interactions:
    as_of = START + timedelta(days=day)
    met = meetings_of([events_of(*rows)], as_of)
    return Interactions.of(met, items_of(met)["item_id"], as_of)


def test_lines_of_one_item_in_one_basket_are_one_meeting() -> None:
    found = known(("u", "order", "a", 1.1), ("u", "order", "a", 1.4), ("u", "order", "a", 2.0))
    assert found.times.tolist() == [2.0, 1.0]
    assert len(np.unique(found.basket)) == 2


def test_nothing_that_was_not_known_counts() -> None:
    before = events_of(("u", "order", "a", 1.0), ("v", "product_view", "b", 2.0))
    later = events_of(("u", "order", "b", 101.0))
    late = events_of(("w", "order", "c", 50.0), known_after=60.0)
    as_of = START + timedelta(days=100)
    assert meetings_of([pl.concat([before, later, late])], as_of).equals(meetings_of([before], as_of))


def test_the_split_into_shards_does_not_matter(log: pl.DataFrame) -> None:
    one = meetings_of([log], AS_OF)
    parts = meetings_of(log.partition_by("user_id"), AS_OF)
    items = items_of(one)
    assert items.equals(items_of(parts))
    first, second = (Interactions.of(met, items["item_id"], AS_OF) for met in (one, parts))
    for name in ("start", "item", "kind", "at_us", "basket", "times"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name


def test_a_purchase_of_one_half_life_ago_counts_one_half() -> None:
    found = known(("u", "order", "a", 100.0), ("v", "order", "a", 93.0), ("v", "order", "b", 86.0))
    assert popularity(found, 7.0).tolist() == pytest.approx([1.5, 0.25])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sets(st.integers(0, 6), min_size=1, max_size=5), min_size=1, max_size=12))
def test_neighbours_are_counted_as_in_a_plain_loop(baskets: list[set[int]]) -> None:
    group = np.array([g for g, basket in enumerate(baskets) for _ in basket])
    item = np.array([i for basket in baskets for i in sorted(basket)])
    found = Neighbours.fit(group, item, 7).strength.toarray()
    pair, single = np.zeros((7, 7)), np.zeros(7)
    for basket in baskets:
        weight = 1 / np.log2(1 + len(basket))
        for i in basket:
            single[i] += weight
            for j in basket - {i}:
                pair[i, j] += weight
    assert found == pytest.approx(pair / (np.sqrt(np.outer(single, single)) + 5.0), abs=1e-6)


def test_only_the_strongest_neighbours_are_kept() -> None:
    group, item = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 0, 1, 0, 2])
    found = Neighbours.fit(group, item, 3, most=1).strength.toarray()
    assert (found > 0).tolist() == [[False, True, False], [True, False, False], [True, False, False]]


def test_a_huge_basket_counts_a_spread_of_its_items() -> None:
    found = Neighbours.fit(np.zeros(1000, np.int64), np.arange(1000), 1000, most=999)
    assert len(np.unique(found.strength.indices)) == 150


def test_the_gap_of_an_item_is_the_median_between_two_purchases_of_one_user() -> None:
    """a: u after 10 and 30 days, v after 20; b: bought once."""
    rows = [("u", 0.0), ("u", 10.0), ("u", 40.0), ("v", 5.0), ("v", 25.0)]
    found = Rhythm.fit(known(*[(u, "order", "a", d) for u, d in rows], ("w", "order", "b", 3.0)))
    assert found.gap_days[0] == 20.0
    assert np.isnan(found.gap_days[1])
    assert found.again.tolist() == pytest.approx([(2 + 10 * 2 / 3) / 12, (0 + 10 * 2 / 3) / 11])
    assert found.usual_days == 20.0  # u every 20 days, v every 20


def test_a_users_factors_are_those_of_the_library(log: pl.DataFrame) -> None:
    """One least-squares step from the items' factors, as `implicit` recalculates a user."""
    als = pytest.importorskip("implicit.cpu.als", reason="the extra `recommend` is not installed")
    met = meetings_of([log], AS_OF)
    found = Interactions.of(met, items_of(met)["item_id"], AS_OF)
    config = AlsConfig(factors=8)
    ours = ItemFactors.fit(found, config, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of BLAS threads
        theirs = als.AlternatingLeastSquares(factors=8, regularization=config.regularisation, num_threads=1)
    theirs.item_factors = ours.Y
    liked = sparse.csr_matrix(liking(found, config))
    expected = np.stack([theirs.recalculate_user(u, liked[u]) for u in range(10)])
    assert ours.users(found.block(0, 10)) == pytest.approx(expected, abs=2e-4)


def test_kinds_count_by_what_they_say() -> None:
    found = known(("u", "order", "a", 100.0), ("u", "product_view", "b", 100.0))
    assert liking(found, AlsConfig(confidence=10.0)).toarray()[0].tolist() == pytest.approx([11.0, 2.5])
    assert liking(found, AlsConfig(confidence=10.0, kinds=(BOUGHT,))).toarray()[0].tolist() == pytest.approx(
        [11.0, 0.0]
    )
