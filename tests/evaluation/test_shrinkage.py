"""Shrunken effects: nothing is kept of noise, most of what is far beyond it."""

from __future__ import annotations

import numpy as np
import pytest

from ebbtide.evaluation.shrinkage import shrink


def test_differences_that_noise_explains_vanish() -> None:
    shrunk = shrink([0.01, -0.01, 0.02], [0.05, 0.05, 0.05])
    assert shrunk.spread == 0.0
    assert [e.value for e in shrunk.effects] == pytest.approx([0.02 / 3] * 3)


def test_differences_far_beyond_noise_stay() -> None:
    shrunk = shrink([0.0, 1.0], [0.01, 0.01])
    assert shrunk.effects[1].value == pytest.approx(1.0, abs=0.001)


def test_the_noisier_an_effect_the_nearer_it_comes_to_the_middle() -> None:
    shrunk = shrink([0.0, 1.0, 1.0], [0.1, 0.1, 0.5])
    sharp, noisy = shrunk.effects[1].value, shrunk.effects[2].value
    assert sharp is not None
    assert noisy is not None
    assert shrunk.middle < noisy < sharp < 1.0


def test_no_effects_shrink_to_none() -> None:
    assert shrink([], []).effects == ()


def test_shrunken_effects_are_nearer_to_the_truth_than_raw_ones() -> None:
    rng = np.random.default_rng(2)
    raw = drawn = 0.0
    for _ in range(200):
        truth, errors = 0.05 * rng.normal(size=8), rng.uniform(0.03, 0.15, 8)
        seen = truth + errors * rng.normal(size=8)
        told = np.array([e.value for e in shrink(seen, errors).effects], np.float64)
        raw, drawn = raw + ((seen - truth) ** 2).sum(), drawn + ((told - truth) ** 2).sum()
    assert drawn < 0.6 * raw
