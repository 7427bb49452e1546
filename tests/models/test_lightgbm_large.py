"""Large boosted trees: they say what small ones cannot, and `auto` takes them for tables only."""

from __future__ import annotations

import numpy as np
import pytest

from ebbtide.evaluation.ranking import auroc
from ebbtide.models.base import Rows
from ebbtide.models.lightgbm import LightGbmModel
from ebbtide.models.lightgbm_large import LARGE, LargeLightGbmModel
from ebbtide.models.registry import AUTO, MODELS, candidates, table_candidates


def patchwork_rows(count: int, seed: int) -> Rows:
    """Churn hangs on a pair of numbers out of six, in a patchwork of 144 cells; each number alone says little."""
    X = np.random.default_rng(seed).integers(0, 12, (count, 6)).astype(np.float32)
    patches = np.random.default_rng(99).integers(0, 2, (12, 12)).astype(float)
    y = patches[X[:, 0].astype(int), X[:, 1].astype(int)]
    return Rows(X, y, np.zeros(count, np.int64), np.arange(count, dtype=np.uint64), tuple("abcdef"), 1)


def test_they_find_what_only_columns_together_tell():
    rows, unseen = patchwork_rows(4000, 0), patchwork_rows(1000, 1)
    large = LargeLightGbmModel().fit(rows, seed=0).margin(unseen.X)
    small = LightGbmModel().fit(rows, seed=0).margin(unseen.X)
    assert auroc(unseen.y, large) > 0.95
    assert auroc(unseen.y, small) < auroc(unseen.y, large) - 0.1


def test_auto_weighs_them_for_tables_only():
    assert "lightgbm_large" not in candidates(AUTO)
    entries = table_candidates(AUTO)
    assert list(entries) == ["logistic", "lightgbm", "lightgbm_large"]
    assert sum(e.prior for e in entries.values()) == pytest.approx(1.0)


def test_the_usual_variant_is_the_usual_number_of_rounds():
    for model in (LightGbmModel, LargeLightGbmModel):
        assert MODELS[model.name].staged
        assert model.rounds_grid.index(model.usual_rounds) == 3


def test_large_trees_are_grown_by_their_own_settings():
    assert LargeLightGbmModel().config == LARGE
    assert LARGE.parameters(5000, 1)["extra_trees"] is False
    assert LARGE.parameters(5000, 1)["min_data_in_leaf"] == 10
