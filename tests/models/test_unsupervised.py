"""Label-free columns: the same laws for components, segments and factors, and what each must find."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ebbtide.core.errors import DataError
from ebbtide.models.base import Rows
from ebbtide.models.bgnbd import ExpectedOrders
from ebbtide.models.makers import MAKERS, load_makers, save_makers
from ebbtide.models.projection import varimax
from ebbtide.models.setting import Setting

NAMES = ("pca", "segments", "factors")


def rows_of(X: np.ndarray, names: tuple[str, ...] | None = None) -> Rows:
    n = len(X)
    rng = np.random.default_rng(9)
    names = names or tuple(f"c{i}" for i in range(X.shape[1]))
    user = rng.permutation(n).astype(np.uint64)
    return Rows(X.astype(np.float32), (np.arange(n) % 2).astype(float), np.zeros(n, np.int64), user, names, 1)


def two_causes(n: int = 600, seed: int = 0) -> np.ndarray:
    """Six columns: three of one hidden cause, three of another, each with noise of its own; heavy tails; 5 % unknown."""
    rng = np.random.default_rng(seed)
    causes = np.repeat(rng.normal(size=(n, 2)), 3, axis=1)
    X = np.sinh(causes + 0.3 * rng.normal(size=(n, 6)))
    X[rng.random(X.shape) < 0.05] = np.nan
    return X


def fit(name: str, rows: Rows):
    return MAKERS[name].make(Setting(30.0)).fit(rows, seed=0)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_labels_are_not_looked_at(name: str) -> None:
    rows = rows_of(two_causes())
    other = replace(rows, y=1 - rows.y)
    assert np.array_equal(fit(name, rows).columns(rows.X, None), fit(name, other).columns(rows.X, None))
    assert not MAKERS[name].learns_labels
    assert not MAKERS[name].reads_events


def test_a_row_gets_the_same_in_any_company(name: str) -> None:
    rows = rows_of(two_causes())
    maker = fit(name, rows)
    whole = maker.columns(rows.X, None)
    assert np.array_equal(whole[[7]], maker.columns(rows.X[[7]], None))
    assert np.array_equal(whole[::-1], maker.columns(rows.X[::-1], None))
    assert maker.columns(rows.X[:0], None).shape == (0, whole.shape[1])


def test_columns_are_declared_finite_and_of_the_profile(name: str) -> None:
    rows = rows_of(two_causes())
    maker = fit(name, rows)
    declared = maker.declarations()
    X = maker.columns(np.full((3, 6), np.nan, np.float32), None)
    assert X.dtype == np.float32
    assert X.shape == (3, len(declared))
    assert np.isfinite(X).all()
    assert {d.family for d in declared} == {"profile"}
    assert len({d.name for d in declared}) == len(declared)
    assert all("c" in d.description.en and d.description.zh for d in declared)


def test_extreme_numbers_do_not_move_far(name: str) -> None:
    """What was never seen in training lies within 5 spreads in each column."""
    maker = fit(name, rows_of(two_causes()))
    X = maker.columns(np.array([[3e38, -3e38, 0, 3e38, 0, 0]], np.float32), None)
    assert np.abs(X).max() < 60


def test_saved_and_loaded_it_is_the_same(name: str, tmp_path: Path) -> None:
    rows = rows_of(two_causes())
    maker = fit(name, rows)
    save_makers(tmp_path, [maker])
    (loaded,) = load_makers(tmp_path)
    assert np.array_equal(loaded.columns(rows.X, None), maker.columns(rows.X, None))
    assert loaded.declarations() == maker.declarations()
    assert {p.suffix for p in (tmp_path / name).iterdir()} == {".npz", ".json"}


def test_few_rows_and_few_columns_give_what_they_can(name: str) -> None:
    for X in (np.array([[1.0, 2.0], [3.0, 5.0]]), np.arange(12.0).reshape(12, 1)):
        maker = fit(name, rows_of(X))
        assert maker.columns(X.astype(np.float32), None).shape == (len(X), len(maker.declarations()))


def test_nothing_that_varies_is_an_error(name: str) -> None:
    with pytest.raises(DataError, match="no column varies"):
        fit(name, rows_of(np.ones((20, 3))))


def test_components_are_uncorrelated_and_of_spread_one() -> None:
    rows = rows_of(two_causes())
    X = fit("pca", rows).columns(rows.X, None)
    np.testing.assert_allclose(X.T @ X / len(X), np.eye(X.shape[1]), atol=1e-3)


def test_factors_find_the_two_causes() -> None:
    """The first two factors are led by columns of one cause each, and follow the causes."""
    X = two_causes(3000)
    maker = fit("factors", rows_of(X))
    causes = np.repeat(np.random.default_rng(0).normal(size=(3000, 2)), 3, axis=1)[:, [0, 3]]
    found = maker.columns(X.astype(np.float32), None)
    strength = np.abs(np.corrcoef(np.column_stack([causes, found]).T)[:2, 2:])
    assert (strength.max(axis=1) > 0.9).all()
    assert strength.argmax(axis=1)[0] != strength.argmax(axis=1)[1]
    for cause, factor in enumerate(strength.argmax(axis=1)):
        assert {int(c[1]) // 3 for c in maker.leaders[factor]} == {cause}


def test_segments_are_found_and_numbered_by_expected_orders() -> None:
    """Three crowds far apart, each split or whole: no segment mixes two of them."""
    rng = np.random.default_rng(0)
    crowd = rng.integers(0, 3, 900)
    X = np.column_stack([np.eye(3)[crowd] * 9 + rng.normal(size=(900, 3)), crowd + 0.1 * rng.random(900)])
    names = ("a", "b", "c", ExpectedOrders.name)
    maker = fit("segments", rows_of(X, names))
    found = maker.columns(X.astype(np.float32), None)
    segment, far = found[:, 0].astype(int), found[:, 1:]
    assert np.array_equal(segment, far.argmin(axis=1) + 1)
    for s in np.unique(segment):
        assert len(np.unique(crowd[segment == s])) == 1
    means = [X[segment == s, 3].mean() for s in np.unique(segment)]
    assert means == sorted(means)


def test_varimax_undoes_any_turn_of_simple_loadings() -> None:
    """Up to order and sign, also from 45 degrees, where its gradient is zero."""
    simple = np.array([[0.9, 0], [0.8, 0], [0.7, 0], [0, 0.9], [0, 0.8], [0, 0.6]])
    for degrees in (10, 45, 80):
        a = np.radians(degrees)
        found = np.abs(varimax(simple @ np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])))
        best = min(np.abs(found - simple).max(), np.abs(found[:, ::-1] - simple).max())
        assert best < 1e-6
