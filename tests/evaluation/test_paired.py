"""Differences on the same users: what two scores share cancels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ebbtide.core.errors import InputError
from ebbtide.evaluation.paired import METRICS, paired_difference
from ebbtide.evaluation.ranking import auroc
from ebbtide.evaluation.summary import evaluate

Scored = Callable[..., Any]


def test_the_value_is_the_difference(scored: Scored) -> None:
    y, p = scored(500)
    q = np.random.default_rng(1).random(500)
    found = paired_difference(y, p, q)
    assert found.value == pytest.approx(auroc(y, p) - auroc(y, q))
    assert found.low is not None
    assert found.low > 0


def test_pairing_is_narrower_than_two_intervals(scored: Scored) -> None:
    y, p = scored(800)
    q = np.clip(p + 0.02 * np.random.default_rng(1).normal(size=800), 0, 1)
    paired = paired_difference(y, p, q)
    alone = evaluate(y, p).metrics["auroc"]
    assert paired.high - paired.low < 0.3 * (alone.high - alone.low)  # type: ignore[operator]


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_turning_the_pair_round_turns_the_sign(scored: Scored, metric: str) -> None:
    y, p = scored(200)
    q = np.clip(p + 0.1, 0, 1) * 0.9
    user = np.arange(200) // 2
    there = paired_difference(y, p, q, user=user, metric=metric)
    back = paired_difference(y, q, p, user=user, metric=metric)
    assert there.value == pytest.approx(-back.value)  # type: ignore[operator]
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))  # type: ignore[operator]


def test_row_order_does_not_matter(scored: Scored) -> None:
    y, p = scored(200, places=1)
    q = np.round(np.random.default_rng(1).random(200), 1)
    mixed = np.random.default_rng(2).permutation(200)
    assert paired_difference(y[mixed], p[mixed], q[mixed]) == paired_difference(y, p, q)


def test_an_unknown_metric_is_refused(scored: Scored) -> None:
    y, p = scored(10)
    with pytest.raises(InputError, match="unknown metric `gini`; known: auroc"):
        paired_difference(y, p, p, metric="gini")
