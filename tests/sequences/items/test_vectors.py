"""Item vectors: the version in force, nothing before its time, nothing from after training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.sequences.items.made import items_of

from ebbtide.core.ids import hash_texts
from ebbtide.core.windows import to_us
from ebbtide.sequences.items.ready import ReadyEncoder
from ebbtide.sequences.items.text import TextEncoder
from ebbtide.sequences.items.vectors import ItemVectors

JANUARY, FEBRUARY, MARCH = (datetime(2024, m, 1, tzinfo=UTC) for m in (1, 2, 3))


def hashes(*names: str) -> np.ndarray:
    return hash_texts(pl.Series(names))


@pytest.fixture
def versions() -> pl.DataFrame:
    """a: [1, 0] from January, [0, 1] from March; b: always [1, 1]; c: from February, without a vector."""
    return items_of(
        item_id=["a", "a", "b", "c"],
        valid_from=[MARCH, JANUARY, None, FEBRUARY],
        vector=["[0, 1]", "[1, 0]", "[1, 1]", None],
    )


@pytest.fixture
def fitted(versions: pl.DataFrame) -> ItemVectors:
    """Fitted in March on vectors whose mean square is 2 / 3."""
    return ItemVectors.fit(ReadyEncoder(), versions, MARCH, seed=0)


def at(vectors: ItemVectors, name: str, moment: datetime) -> list[float]:
    return (vectors.look_up(hashes(name), to_us(moment))[0] / vectors.scale).round(6).tolist()


def test_a_row_counts_from_its_valid_from_on(fitted: ItemVectors) -> None:
    moment = timedelta(microseconds=1)
    assert at(fitted, "a", JANUARY - moment) == [0, 0]
    assert at(fitted, "a", JANUARY) == [1, 0]
    assert at(fitted, "a", MARCH - moment) == [1, 0]
    assert at(fitted, "a", MARCH) == [0, 1]
    assert at(fitted, "b", datetime(1990, 1, 1, tzinfo=UTC)) == [1, 1]


def test_unseen_items_are_zeros_and_flagged(fitted: ItemVectors) -> None:
    """An unseen item, one without a vector, and hash 0, no item at all."""
    asked = np.append(hashes("z", "c", "b"), np.uint64(0))
    assert (fitted.rows(asked, to_us(MARCH)) >= 0).tolist() == [False, False, True, False]
    assert not fitted.look_up(asked, to_us(MARCH))[[0, 1, 3]].any()
    assert fitted.problems == {"empty": 1}


def test_the_mean_square_of_training_vectors_is_one(fitted: ItemVectors) -> None:
    assert fitted.scale == pytest.approx(np.sqrt(3 / 2))
    assert np.square(fitted.vector).mean() == pytest.approx(1)


def test_any_shape_and_a_moment_for_each(fitted: ItemVectors) -> None:
    asked = hashes("a", "b", "a", "z").reshape(2, 2)
    moments = np.array([[to_us(JANUARY)], [to_us(MARCH)]])
    found = fitted.look_up(asked, moments)
    assert found.shape == (2, 2, 2)
    assert (found / fitted.scale).round(6).tolist() == [[[1, 0], [1, 1]], [[0, 1], [0, 0]]]


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 9), st.integers(-5, 5)), min_size=1, max_size=30),
    st.lists(st.tuples(st.sampled_from("abcdz"), st.integers(-1, 11)), min_size=1, max_size=20),
)
def test_look_up_is_the_last_version_by_then(rows: list[tuple[str, int, int]], asked: list[tuple[str, int]]) -> None:
    """Against a plain walk over the versions."""
    days = {(name, day): value for name, day, value in sorted(rows)}
    items = items_of(
        item_id=[n for n, _ in days],
        valid_from=[JANUARY + timedelta(days=d) for _, d in days],
        vector=[f"[{v}, 1]" for v in days.values()],
    )
    vectors = ItemVectors.fit(ReadyEncoder(), items, MARCH, seed=0)
    moments = np.array([to_us(JANUARY + timedelta(days=d)) for _, d in asked])
    found = vectors.look_up(hashes(*(n for n, _ in asked)), moments) / vectors.scale
    for (name, day), got in zip(asked, found, strict=True):
        past = [v for (n, d), v in sorted(days.items()) if n == name and d <= day]
        assert got.round(4).tolist() == ([past[-1], 1] if past else [0, 0])


def test_what_counts_only_after_training_changes_nothing(goods: pl.DataFrame) -> None:
    """Bit for bit: later items and versions, however strange, are not seen."""
    known = goods.with_columns(valid_from=pl.lit(JANUARY).cast(goods.schema["valid_from"]))
    later = known.with_columns(
        text=pl.lit("zeppelin ") + pl.col("text").str.reverse(),
        valid_from=pl.lit(MARCH).cast(goods.schema["valid_from"]),
    )
    one = ItemVectors.fit(TextEncoder(dims=6), known, FEBRUARY, seed=0)
    two = ItemVectors.fit(TextEncoder(dims=6), pl.concat([later, known]), FEBRUARY, seed=0)
    assert np.array_equal(one.vector, two.vector)
    assert np.array_equal(one.item, two.item)
    assert one.scale == two.scale


def test_new_items_are_encoded_later_by_the_same_encoder(goods: pl.DataFrame) -> None:
    old, new = goods.head(12), goods.with_columns(valid_from=pl.lit(MARCH).cast(goods.schema["valid_from"])).tail(3)
    fitted = ItemVectors.fit(TextEncoder(dims=6), pl.concat([old, new]), FEBRUARY, seed=0)
    renewed = fitted.renewed(pl.concat([old, new]), MARCH)
    asked = hashes(*goods["item_id"])
    assert (fitted.rows(asked, to_us(MARCH)) >= 0).sum() == 12
    assert (renewed.rows(asked, to_us(MARCH)) >= 0).sum() == 15
    assert (renewed.rows(asked, to_us(MARCH) - 1) >= 0).sum() == 12
    assert np.array_equal(renewed.look_up(asked, to_us(FEBRUARY)), fitted.look_up(asked, to_us(FEBRUARY)))


def test_versions_that_change_nothing_are_not_kept(versions: pl.DataFrame) -> None:
    """A new price of the same item every day costs no memory."""
    again = versions.with_columns(valid_from=pl.col("valid_from") + pl.duration(days=1), unit_price=pl.lit(3.0))
    fitted = ItemVectors.fit(ReadyEncoder(), pl.concat([versions, again]), datetime(2025, 1, 1, tzinfo=UTC), seed=0)
    assert len(fitted.item) == 3


def test_contradicting_rows_do_not_depend_on_their_order(versions: pl.DataFrame) -> None:
    more = pl.concat([versions, versions.with_columns(vector=pl.lit("[5, 5]"))])
    one, two = (ItemVectors.fit(ReadyEncoder(), m, MARCH, seed=0) for m in (more, more.reverse()))
    assert np.array_equal(one.vector, two.vector)


@dataclass
class Saved:
    fitted: ItemVectors
    loaded: ItemVectors


@pytest.fixture(params=["fitted", "text"])
def saved(request: pytest.FixtureRequest, tmp_path: Path, goods: pl.DataFrame) -> Saved:
    made: Callable[[], ItemVectors] = {
        "fitted": lambda: request.getfixturevalue("fitted"),
        "text": lambda: ItemVectors.fit(TextEncoder(dims=6), goods, MARCH, seed=0),
    }[request.param]
    fitted = made()
    fitted.save(tmp_path)
    return Saved(fitted, ItemVectors.load(tmp_path))


def test_saved_and_loaded_it_is_the_same(saved: Saved, goods: pl.DataFrame) -> None:
    for name in ("item", "valid_from", "vector"):
        assert np.array_equal(getattr(saved.fitted, name), getattr(saved.loaded, name))
    assert saved.loaded.scale == saved.fitted.scale
    assert saved.loaded.problems == saved.fitted.problems
    one, two = (v.renewed(goods.head(3), MARCH) for v in (saved.fitted, saved.loaded))
    assert np.array_equal(one.vector, two.vector)
