"""The rules of thumb: they rank by their one number and can never turn round."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ebbtide.core.errors import DataError, InputError
from ebbtide.models.rules import FrequencyModel, RecencyModel


def away(rows):
    return rows.column("outcome_age_days") - rows.column("outcome_last_age_days")


@pytest.mark.parametrize(
    ("model", "number", "sign"),
    [(RecencyModel, away, 1), (FrequencyModel, lambda r: r.column("outcome_repeat_days"), -1)],
)
def test_the_margin_is_monotone_in_the_rules_number_even_when_the_labels_say_otherwise(make_rows, model, number, sign):
    rows = make_rows()
    for y in (rows.y, 1 - rows.y):
        margin = model().fit(replace(rows, y=y), seed=0).margin(rows.X)
        order = np.argsort(sign * number(rows), kind="stable")
        assert (np.diff(margin[order]) >= 0).all()


def test_recency_means_days_since_the_last_outcome(make_rows):
    rows = make_rows()
    model = RecencyModel().fit(rows, seed=0)
    X = np.zeros((3, rows.X.shape[1]), np.float32)
    X[:, 1], X[:, 2] = [10, 90, 0], [30, 110, 20]  # each 20 days away
    margin = model.margin(X)
    np.testing.assert_allclose(margin, margin[0])


def test_mean_probability_equals_the_base_rate(make_rows):
    """First-order condition of the intercept, up to its weak prior."""
    rows = make_rows(2000)
    for model in (RecencyModel(), FrequencyModel()):
        p = 1 / (1 + np.exp(-model.fit(rows, seed=0).margin(rows.X)))
        assert p.mean() == pytest.approx(rows.y.mean(), abs=2e-3)


def test_only_the_rules_own_columns_contribute(make_rows):
    rows = make_rows()
    terms = FrequencyModel().fit(rows, seed=0).contributions(rows.X)
    assert not terms[:, 1:-1].any()
    assert terms[:, 0].any()


def test_a_missing_column_and_a_single_class_are_named(make_rows):
    rows = make_rows()
    with pytest.raises(InputError, match="recency rule needs the columns outcome_age_days"):
        RecencyModel().fit(replace(rows, names=("a", "outcome_last_age_days", *"cdefgh")), seed=0)
    with pytest.raises(DataError, match="both churned and retained"):
        FrequencyModel().fit(replace(rows, y=np.zeros(len(rows))), seed=0)
