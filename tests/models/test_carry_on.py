"""A stack that goes on: parts in their way, the rest anew, columns found by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ebbtide.core.errors import InputError
from ebbtide.core.language import Text
from ebbtide.models.auto import Choice, fit_chosen
from ebbtide.models.base import sigmoid
from ebbtide.models.calibration import AffineCalibration
from ebbtide.models.carry_on import carry_on, parts_of
from ebbtide.models.columns import ModelColumn
from ebbtide.models.makers import MAKERS, Maker, all_columns
from ebbtide.models.read import ReadModel
from ebbtide.models.registry import Entry, Setting, candidates

SETTING = Setting(horizon_days=30.0)


def choice_of(**weights) -> Choice:
    return Choice(dict.fromkeys(weights, 0), weights, AffineCalibration(), ())


class MeanMaker:
    """A column maker that can go on: everybody's log-odds are the mean label so far, times the first column."""

    name = "mean"
    ways = ("slowly", "quickly")

    def __init__(self, slope: float = 0.0) -> None:
        self.slope = slope

    def fit(self, rows, *, seed):
        self.slope = float(rows.y.mean())
        return self

    def fit_more(self, rows, *, seed, way):
        return MeanMaker(self.slope + (1.0 if way == "quickly" else 0.1))

    def declarations(self):
        return (ModelColumn(column="mean", words=Text("mean", "均值")),)

    def columns(self, X, sequences):
        return (self.slope * X[:, :1]).astype(np.float32)


@pytest.fixture
def with_maker(monkeypatch):
    """A neural net's place in the registry: a maker, and a model that believes it."""
    monkeypatch.setitem(MAKERS, "mean", Maker(lambda _: MeanMaker(), lambda _: MeanMaker(), reads_events=False))
    return {"mean": Entry(lambda _: ReadModel("mean"), ReadModel.load, makers=("mean",), alone=True)}


@pytest.fixture
def rows(make_rows):
    return make_rows(900)


@pytest.fixture
def older(rows):
    return rows.take(rows.as_of_us < rows.moments()[-1])


def test_a_maker_that_goes_on_takes_its_model_along(with_maker, rows, older):
    stack, makers = fit_chosen(older, choice_of(mean=1.0), with_maker, SETTING, seed=0)
    parts = parts_of(stack, makers, with_maker, rows.names, rows.names)
    assert parts["mean"].ways == ("slowly", "quickly")
    quickly = replace(choice_of(mean=1.0), variant={"mean": 1})
    moved, made = carry_on(rows, parts, quickly, with_maker, SETTING, seed=0)
    assert made[0].slope == pytest.approx(older.y.mean() + 1.0)
    expected = (older.y.mean() + 1.0) * rows.X[:, 0]
    margin = moved.margin(all_columns(made, rows.X, None))
    np.testing.assert_allclose(margin, moved.intercept + expected, rtol=1e-6)
    newest = rows.as_of_us == rows.as_of_us.max()
    assert sigmoid(margin[newest]).mean() == pytest.approx(rows.y[newest].mean(), abs=0.02)
    again = parts["mean"].more(rows, seed=0, way="quickly")
    np.testing.assert_allclose(again.margin(rows, rows), expected, rtol=1e-6)
    assert makers[0].slope == pytest.approx(older.y.mean()), "the old bundle stays"


def test_a_twin_knows_what_it_is_given_and_nothing_else(rows, older):
    entries = candidates("logistic")
    stack, makers = fit_chosen(rows, choice_of(logistic=1.0), entries, SETTING, seed=0)
    part = parts_of(stack, makers, entries, rows.names, rows.names)["logistic"]
    twin = part.anew(older, seed=0)
    fresh = entries["logistic"].make(SETTING).fit(older, seed=0)
    assert twin.core.margin(rows.X).tobytes() == fresh.margin(rows.X).tobytes()
    assert part.core is stack.members[0]


def test_columns_are_found_by_name_where_others_came_between(rows, older):
    """A longer history has more columns: a part reads its own."""
    entries = candidates("logistic")
    stack, makers = fit_chosen(older, choice_of(logistic=1.0), entries, SETTING, seed=0)
    names = (*rows.names[:3], "new", *rows.names[3:])
    wider = replace(rows, X=np.insert(rows.X, 3, 7.0, axis=1), names=names)
    part = parts_of(stack, makers, entries, rows.names, names)["logistic"]
    same = parts_of(stack, makers, entries, rows.names, rows.names)["logistic"]
    assert part.margin(wider, wider).tobytes() == same.margin(rows, rows).tobytes()
    moved, made = carry_on(wider, {"logistic": part}, choice_of(logistic=1.0), entries, SETTING, seed=0)
    terms = moved.contributions(all_columns(made, wider.X, None))
    np.testing.assert_allclose(terms.sum(axis=1), moved.margin(wider.X), atol=1e-9)
    assert not terms[:, 3].any()


def test_a_column_that_is_gone_is_refused_by_name(rows, older):
    entries = candidates("logistic")
    stack, makers = fit_chosen(older, choice_of(logistic=1.0), entries, SETTING, seed=0)
    with pytest.raises(InputError, match="1: money"):
        parts_of(stack, makers, entries, rows.names, [n for n in rows.names if n != "money"])
    with pytest.raises(InputError, match="another order"):
        parts_of(stack, makers, entries, rows.names, rows.names[::-1])


def test_members_that_cannot_go_on_are_fitted_anew(rows, older):
    entries = candidates("logistic") | candidates("recency")
    chosen = choice_of(logistic=0.5, recency=0.5)
    stack, makers = fit_chosen(older, chosen, entries, SETTING, seed=0)
    parts = parts_of(stack, makers, entries, rows.names, rows.names)
    assert list(parts) == ["logistic"]
    moved, _ = carry_on(rows, parts, chosen, entries, SETTING, seed=0)
    anew = entries["recency"].make(SETTING).fit(rows, seed=0)
    assert moved.names == ["logistic", "recency"]
    assert moved.members[1].margin(rows.X).tobytes() == anew.margin(rows.X).tobytes()
