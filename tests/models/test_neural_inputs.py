"""Neural models and odd input: refused in words before training, or borne."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.models.test_makers_exam import SETTING, add_events

from ebbtide.core.errors import DataError, RetryError
from ebbtide.models.makers import MAKERS
from ebbtide.models.mlp import MlpModel
from ebbtide.models.registry import MODELS
from ebbtide.models.space import usual_values
from ebbtide.sequences.event_log import EventLog, Sequences

NETS = sorted(name for name, maker in MAKERS.items() if maker.reads_events and maker.learns_labels)
NETS_OF_COLUMNS = ["cnn_rnn", "vae_code"]


@pytest.fixture(scope="module")
def rows(make_rows):
    return add_events(make_rows(80))


def with_log(rows, **columns):
    return replace(rows, sequences=replace(rows.sequences, log=replace(rows.sequences.log, **columns)))


@pytest.mark.parametrize("name", NETS)
def test_rows_that_see_no_event_are_refused(name, rows):
    nobody = EventLog.joined([])
    empty = replace(nobody, start=np.zeros(len(rows) + 1, np.int64))
    blind = replace(rows, sequences=Sequences(empty, np.arange(len(rows)), rows.as_of_us))
    with pytest.raises(DataError, match="no events to learn sequences from"):
        MAKERS[name].make(SETTING).fit(blind, seed=0)


@pytest.mark.parametrize("name", NETS)
def test_one_user_is_refused(name, rows):
    with pytest.raises(DataError, match="several users"):
        MAKERS[name].make(SETTING).fit(replace(rows, user=np.zeros(len(rows), np.uint64)), seed=0)


@pytest.mark.parametrize("name", NETS)
def test_infinite_columns_are_refused(name, rows):
    X = rows.X.copy()
    X[0, 3] = np.inf
    with pytest.raises(DataError, match="must be finite"):
        MAKERS[name].make(SETTING).fit(replace(rows, X=X), seed=0)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("price", [np.nan, np.inf, -np.inf, -5.0, 3e38])
def test_odd_prices_are_borne(name, price, rows):
    odd = rows.sequences.log.price.copy()
    odd[::3] = price
    strange = with_log(rows, price=odd)
    made = MAKERS[name].make(SETTING).fit(strange, seed=0).columns(strange.X, strange.sequences)
    assert np.isfinite(made).all()


@pytest.mark.parametrize("name", NETS)
def test_a_row_without_events_among_others_is_borne(name, rows):
    fitted = MAKERS[name].make(SETTING).fit(rows, seed=0)
    before = replace(rows.sequences, at_us=rows.sequences.at_us - 10**15)
    assert np.isfinite(fitted.columns(rows.X, before)).all()


@pytest.mark.parametrize("name", NETS_OF_COLUMNS)
def test_columns_that_never_vary_are_refused(name, rows):
    with pytest.raises(DataError, match="all 8 are constant"):
        MAKERS[name].make(SETTING).fit(replace(rows, X=np.ones_like(rows.X)), seed=0)


def test_a_perceptron_refuses_columns_that_never_vary(rows):
    with pytest.raises(DataError, match="all 8 are constant"):
        MlpModel(SETTING).fit(replace(rows, X=np.ones_like(rows.X)), seed=0)


def test_a_net_that_no_memory_holds_is_told(rows):
    huge = replace(SETTING, deep=SETTING.deep.model_copy(update={"hidden": 1 << 50}))
    with pytest.raises(RetryError, match=r"lower deep\.batch, deep\.max_len or deep\.hidden"):
        MlpModel(huge).fit(rows, seed=0)


def test_what_is_usual_is_what_the_config_has():
    spaces = {name: entry.space for name, entry in MODELS.items() if "dropout" in entry.space}
    assert sorted(spaces) == ["cnn", "cnn_rnn", "event_model", "lstm", "mlp", "rnn", "transformer"]
    defaults = type(SETTING.deep)()
    for space in spaces.values():
        assert usual_values(space) == {name: getattr(defaults, name) for name in space}


@pytest.mark.parametrize("name", ["rnn", "cnn_rnn"])
def test_tuned_settings_are_those_of_the_net(name):
    tuned = replace(SETTING, tuned={name: {"hidden": 24, "dropout": 0.3}})
    assert MAKERS[name].make(tuned).deep.hidden == 24
    assert MAKERS[name].make(tuned).deep.dropout == 0.3
    assert MAKERS["lstm"].make(tuned).deep.hidden == SETTING.deep.hidden
