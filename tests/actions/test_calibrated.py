"""Effects are drawn towards their average as far as held-out users say."""

from __future__ import annotations

import numpy as np
import pytest

from ebbtide.actions.calibrated import EffectLine, believed, effect_lines


def _scores(effect: np.ndarray, seed: int = 0) -> np.ndarray:
    """Doubly robust scores of one treatment whose true effect is known, with the noise of real ones."""
    noise = np.random.default_rng(seed).normal(size=(len(effect), 2))
    return np.column_stack([noise[:, 0], effect + noise[:, 1]])


def test_right_predictions_are_believed_and_doubled_ones_halved() -> None:
    effect = np.random.default_rng(1).normal(0.2, 0.3, 20_000)
    right = effect_lines(effect[:, None], _scores(effect), follow=True)[0]
    doubled = effect_lines(2 * effect[:, None], _scores(effect), follow=True)[0]
    assert right.slope == pytest.approx(1.0, abs=0.1)
    assert doubled.slope == pytest.approx(0.5, abs=0.05)
    assert doubled.average == pytest.approx(0.2, abs=0.03)


def test_noise_is_drawn_to_the_average() -> None:
    rng = np.random.default_rng(2)
    line = effect_lines(rng.normal(size=(20_000, 1)), _scores(np.full(20_000, 0.1)), follow=True)[0]
    assert line.slope < 0.05


def test_if_the_ranking_is_not_followed_everybody_is_told_the_same() -> None:
    effect = np.random.default_rng(3).normal(size=2000)
    lines = effect_lines(effect[:, None], _scores(effect), follow=False)
    told, lower = believed(lines, effect[:, None])
    assert len(np.unique(told)) == len(np.unique(lower)) == 1
    assert lower[0, 0] < told[0, 0]


def test_the_lower_bound_holds_for_nineteen_in_twenty_shops() -> None:
    effect = np.random.default_rng(4).normal(0.2, 0.3, 500)
    held = [
        float(effect_lines(effect[:, None], _scores(effect, seed), follow=True)[0].lower(np.array([0.2]))[0]) < 0.2
        for seed in range(200)
    ]
    assert 0.9 < np.mean(held) <= 0.99


def test_a_line_comes_back_from_json() -> None:
    line = EffectLine(0.1, 0.2, 0.5, 0.01, 0.02)
    assert EffectLine.from_json(line.to_json()) == line
