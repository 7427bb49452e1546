"""Search spaces: every model that has one is found and put through the same laws."""

from __future__ import annotations

import pytest

from ebbtide.models.decision_tree import DecisionTreeConfig, DecisionTreeModel
from ebbtide.models.lightgbm import BoostingConfig, LightGbmModel
from ebbtide.models.logistic import LogisticConfig, LogisticModel
from ebbtide.models.random_forest import RandomForestConfig, RandomForestModel
from ebbtide.models.space import ANY_COLUMNS, COLUMNS, OneOf, Real, Whole, usual_values
from ebbtide.models.svm import SvmConfig, SvmModel

CONFIGS = {
    DecisionTreeModel: DecisionTreeConfig,
    LightGbmModel: BoostingConfig,
    LogisticModel: LogisticConfig,
    RandomForestModel: RandomForestConfig,
    SvmModel: SvmConfig,
}


@pytest.mark.parametrize("model", CONFIGS)
def test_what_is_usual_is_what_the_config_has(model):
    config = CONFIGS[model]()
    usual = usual_values(model.space)
    assert usual.pop(COLUMNS, 0) == 0
    assert usual == {name: getattr(config, name) for name in usual}


@pytest.mark.parametrize("model", CONFIGS)
@pytest.mark.parametrize("place", [0, -1])
def test_a_model_with_the_settings_at_the_ends_can_be_fitted(model, place, make_rows):
    values = {name: dimension.grid()[place] for name, dimension in model.space.items() if name != COLUMNS}
    rows = make_rows(300)
    fitted = model(CONFIGS[model](**values)).fit(rows, seed=0)
    assert len(set(fitted.margin(rows.X).tolist())) > 1


def test_grids_hold_the_ends_and_the_middle():
    assert Real(0.0, 1.0, usual=0.3).grid() == (0.0, 0.5, 1.0)
    assert Real(0.01, 100.0, usual=1.0, log=True).grid() == (0.01, 1.0, 100.0)
    assert Whole(4, 64, usual=8, log=True).grid() == (4, 16, 64)
    assert Whole(1, 2, usual=1).grid() == (1, 2)
    assert OneOf(("a", "b"), usual="a").grid() == ("a", "b")


def test_usual_values_lie_in_their_ranges():
    dimensions = [d for model in CONFIGS for d in model.space.values()]
    assert all(d.usual in d.values if isinstance(d, OneOf) else d.low <= d.usual <= d.high for d in dimensions)
    assert ANY_COLUMNS.usual == ANY_COLUMNS.values[0] == 0
