"""Going on from a fitted model: every model that offers it is found and put through the same laws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ebbtide.core.errors import MissingBundleError
from ebbtide.models.base import Rows
from ebbtide.models.continues import newer_than, ways_of
from ebbtide.models.lightgbm import BoostingConfig, LightGbmModel
from ebbtide.models.logistic import LogisticModel
from ebbtide.models.registry import MODELS, Setting

SETTING = Setting(horizon_days=30.0)
WAYS = [(n, w) for n in sorted(MODELS) if not MODELS[n].makers for w in ways_of(MODELS[n].make(SETTING))]
"""Those that read makers' columns stay where they are, see `carry_on.parts_of`."""


@pytest.fixture(scope="module")
def rows(make_rows) -> Rows:
    return make_rows(1200)


@pytest.fixture(scope="module")
def older(rows) -> Rows:
    return rows.take(rows.as_of_us < rows.moments()[-1])


@pytest.fixture(scope="module")
def unseen(make_rows):
    return make_rows(200, seed=9).X


def test_the_models_that_go_on():
    boosted = [(name, way) for name in ("lightgbm", "lightgbm_large") for way in ("boost", "leaves")]
    assert [*boosted, ("logistic", "warm")] == WAYS


@pytest.mark.parametrize(("name", "way"), WAYS)
class TestEveryWay:
    def fit(self, name, rows):
        return MODELS[name].make(SETTING).fit(rows, seed=7)

    def test_new_rows_are_learnt_from_and_the_old_model_stays(self, name, way, rows, older, unseen):
        model = self.fit(name, older)
        before = model.margin(unseen)
        more = model.fit_more(rows, seed=7, way=way)
        assert type(more) is type(model)
        assert np.abs(more.margin(unseen) - before).max() > 1e-3
        assert model.margin(unseen).tobytes() == before.tobytes()

    def test_what_was_known_is_not_forgotten(self, name, way, rows, older, unseen):
        model = self.fit(name, older)
        more = model.fit_more(rows, seed=7, way=way)
        assert np.corrcoef(more.margin(unseen), model.margin(unseen))[0, 1] > 0.9

    def test_contradicting_rows_change_its_mind(self, name, way, rows, older):
        """At the newest moment those stay who used to churn, and the other way round."""
        turned = replace(rows, y=np.where(rows.as_of_us == rows.moments()[-1], 1 - rows.y, rows.y))
        model, newest = self.fit(name, older), turned.at(int(rows.moments()[-1]))
        more = model.fit_more(turned, seed=7, way=way)
        agrees, agreed = (np.corrcoef(m.margin(newest.X), newest.y)[0, 1] for m in (more, model))
        assert agreed < agrees

    def test_the_same_rows_and_seed_give_the_same(self, name, way, rows, older, unseen):
        model = self.fit(name, older)
        one, again = (model.fit_more(rows, seed=7, way=way).margin(unseen) for _ in range(2))
        assert one.tobytes() == again.tobytes()

    def test_saved_and_loaded_it_goes_on_as_if_it_had_never_stopped(self, name, way, rows, older, unseen, tmp_path):
        model = self.fit(name, older)
        model.save(tmp_path / name)
        loaded = MODELS[name].load(tmp_path / name)
        one, other = (m.fit_more(rows, seed=7, way=way) for m in (model, loaded))
        np.testing.assert_allclose(other.margin(unseen), one.margin(unseen), atol=1e-9)

    def test_it_can_go_on_again_and_again(self, name, way, rows, unseen):
        """Moment by moment, each saved state from the last one; terms still add up."""
        model = self.fit(name, rows.at(int(rows.moments()[0])))
        for moment in rows.moments()[1:]:
            model = model.fit_more(rows.take(rows.as_of_us <= moment), seed=7, way=way)
        terms = model.contributions(unseen)
        np.testing.assert_allclose(terms.sum(axis=1), model.margin(unseen), atol=1e-6)
        fresh = self.fit(name, rows)
        assert np.corrcoef(model.margin(unseen), fresh.margin(unseen))[0, 1] > 0.8

    def test_nothing_new_changes_hardly_anything(self, name, way, older, unseen):
        model = self.fit(name, older)
        more = model.fit_more(older, seed=7, way=way)
        np.testing.assert_allclose(more.margin(unseen), model.margin(unseen), atol=1e-3)

    def test_a_model_saved_without_what_it_needs_says_so(self, name, way, rows, older, tmp_path):
        """As earlier versions saved them."""
        self.fit(name, older).save(tmp_path / name)
        loaded = MODELS[name].load(tmp_path / name)
        loaded.seen_us = loaded._basis = None
        with pytest.raises(MissingBundleError, match="run `ebbtide train` once"):
            loaded.fit_more(rows, seed=7, way=way)


def test_boosting_grows_by_the_share_of_new_rows(rows, older):
    model = LightGbmModel(BoostingConfig(seeds=1), 40).fit(older, seed=1)
    more = model.fit_more(rows, seed=1, way="boost")
    assert more.rounds == 40 + round(40 * (len(rows) - len(older)) / len(rows))
    assert 40 < more._texts[0].count("\nTree=") <= more.rounds


def test_new_leaves_keep_every_tree(rows, older):
    model = LightGbmModel(BoostingConfig(seeds=1), 40).fit(older, seed=1)
    more = model.fit_more(rows, seed=1, way="leaves")
    before, after = (
        [line for line in m._texts[0].splitlines() if line.startswith("threshold=")] for m in (model, more)
    )
    assert before == after


def test_a_warm_start_ends_where_a_fit_on_the_same_scales_ends(rows, older, unseen):
    """Only the way is shorter: the optimum does not depend on the start."""
    model = LogisticModel(strength=1e-2).fit(older, seed=0)
    warm = model.fit_more(rows, seed=0, way="warm")
    cold = LogisticModel(strength=1e-2)._descend(rows, model._basis, 1e-2, None)
    np.testing.assert_allclose(warm.margin(unseen), cold.margin(unseen), atol=1e-4)


def test_only_rows_of_later_moments_are_new(rows):
    first = int(rows.moments()[0])
    assert newer_than(rows, first).moments().tolist() == rows.moments()[1:].tolist()
    assert len(newer_than(rows, int(rows.moments()[-1]))) == 0
