"""Forms of a stack: the student says nearly what its teacher says, from the base columns alone, with exact reasons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ebbtide.models.columns import ModelColumn
from ebbtide.models.distilled import DistilledModel
from ebbtide.models.forms import Served, compressed, forms_of
from ebbtide.models.logistic import LogisticModel
from ebbtide.models.makers import MAKERS, Maker
from ebbtide.models.random_forest import RandomForestModel
from ebbtide.models.registry import load_stack
from ebbtide.models.stack import StackModel


@pytest.fixture(scope="module")
def rows(make_rows):
    return make_rows(1500)


@pytest.fixture(scope="module")
def unseen(make_rows):
    return make_rows(600, seed=5)


@pytest.fixture(scope="module")
def full(rows):
    members = [LogisticModel().fit(rows, seed=0), RandomForestModel().fit(rows, seed=0)]
    return Served("full", StackModel(members, [0.6, 0.5]), ())


@pytest.fixture(scope="module")
def student(full, rows, tmp_path_factory):
    return compressed(full, "distilled", rows, seed=3, folder=tmp_path_factory.mktemp("forms"))


def test_the_student_says_nearly_what_its_teacher_says_of_unseen_rows(student, full, unseen):
    assert np.corrcoef(student.margin(unseen), full.margin(unseen))[0, 1] > 0.95


def test_outcomes_are_not_read(student, full, rows, tmp_path, unseen):
    """What a student knows of outcomes it has from its teacher."""
    other = compressed(full, "distilled", replace(rows, y=1 - rows.y), seed=3, folder=tmp_path)
    assert other.margin(unseen).tobytes() == student.margin(unseen).tobytes()


def test_reasons_of_a_student_sum_to_its_margin(student, unseen):
    terms = student.stack.contributions(unseen.X)
    np.testing.assert_allclose(terms.sum(axis=1), student.margin(unseen), rtol=0, atol=1e-9)


def test_a_student_is_small_and_reads_back_bit_for_bit(student, unseen, tmp_path):
    student.stack.save(tmp_path)
    again = load_stack(tmp_path)
    assert again.names == ["distilled"]
    assert again.margin(unseen.X).tobytes() == student.stack.margin(unseen.X).tobytes()
    assert sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file()) < 500_000


class Doubled:
    """A maker whose one column is twice the first base column."""

    name = "doubled"

    def declarations(self):
        return (ModelColumn("doubled", None),)

    def columns(self, X, sequences):
        return 2 * X[:, :1]


def test_a_student_reads_the_base_columns_alone(rows, unseen, tmp_path, monkeypatch):
    """The teacher stands on a maker's column; the student needs no maker."""
    monkeypatch.setitem(MAKERS, "doubled", Maker(lambda _: Doubled(), lambda _: Doubled(), reads_events=False))
    wide = rows.widened(("doubled",), Doubled().columns(rows.X, None))
    teacher = Served("full", StackModel([LogisticModel().fit(wide, seed=0)], [1.0]), (Doubled(),))
    assert forms_of(teacher.makers) == ("full", "distilled")
    made = compressed(teacher, "distilled", rows, seed=0, folder=tmp_path)
    assert made.makers == ()
    assert made.stack.reads == [((0, rows.X.shape[1]),)]
    assert np.corrcoef(made.margin(unseen), teacher.margin(unseen))[0, 1] > 0.95


def test_the_full_form_is_the_stack_itself(full, rows, tmp_path):
    assert compressed(full, "full", rows, seed=0, folder=tmp_path) is full


def test_few_rows_still_make_a_student(make_rows):
    few = make_rows(30)
    margin = DistilledModel().fit(replace(few, y=np.linspace(-2, 2, 30)), seed=0).margin(few.X)
    assert np.isfinite(margin).all()
