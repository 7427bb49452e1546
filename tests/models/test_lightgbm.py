"""Boosted trees: the same margins whichever way they are asked for, on any number of cores."""

from __future__ import annotations

from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pytest

from ebbtide.core.errors import DefectError
from ebbtide.models.lightgbm import BoostingConfig, LightGbmModel

SMALL = BoostingConfig(seeds=2)


@pytest.fixture(scope="module")
def rows(make_rows):
    return make_rows(500)


@pytest.fixture(scope="module")
def model(rows):
    return LightGbmModel(SMALL, rounds=30).fit(rows, seed=3)


def test_the_margin_is_the_mean_of_what_lightgbm_says_of_each_seed(model, rows):
    boosters = [lgb.Booster(model_str=text) for text in model._texts]
    theirs = np.mean([b.predict(rows.X, raw_score=True) for b in boosters], axis=0)
    assert len(boosters) == 2
    np.testing.assert_allclose(model.margin(rows.X), theirs, rtol=0, atol=1e-9)


def test_contributions_are_the_mean_of_lightgbms_own(model, rows):
    theirs = np.mean([lgb.Booster(model_str=t).predict(rows.X[:40], pred_contrib=True) for t in model._texts], axis=0)
    np.testing.assert_allclose(model.contributions(rows.X[:40]), theirs, rtol=0, atol=1e-6)


def test_the_path_holds_the_margins_of_every_number_of_rounds(rows, make_rows):
    """Stopping a fit early equals fitting fewer rounds: the path costs one fit.

    All columns are offered to every tree here: a round that is offered only columns without a split adds no tree.
    """
    X, config = make_rows(60, seed=8).X, BoostingConfig(seeds=1, rehearsal_seeds=1, column_share=1.0)
    path = LightGbmModel(config).margin_path(rows, X, seed=3)
    assert path.shape == (len(LightGbmModel.rounds_grid), 60)
    for k in (0, 2):
        rounds = LightGbmModel.rounds_grid[k]
        alone = LightGbmModel(config, rounds).fit(rows, seed=3)
        np.testing.assert_allclose(path[k], alone.margin(X), rtol=0, atol=1e-9)


def test_the_usual_number_of_rounds_is_one_of_the_grid():
    grid = LightGbmModel.rounds_grid
    assert LightGbmModel.usual_rounds in grid
    assert list(grid) == sorted(set(grid))


def test_the_number_of_cores_changes_nothing(rows, model, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    again = LightGbmModel(SMALL, rounds=30).fit(rows, seed=3)
    assert again.margin(rows.X).tobytes() == model.margin(rows.X).tobytes()


def test_another_seed_gives_another_model(rows, model):
    other = LightGbmModel(SMALL, rounds=30).fit(rows, seed=4)
    assert np.abs(other.margin(rows.X) - model.margin(rows.X)).max() > 1e-3


def test_fitting_again_forgets_the_first_fit(rows, model):
    again = LightGbmModel(SMALL, rounds=30).fit(replace(rows, y=1 - rows.y), seed=3)
    again.margin(rows.X)
    again.fit(rows, seed=3)
    assert again.margin(rows.X).tobytes() == model.margin(rows.X).tobytes()


@pytest.mark.parametrize("rows_", [1, 10, 100, 1_000, 100_000])
def test_leaves_hold_rows_and_a_share_of_them(rows_):
    """40 rows a leaf, fewer in a tiny log (a twentieth of it), more in a large one (0.2 %); never none."""
    least = BoostingConfig().parameters(rows_, 0)["min_data_in_leaf"]
    assert least == {1: 1, 10: 1, 100: 5, 1_000: 40, 100_000: 200}[rows_]


def test_a_model_that_was_not_fitted_says_so(rows):
    with pytest.raises(DefectError, match="before they are fitted"):
        LightGbmModel().margin(rows.X)
