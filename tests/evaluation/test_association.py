"""Ratios and standardised rates: by hand, against a planted truth, and left out where they cannot be defended."""

from __future__ import annotations

import numpy as np
import pytest

from ebbtide.evaluation.association import NoAnswer, Standardised, associations, standardise


@pytest.fixture(scope="module")
def confounded():
    """Churn 20 % or 60 % by a trait alone; the fact, without effect, is three times as common among the latter."""
    rng = np.random.default_rng(1)
    trait = rng.random(6000) < 0.5
    fact = rng.random(6000) < np.where(trait, 0.6, 0.2)
    y = (rng.random(6000) < np.where(trait, 0.6, 0.2)).astype(float)
    return y, fact, trait[:, None].astype(float)


def test_ratio_and_excess_by_hand():
    """4 of 10 have it: 3 of them churn; of the rest 1 of 6: ratio .75 / .1667, excess .4 * (.75 - .1667)."""
    y = np.array([1, 1, 1, 0, 1, 0, 0, 0, 0, 0.0])
    found = associations(y, (np.arange(10) < 4)[:, None], np.arange(10))[0]
    assert (found.rows, found.share, found.rate, found.rest_rate) == (4, 0.4, 0.75, pytest.approx(1 / 6))
    assert found.ratio.value == pytest.approx(4.5)
    assert found.excess.value == pytest.approx(0.4 * (0.75 - 1 / 6))
    assert found.excess.low < found.excess.value < found.excess.high


def test_without_the_excess_the_rate_is_that_of_the_rest(confounded):
    y, fact, _ = confounded
    found = associations(y, fact[:, None], np.arange(len(y)), draws=50)[0]
    assert y.mean() - found.excess.value == pytest.approx(found.rest_rate)


def test_a_fact_without_effect_is_exonerated_by_what_came_before(confounded):
    y, fact, before = confounded
    crude = associations(y, fact[:, None], np.arange(len(y)), draws=100)[0]
    assert crude.ratio.low > 1.2
    adjusted = standardise(y, fact, before, np.arange(len(y)), draws=60)
    assert isinstance(adjusted, Standardised)
    assert adjusted.difference.low < 0 < adjusted.difference.high


def test_a_planted_effect_is_recovered():
    """With the fact 30 points more, half of the rows have it: without it 15 points less."""
    rng = np.random.default_rng(2)
    before = rng.normal(size=(6000, 2))
    fact = rng.random(6000) < 0.5
    y = (rng.random(6000) < 0.2 + 0.3 * fact).astype(float)
    found = standardise(y, fact, before, np.arange(6000), draws=60)
    assert found.difference.value == pytest.approx(-0.15, abs=0.02)
    assert found.difference.low < -0.13
    assert found.overlap > 0.95


def test_there_is_no_answer_where_nobody_is_alike(confounded):
    y, _, _ = confounded
    before = np.linspace(-1, 1, len(y))[:, None]
    assert standardise(y, before[:, 0] > 0.2, before, np.arange(len(y)), draws=10) is NoAnswer.APART
    few = np.arange(len(y)) < 29
    assert standardise(y, few, before, np.arange(len(y)), draws=10) is NoAnswer.FEW
    assert standardise(few.astype(float), ~few, before, np.arange(len(y)), draws=10) is NoAnswer.FEW
    assert (
        standardise(few.astype(float), np.arange(len(y)) < 60, before, np.arange(len(y)), draws=10) is NoAnswer.ONE_KIND
    )


def test_intervals_draw_users_not_rows():
    """Each user twice: the interval is that of half as many rows, so about root two as wide."""
    rng = np.random.default_rng(3)
    y, fact = (rng.random(400) < 0.4).astype(float), rng.random((400, 1)) < 0.5
    twice = associations(np.tile(y, 2), np.tile(fact, (2, 1)), np.tile(np.arange(400), 2), draws=300)[0].excess
    once = associations(np.tile(y, 2), np.tile(fact, (2, 1)), np.arange(800), draws=300)[0].excess
    assert (twice.high - twice.low) / (once.high - once.low) == pytest.approx(2**0.5, rel=0.2)
