"""Sample size and minimum detectable effect: textbook figures, each the inverse of the other, kept in simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbtide.evaluation.effects import adjusted_difference
from ebbtide.evaluation.power import minimum_detectable_effect, power_of, sample_size


def test_sample_size_of_the_textbook() -> None:
    """Half a standard deviation, 80 % power, two equal arms: 63 users an arm by the normal approximation."""
    assert sample_size(1.0, 0.5) == 126


def test_an_empty_arm_finds_nothing() -> None:
    assert minimum_detectable_effect(0.25, 100, 0) == math.inf
    assert power_of(0.25, 0.1, 100, 0) == 0.0


@given(st.floats(0.01, 100), st.floats(0.01, 10), st.floats(0.05, 0.95), st.floats(0, 0.9))
def test_the_sample_size_is_the_least_that_finds_the_effect(
    v: float, effect: float, share: float, known: float
) -> None:
    n = sample_size(v, effect, control_share=share, explained=known)
    per_user = v * (1 - known) * (1 / share + 1 / (1 - share))
    reach = (1.959964 + 0.841621) * math.sqrt(per_user)
    assert reach / math.sqrt(n) <= effect * (1 + 1e-5)
    assert n == 1 or reach / math.sqrt(n - 1) >= effect * (1 - 1e-5)


def test_a_covariate_that_explains_half_needs_half_the_users() -> None:
    assert sample_size(1.0, 0.1, explained=0.5) == pytest.approx(sample_size(1.0, 0.1) / 2, abs=1)


def test_power_at_the_minimum_detectable_effect_is_the_power_asked_for() -> None:
    effect = minimum_detectable_effect(0.2, 400, 100, power=0.9)
    assert power_of(0.2, effect, 400, 100) == pytest.approx(0.9, abs=1e-3)


def test_the_promised_power_is_reached() -> None:
    """400 campaigns with an effect of the printed size: found in 80 % +- three standard errors."""
    rng, n, found = np.random.default_rng(3), 500, 0
    effect = minimum_detectable_effect(2.0, 400, 100, explained=0.5)
    for _ in range(400):
        x, treated = rng.normal(size=n), np.arange(n) < 400
        y = x + rng.normal(size=n) + effect * treated
        found += adjusted_difference(y, treated, x).sign == 1
    assert 0.74 <= found / 400 <= 0.86
