"""Uplift metrics: equal to scikit-uplift, equal to hand arithmetic, and blind to what must not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ebbtide.core.errors import InputError
from ebbtide.evaluation.uplift import (
    auuc,
    evaluate_uplift,
    perfect_qini,
    qini,
    qini_difference,
    random_qini,
    uplift_at,
)
from ebbtide.evaluation.uplift_tally import UpliftRanking

Y = np.array([1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 1, 0])
T = np.array([1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 1, 0, 1, 0, 0])
S = np.array([0.9, 0.8, 0.8, 0.7, 0.6, 0.5, 0.5, 0.5, 0.4, 0.3, 0.3, 0.2, 0.2, 0.1, 0.05, 0.0])


def _experiment(n: int = 400, seed: int = 7) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    score, treated = rng.random(n), rng.integers(0, 2, n)
    return (rng.random(n) < 0.2 + 0.2 * score * treated).astype(int), score, treated


def _area(x: list[float], y: list[float]) -> float:
    return sum((b - a) * (p + q) / 2 for a, b, p, q in zip(x, x[1:], y, y[1:], strict=False))


def _curve(y: NDArray[Any], score: NDArray[Any], treated: NDArray[Any]) -> tuple[list[float], list[float]]:
    """The Qini curve, threshold by threshold, as its definition reads."""
    x, won = [0.0], [0.0]
    for threshold in sorted(set(score.tolist()), reverse=True):
        top = score >= threshold
        on, off = top & (treated == 1), top & (treated == 0)
        fair = y[off].sum() * (on.sum() / off.sum() if off.sum() else 0.0)
        x.append(float(top.sum()))
        won.append(float(y[on].sum() - fair))
    return x, won


def _qini_by_definition(y: NDArray[Any], score: NDArray[Any], treated: NDArray[Any]) -> float:
    x, won = _curve(y, score, treated)
    best_x, best = _curve(y, np.where(treated == 1, y, -y), treated)
    line = x[-1] * won[-1] / 2
    return (_area(x, won) - line) / (_area(best_x, best) - line)


def test_qini_and_auuc_are_those_of_scikit_uplift() -> None:
    """Golden values printed by scikit-uplift 0.5.1: qini_auc_score, uplift_auc_score; with tied scores, and without."""
    assert qini(Y, S, T) == pytest.approx(-0.026327312534209075, abs=1e-12)
    assert auuc(Y, S, T) == pytest.approx(-0.0559567416710274, abs=1e-12)
    y, score, treated = _experiment()
    assert qini(y, score, treated) == pytest.approx(0.06121815468658661, abs=1e-12)
    assert auuc(y, score, treated) == pytest.approx(0.05479254614374389, abs=1e-12)


def test_uplift_at_the_top_and_by_decile_are_those_of_scikit_uplift() -> None:
    """uplift_at_k(strategy='overall', k=0.3) and uplift_by_percentile(bins=10) of scikit-uplift 0.5.1."""
    y, score, treated = _experiment()
    assert uplift_at(y, score, treated, share=0.3) == pytest.approx(0.2171945701357466, abs=1e-12)
    found = [e.value for e in evaluate_uplift(y, score, treated, draws=50).deciles]
    printed = [
        0.07017543859649122, 0.18158567774936063, 0.39010989010989006, 0.13032581453634084, 0.22916666666666669,
        0.2708333333333333, 0.005050505050505083, 0.3659147869674186, 0.01648351648351648, -0.06905370843989772,
    ]  # fmt: skip
    assert found == pytest.approx(printed, abs=1e-12)


rows = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4), st.integers(0, 1)), min_size=4, max_size=40).filter(
    lambda r: len({t for _, _, t in r}) == 2
)


@settings(max_examples=60, deadline=None)
@given(rows)
def test_qini_is_its_definition_on_any_small_experiment(table: list[tuple[int, int, int]]) -> None:
    y, score, treated = (np.array(c) for c in zip(*table, strict=True))
    found = qini(y, score, treated)
    if np.isfinite(found):
        assert found == pytest.approx(_qini_by_definition(y, score, treated), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(rows, st.integers(0, 100))
def test_counting_a_row_twice_is_having_it_twice(table: list[tuple[int, int, int]], seed: int) -> None:
    y, score, treated = (np.array(c) for c in zip(*table, strict=True))
    times = np.random.default_rng(seed).integers(0, 3, len(y))
    again = np.repeat(np.arange(len(y)), times)
    if len(set(treated[again].tolist())) < 2:
        return
    weighted = UpliftRanking(y, score, treated).count(times[None].astype(float))
    repeated = UpliftRanking(y[again], score[again], treated[again]).count()
    for name in ("treated", "control", "treated_y", "control_y"):
        whole, short = getattr(weighted, name)[0], getattr(repeated, name)[0]
        assert sorted(set(whole)) == sorted(set(short))


def test_the_perfect_ranking_has_qini_one_and_turning_it_round_a_negative_one() -> None:
    y, _, treated = _experiment()
    assert qini(y, perfect_qini(y, treated), treated) == pytest.approx(1.0)
    assert qini(y, -perfect_qini(y, treated), treated) < 0


def test_a_score_that_says_nothing_has_qini_zero() -> None:
    y, _, treated = _experiment()
    assert qini(y, np.zeros(len(y)), treated) == pytest.approx(0.0, abs=1e-12)


def test_only_the_order_of_scores_counts_and_not_the_order_of_rows() -> None:
    y, score, treated = _experiment()
    mixed = np.random.default_rng(1).permutation(len(y))
    assert evaluate_uplift(y, score, treated) == evaluate_uplift(y[mixed], np.exp(score[mixed]), treated[mixed])


def test_money_and_its_unit_do_not_change_qini() -> None:
    y, score, treated = _experiment()
    spent = y * np.random.default_rng(3).gamma(2, 30, len(y))
    assert qini(100 * spent, score, treated) == pytest.approx(qini(spent, score, treated))


def test_the_interval_covers_the_planted_effect() -> None:
    """Uplift in the top tenth is 0.2 times the mean score there, 0.95."""
    y, score, treated = _experiment(8_000, seed=1)
    figures = evaluate_uplift(y, score, treated)
    top = figures.at[0.1]
    assert top.low < 0.19 < top.high  # type: ignore[operator]
    assert figures.average.low < 0.1 < figures.average.high  # type: ignore[operator]
    assert figures.qini.low > 0  # type: ignore[operator]


def test_random_rankings_lie_around_zero_and_below_a_good_one() -> None:
    y, score, treated = _experiment(8_000, seed=1)
    chance = random_qini(y, treated, draws=60)
    assert chance.low < 0 < chance.high < qini(y, score, treated)  # type: ignore[operator]


def test_a_good_score_beats_a_blind_one_by_a_paired_difference() -> None:
    y, score, treated = _experiment(8_000, seed=1)
    blind = np.random.default_rng(5).random(len(y))
    there, back = qini_difference(y, score, blind, treated), qini_difference(y, blind, score, treated)
    assert there.low > 0  # type: ignore[operator]
    assert there.value == pytest.approx(-back.value)  # type: ignore[operator]


def test_weights_undo_unequal_chances() -> None:
    """Half of the users were treated with chance 0.8, and they also buy more: only weighting finds the true effect."""
    rng = np.random.default_rng(0)
    keen = rng.integers(0, 2, 40_000)
    chance = np.where(keen == 1, 0.8, 0.2)
    treated = (rng.random(len(keen)) < chance).astype(int)
    y = (rng.random(len(keen)) < 0.1 + 0.3 * keen + 0.1 * treated).astype(int)
    weight = np.where(treated == 1, 1 / chance, 1 / (1 - chance))
    plain = evaluate_uplift(y, keen, treated, draws=50).average
    fair = evaluate_uplift(y, keen, treated, weight=weight, draws=50).average
    assert plain.low > 0.2  # type: ignore[operator]
    assert fair.low < 0.1 < fair.high  # type: ignore[operator]


@pytest.mark.parametrize(
    ("y", "score", "treated", "match"),
    [
        ([1, 0], [1, 0, 1], [1, 0], "three columns of equal length"),
        ([1, np.nan], [1, 0], [1, 0], "must be numbers; 1 rows lack one"),
        ([1, 0], [1, 0], [1, 2], "1 .treated. or 0 .control.; 1 rows"),
        ([1, 0], [1, 0], [1, 1], "2 treated of 2"),
    ],
)
def test_arrays_that_cannot_be_judged_are_refused(y: Any, score: Any, treated: Any, match: str) -> None:
    with pytest.raises(InputError, match=match):
        qini(np.array(y), np.array(score), np.array(treated))
