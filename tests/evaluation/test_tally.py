"""Counts by score: every row lands in one cell, whatever the order; unfit arrays are refused in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ebbtide.core.errors import InputError
from ebbtide.evaluation.calibration import brier_of, ece_of, log_loss_of
from ebbtide.evaluation.ranking import auroc_of, average_precision_of, lift_of
from ebbtide.evaluation.tally import Ranking, check_probabilities, ratio, tally

sizes = st.integers(1, 40)
rows = sizes.flatmap(
    lambda n: st.tuples(
        arrays(np.int64, n, elements=st.integers(0, 1)),
        arrays(np.float64, n, elements=st.integers(0, 8).map(lambda k: k / 8)),
    )
)


@given(rows, st.randoms(use_true_random=False))
def test_row_order_does_not_matter(data: tuple[Any, Any], shuffler: Any) -> None:
    y, p = data
    mixed = np.array(shuffler.sample(range(len(y)), len(y)))
    one, other = tally(y, p), tally(y[mixed], p[mixed])
    for a, b in zip((one.score, one.churned, one.retained), (other.score, other.churned, other.retained), strict=True):
        np.testing.assert_array_equal(a, b)


@given(rows, st.integers(0, 2**31))
def test_weights_are_repeated_rows(data: tuple[Any, Any], seed: int) -> None:
    y, p = data
    times = np.random.default_rng(seed).integers(0, 4, len(y))
    weighted = Ranking(y, p).count(times[None, :].astype(float))
    assert (weighted.churned.sum(), weighted.retained.sum()) == (times @ y, times @ (1 - y))
    if times.any():
        repeated = tally(np.repeat(y, times), np.repeat(p, times))
        for figure in (auroc_of, average_precision_of, brier_of, log_loss_of, lambda t: lift_of(t, 0.3)):
            np.testing.assert_allclose(figure(weighted), figure(repeated), atol=1e-12)


@given(rows, st.integers(1, 10))
def test_merging_keeps_every_row_and_the_kept_score_a_border(data: tuple[Any, Any], limit: int) -> None:
    y, p = data
    keep = float(p[0])
    cells = Ranking(y, p).merged(limit=limit, keep=keep).count()
    assert cells.churned.sum() == y.sum()
    assert cells.total.sum() == len(y)
    assert (np.diff(cells.score) < 0).all()
    assert cells.total[:, cells.score >= keep - 1e-12].sum() == (p >= keep).sum()


def test_merging_many_scores_hardly_moves_a_figure(scored: Callable[..., Any]) -> None:
    ranking = Ranking(*scored(50_000))
    whole, cells = ranking.count(), ranking.merged().count()
    assert len(cells.score) == 2000
    limits = {auroc_of: 1e-5, average_precision_of: 5e-4, log_loss_of: 1e-4, brier_of: 1e-5, ece_of: 1e-5}
    for figure, limit in limits.items():
        assert abs(figure(whole)[0] - figure(cells)[0]) < limit, figure.__name__


@pytest.mark.parametrize(
    ("y", "p", "told"),
    [
        ([], [], "nothing to evaluate"),
        ([1, 0], [0.5], "equal length"),
        ([1, 2, 0], [0.5, 0.5, 0.5], "1 rows hold something else"),
        ([1, np.nan, 0], [0.5, 0.5, 0.5], "leave out rows without a label"),
        ([1, 0], [np.nan, 0.5], "1 rows have none"),
        ([1, 0], [np.inf, 0.5], "1 rows have none"),
    ],
)
def test_unfit_arrays_are_refused(y: list[float], p: list[float], told: str) -> None:
    with pytest.raises(InputError, match=told):
        tally(np.array(y), np.array(p))


def test_probabilities_outside_the_unit_interval_are_refused() -> None:
    check_probabilities(np.array([0.0, 1.0]))
    with pytest.raises(InputError, match="2 rows lie outside"):
        check_probabilities(np.array([-0.1, 0.5, 1.5]))


def test_ratio_is_nan_where_it_is_undefined() -> None:
    assert ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0])).tolist()[0] == 0.5
    assert np.isnan(ratio(np.array([1.0]), np.array([0.0]))[0])
