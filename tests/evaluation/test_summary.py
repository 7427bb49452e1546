"""The whole evaluation: figures agree with their parts, rows may come in any order, degenerate data give null."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ebbtide.core.errors import InputError
from ebbtide.core.settings import ProfitConfig
from ebbtide.evaluation.calibration import brier, calibration_curve, ece, log_loss
from ebbtide.evaluation.intervals import Estimate
from ebbtide.evaluation.profit import empc
from ebbtide.evaluation.ranking import auroc, average_precision, lift
from ebbtide.evaluation.summary import Evaluation, evaluate

Scored = Callable[..., Any]


@pytest.fixture(scope="module")
def judged(scored: Scored) -> Evaluation:
    y, p = scored(1000, seed=4)
    return evaluate(y, p, groups={"half": np.arange(1000) % 2}, value=np.linspace(1, 400, 1000), draws=100)


def test_every_figure_is_that_of_its_function(judged: Evaluation, scored: Scored) -> None:
    y, p = scored(1000, seed=4)
    expected = {
        "auroc": auroc(y, p),
        "average_precision": average_precision(y, p),
        "log_loss": log_loss(y, p),
        "brier": brier(y, p),
        "ece": ece(y, p),
        "lift_at_5": lift(y, p, share=0.05),
        "lift_at_10": lift(y, p),
        "lift_at_20": lift(y, p, share=0.2),
    }
    assert {name: e.value for name, e in judged.metrics.items()} == pytest.approx(expected)
    assert (judged.profit.expected.value, judged.profit.share.value) == pytest.approx(empc(y, p))
    assert judged.calibration == calibration_curve(y, p)
    assert (judged.rows, judged.users, judged.churned) == (1000, 1000, y.sum())
    assert judged.base_rate.value == pytest.approx(y.mean())


def test_every_interval_holds_its_figure(judged: Evaluation) -> None:
    decided = [getattr(judged.at_threshold, name) for name in ("precision", "recall", "f1", "accuracy")]
    campaign = [judged.profit.expected, judged.profit.share, judged.profit.by_value, judged.profit.by_value_share]
    for estimate in [
        *judged.metrics.values(),
        *decided,
        *campaign,
        judged.base_rate,
        *(point.gain for point in judged.curve),
    ]:
        assert isinstance(estimate, Estimate)
        assert estimate.low <= estimate.value <= estimate.high  # type: ignore[operator]


def test_the_confusion_matrix_counts_everybody(judged: Evaluation) -> None:
    cut = judged.at_threshold
    assert cut.true_positive + cut.false_positive + cut.false_negative + cut.true_negative == judged.rows
    assert cut.true_positive + cut.false_negative == judged.churned


def test_the_curve_runs_from_nobody_to_everybody(judged: Evaluation) -> None:
    assert (judged.curve[0].gain.value, judged.curve[0].lift) == (0, None)
    assert (judged.curve[-1].gain.value, judged.curve[-1].lift) == pytest.approx((1, 1))
    at_ten = next(point for point in judged.curve if point.share == pytest.approx(0.1))
    assert at_ten.lift == pytest.approx(judged.metrics["lift_at_10"].value)


def test_a_given_threshold_is_used(scored: Scored) -> None:
    y, p = scored(300)
    assert evaluate(y, p, threshold=0.5, draws=50).at_threshold.true_positive == ((p >= 0.5) & (y == 1)).sum()


def test_row_order_does_not_matter_with_or_without_users(scored: Scored) -> None:
    y, p = scored(200, places=2)
    value, group, user = np.arange(200.0), np.arange(200) % 3, np.arange(200) // 2
    mixed = np.random.default_rng(0).permutation(200)
    one = evaluate(y, p, user=user, value=value, groups={"g": group}, draws=50)
    other = evaluate(y[mixed], p[mixed], user=user[mixed], value=value[mixed], groups={"g": group[mixed]}, draws=50)
    assert close(other, one)
    assert close(evaluate(y[mixed], p[mixed], draws=50), evaluate(y, p, draws=50))


def close(one: Evaluation, other: Evaluation) -> bool:
    """Equal but for the last bits of sums."""
    a, b = flat(one.to_json()), flat(other.to_json())
    return a.keys() == b.keys() and all(v == pytest.approx(b[k], abs=1e-9) for k, v in a.items())


def flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for name, part in value.items() for k, v in flat(part, f"{path}.{name}").items()}
    if isinstance(value, (list, tuple)):
        return {k: v for i, part in enumerate(value) for k, v in flat(part, f"{path}.{i}").items()}
    return {path: value}


def test_the_same_seed_gives_the_same_evaluation(scored: Scored) -> None:
    y, p = scored(200)
    assert evaluate(y, p, draws=50, seed=1) == evaluate(y, p, draws=50, seed=1)
    assert evaluate(y, p, draws=50, seed=1) != evaluate(y, p, draws=50, seed=2)


def test_intervals_are_by_user_so_repeated_rows_add_no_certainty(scored: Scored) -> None:
    y, p = scored(300)
    four = np.repeat(np.arange(300), 4)
    once = evaluate(y, p, user=np.arange(300), draws=300).metrics["auroc"]
    repeated = evaluate(y[four], p[four], user=four, draws=300)
    assert repeated.users == 300
    assert repeated.metrics["auroc"].low == pytest.approx(once.low, abs=1e-9)
    assert repeated.metrics["auroc"].high == pytest.approx(once.high, abs=1e-9)


def test_inputs_are_not_changed(scored: Scored) -> None:
    y, p = scored(100)
    before = y.copy(), p.copy()
    evaluate(y, p, draws=50)
    np.testing.assert_array_equal(y, before[0])
    np.testing.assert_array_equal(p, before[1])


@pytest.mark.parametrize("outcome", [0, 1])
@pytest.mark.parametrize("n", [1, 12])
def test_one_class_gives_null_and_no_warning(outcome: int, n: int) -> None:
    judged = evaluate(np.full(n, outcome), np.linspace(0.1, 0.9, n), groups={"g": np.arange(n) % 2}, draws=50)
    assert judged.metrics["auroc"] == Estimate(None, None, None)
    assert judged.quality.index is None
    json.dumps(judged.to_json(), allow_nan=False)


def test_a_constant_score_is_chance(scored: Scored) -> None:
    y, _ = scored(100)
    judged = evaluate(y, np.full(100, 0.4), draws=50)
    assert judged.metrics["auroc"] == Estimate(0.5, 0.5, 0.5)
    assert judged.quality.index == 0


def test_nothing_to_evaluate_is_an_error() -> None:
    with pytest.raises(InputError, match="nothing to evaluate"):
        evaluate(np.array([]), np.array([]))
    with pytest.raises(InputError, match="between 0 and 1"):
        evaluate(np.array([1, 0]), np.array([2.0, 0.1]))


def test_profit_assumptions_travel_with_the_figures(scored: Scored) -> None:
    y, p = scored(100)
    judged = evaluate(y, p, profit=ProfitConfig(clv=50), draws=50)
    assert judged.to_json()["profit"]["assumptions"]["clv"] == 50
    assert judged.profit.by_value is None


def test_json_holds_no_nan_and_both_languages(judged: Evaluation) -> None:
    read = json.loads(json.dumps(judged.to_json(), allow_nan=False))
    assert set(read["quality"]["advice"]) == {"en", "zh"}
    assert read["metrics"]["auroc"]["value"] == judged.metrics["auroc"].value
