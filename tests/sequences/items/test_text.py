"""Texts by hashed n-grams: neighbours mean the same, in both languages."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tests.sequences.items.made import items_of, own_kind_share

from ebbtide.core.ngrams import HASHES, hashed_ngrams
from ebbtide.sequences.items.text import TextEncoder


@pytest.mark.parametrize("language", ["goods", "chinese_goods"])
def test_the_nearest_item_is_of_the_same_kind(language: str, request: pytest.FixtureRequest) -> None:
    items: pl.DataFrame = request.getfixturevalue(language)
    vectors = TextEncoder(dims=8).fit(items, 0).encode(items).vectors
    assert own_kind_share(vectors, items["category"].to_list()) >= 0.85


def test_case_and_spelling_variants_stay_close(goods: pl.DataFrame) -> None:
    encoder = TextEncoder(dims=8).fit(goods, 0)
    a, b, other = encoder.encode(items_of(text=["WOOL SCARF", "woolen scarfs", "led lamp"])).vectors
    assert a @ b > a @ other


def test_a_text_without_a_known_ngram_is_unknown(goods: pl.DataFrame) -> None:
    """And so is one of blanks."""
    vectors, problems = TextEncoder(dims=8).fit(goods, 0).encode(items_of(text=["Ωψξ", "  ", "mug", None]))
    assert np.isnan(vectors).all(axis=1).tolist() == [True, True, False, True]
    assert problems == {"empty": 1, "unreadable": 2}


def test_weights_by_hand() -> None:
    """Three texts: `ab` stands in two of them, rarity log(4 / 3) + 1; what stands in one only is not kept."""
    encoder = TextEncoder(dims=2).fit(items_of(text=["ab", "ab x", "cd"]), 0)
    ngrams = hashed_ngrams(pl.Series(["ab"])).indices  # " a", "ab", "b ", " ab", "ab ", " ab "
    assert set(encoder.kept) == set(ngrams)
    assert len(ngrams) == 6
    assert encoder.rarity == pytest.approx(np.log(4 / 3) + 1)


def test_directions_are_orthonormal_and_few_texts_have_few(goods: pl.DataFrame) -> None:
    axes = TextEncoder(dims=64).fit(goods, 0).axes
    assert axes.shape[0] == 15
    np.testing.assert_allclose(axes @ axes.T, np.eye(15), atol=1e-4)


def test_counts_are_those_of_the_characters() -> None:
    counts = hashed_ngrams(pl.Series(["aa aa"]))
    assert counts.shape == (1, HASHES)
    assert sorted(counts.data.tolist()) == [2.0] * 6
