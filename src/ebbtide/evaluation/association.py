"""What goes with an outcome: rates of those with a fact and of the rest, and rates by standardisation. Not causes.

Intervals draw users, so that a user asked about at several moments comes with all rows or with none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from ebbtide.core.language import Text
from ebbtide.evaluation.intervals import Estimate, affordable_draws, draw_weights
from ebbtide.evaluation.tally import Vector

Mask = NDArray[np.bool_]

LEAST_EACH = 30
LEAST_OVERLAP = 0.9
_EDGE = 0.01


@dataclass(frozen=True)
class Association:
    """`rows` have the fact, `share` of all; their rate, the rate of the rest, the ratio of both, and the excess: how
    much lower the rate of all would be if these rows had the rate of the rest, share times the difference."""

    rows: int
    share: float
    rate: float | None
    rest_rate: float | None
    ratio: Estimate
    excess: Estimate


class NoAnswer(Enum):
    """Why a standardised rate is left out."""

    FEW = Text("fewer than 30 customers with it or without it", "有或没有该事实的顾客不足 30 位")
    ONE_KIND = Text("all of one kind churned, or none", "某一类顾客全部流失或全部留存")
    APART = Text(
        "those with it and those without it are too different to compare", "有与没有该事实的顾客差异过大，无法比较"
    )


@dataclass(frozen=True)
class Standardised:
    """The observed rate, the rate among otherwise similar rows without the fact, their difference; the share of rows
    with the fact that have a likeness among those without (`overlap`)."""

    observed: float
    without: Estimate
    difference: Estimate
    overlap: float


def associations(y: Vector, facts: Mask, user: NDArray[Any], *, draws: int = 300, seed: int = 0) -> list[Association]:
    """Of each fact, `facts` (N, F), with the outcome `y` (N,) of 0 and 1.

    >>> found = associations(np.array([1.0, 1, 0, 0]), np.array([[1], [1], [0], [0]], bool), np.arange(4))[0]
    >>> found.rate, found.rest_rate, found.share, found.excess.value
    (1.0, 0.0, 0.5, 0.5)
    """
    ones = facts.astype(np.float64)
    weights = draw_weights(user, draws=affordable_draws(draws, len(y)), seed=seed)
    drawn = [_rates(w @ ones, w @ (ones * y[:, None]), w.sum(1)[:, None], (w @ y)[:, None]) for w in weights]
    size, hits = ones.sum(0)[None], (ones * y[:, None]).sum(0)[None]
    rate, rest, share = (v[0] for v in _rates(size, hits, np.full((1, 1), len(y)), np.full((1, 1), y.sum())))
    rates, rests, shares = (np.concatenate([d[i] for d in drawn]) for i in range(3))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, ratios = rate / rest, rates / rests
    excess, excesses = share * (rate - rest), shares * (rates - rests)
    return [
        Association(
            int(size[0, i]),
            float(share[i]),
            _known(rate[i]),
            _known(rest[i]),
            Estimate.of(float(ratio[i]), ratios[:, i]),
            Estimate.of(float(excess[i]), excesses[:, i]),
        )
        for i in range(facts.shape[1])
    ]


def standardise(
    y: Vector, fact: Mask, before: Vector, user: NDArray[Any], *, draws: int = 100, seed: int = 0
) -> Standardised | NoAnswer:
    """The rate if nobody had the fact, among otherwise similar rows: g-computation over a logistic regression of `y` on
    the fact and `before` (N, K), which must have happened before the fact, NaN-free.

    Left out where fewer than 30 rows have or lack the fact, where one of both kinds has one outcome only, or where
    less than 90 % of those with it have a propensity between the 1st and the 99th percentile of those without.
    Source: Robins 1986; Hernan and Robins, Causal Inference: What If, chapter 13. It is an association all the same:
    what was not measured is not adjusted for.
    """
    if min(fact.sum(), (~fact).sum()) < LEAST_EACH:
        return NoAnswer.FEW
    if any(not 0 < y[own].sum() < own.sum() for own in (fact, ~fact)):
        return NoAnswer.ONE_KIND
    Z = (before - before.mean(0)) / np.maximum(before.std(0), 1e-9)
    propensity = LogisticRegression(max_iter=200).fit(Z, fact).decision_function(Z)
    low, high = np.quantile(propensity[~fact], [_EDGE, 1 - _EDGE])
    overlap = float(((propensity[fact] >= low) & (propensity[fact] <= high)).mean())
    if overlap < LEAST_OVERLAP:
        return NoAnswer.APART
    X, without = np.column_stack([fact, Z]), np.column_stack([np.zeros(len(y)), Z])
    weights = np.concatenate(list(draw_weights(user, draws=draws, seed=seed)))
    rates = np.array([_rate_without(X, without, y, w) for w in weights])
    observed = weights @ y / weights.sum(1)
    value = _rate_without(X, without, y, np.ones(len(y)))
    return Standardised(
        float(y.mean()), Estimate.of(value, rates), Estimate.of(value - float(y.mean()), rates - observed), overlap
    )


def _rates(size: Vector, hits: Vector, total: Vector, all_hits: Vector) -> tuple[Vector, Vector, Vector]:
    """Rate with, rate without, share with; NaN of nobody."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return hits / size, (all_hits - hits) / (total - size), size / total


def _rate_without(X: Vector, without: Vector, y: Vector, weight: Vector) -> float:
    drawn = weight > 0
    if not 0 < (weight * y).sum() < weight.sum():
        return float("nan")
    model = LogisticRegression(max_iter=200).fit(X[drawn], y[drawn], sample_weight=weight[drawn])
    return float(np.average(model.predict_proba(without)[:, 1], weights=weight))


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
