"""Selection drops what says nothing or says it twice, and ranks the rest."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from ebbtide.features.selection import rank_importance, select

NAMES = ("signal", "copy", "constant", "unknown", "noise", "weak", "known_or_not")


@pytest.fixture
def data() -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """A signal, its monotone copy, nothing, noise, a weak signal, and a column of which only its gaps tell."""
    rng = np.random.default_rng(0)
    n = 4000
    signal, weak = rng.normal(size=(2, n))
    gap = rng.random(n) < 0.5
    y = (signal + 0.3 * weak + gap + rng.logistic(size=n) > 0).astype(float)
    known = np.where(gap, np.nan, 1.0)
    columns = [signal, np.exp(signal), np.ones(n), np.full(n, np.nan), rng.normal(size=n), weak, known]
    return np.array(columns, np.float32).T, y


def test_constants_and_copies_go(data: tuple[NDArray[np.float32], NDArray[np.float64]]) -> None:
    """One of a column and its monotone copy stays; gaps alone are information."""
    kept = select(*data, NAMES)
    assert len({"signal", "copy"} & set(kept)) == 1
    assert set(kept) - {"signal", "copy"} == {"noise", "weak", "known_or_not"}
    assert list(kept) == sorted(kept, key=NAMES.index)


def test_the_best_remain(data: tuple[NDArray[np.float32], NDArray[np.float64]]) -> None:
    """By mutual information, or by the importance given; of two copies the better ranked."""
    assert "noise" not in select(*data, NAMES, most=2)
    importance = np.array([1.0, 2.0, 9.0, 9.0, 5.0, 0.0, 0.0])
    assert select(*data, NAMES, importance=importance, most=2) == ("copy", "noise")


def test_the_same_seed_gives_the_same_choice(data: tuple[NDArray[np.float32], NDArray[np.float64]]) -> None:
    """Also where rows are sampled."""
    X, y = np.repeat(data[0], 8, axis=0), np.repeat(data[1], 8)
    assert select(X, y, NAMES, most=3, seed=4) == select(X, y, NAMES, most=3, seed=4)


def test_nothing_that_varies_is_nothing_to_keep() -> None:
    """A matrix of constants, and one without rows."""
    assert select(np.ones((5, 2), np.float32), np.zeros(5), ("a", "b")) == ()
    assert select(np.ones((0, 2), np.float32), np.zeros(0), ("a", "b")) == ()


def test_rank_importance_is_the_rank_correlation_with_the_label(
    data: tuple[NDArray[np.float32], NDArray[np.float64]],
) -> None:
    """As SciPy has it, where nothing is missing; zero for what is constant or unknown."""
    X, y = data
    found = dict(zip(NAMES, rank_importance(X, y), strict=True))
    assert found["signal"] == pytest.approx(abs(spearmanr(X[:, 0], y).statistic))
    assert found["copy"] == pytest.approx(found["signal"])
    assert [found["constant"], found["unknown"]] == pytest.approx([0, 0], abs=1e-9)
    assert found["noise"] < 0.05 < found["weak"] < found["known_or_not"] < found["signal"]
