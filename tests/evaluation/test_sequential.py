"""The confidence sequence keeps its promise at all looks together, where a plain interval does not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ebbtide.evaluation.effects import unit_differences
from ebbtide.evaluation.sequential import best_rho, boundary, confidence_sequence

LOOKS, STEP = 60, 50


def test_boundary_equals_the_published_formula() -> None:
    """Waudby-Smith et al. 2023, eq. 9, at t = 500, rho = best for 1,000, alpha = 0.05."""
    rho = best_rho(1000)
    t = 500 * rho**2 + 1
    assert boundary(500, planned=1000) == pytest.approx(
        math.sqrt(2 * t / (500**2 * rho**2) * math.log(math.sqrt(t) / 0.05))
    )


def test_the_sequence_is_about_narrowest_in_relation_where_it_was_planned() -> None:
    """Among sequences planned for other sizes, the one planned for 1,000 is within 1 % of the best at 1,000."""
    widths = [boundary(1000, planned=n) for n in (10, 100, 500, 1000, 2000, 10_000)]
    assert boundary(1000, planned=1000) <= min(widths) * 1.01


def test_looking_sixty_times_at_nothing_finds_something_in_one_experiment_of_forty_and_not_of_three() -> None:
    """800 A/A tests with 60 looks: plain z finds an effect in about a third, the sequence in about 2 %."""
    rng = np.random.default_rng(7)
    plain = sequence = 0
    for _ in range(800):
        y, treated = rng.exponential(size=LOOKS * STEP), rng.random(LOOKS * STEP) < 0.5
        z, s = _found(y, treated)
        plain, sequence = plain + z, sequence + s
    assert 0.27 <= plain / 800 <= 0.40
    assert 0.005 <= sequence / 800 <= 0.05


def _found(y: np.ndarray, treated: np.ndarray) -> tuple[bool, bool]:
    z = s = False
    for look in range(1, LOOKS + 1):
        count = look * STEP
        value, spread = unit_differences(y[:count], treated[:count])
        z = z or abs(value) > 1.96 * spread / count**0.5
        told = confidence_sequence(value, spread, count, planned=LOOKS * STEP)
        s = s or (told.low or 0) > 0 or (told.high or 0) < 0
    return z, s


def test_the_sequence_is_wider_than_the_interval_of_one_look() -> None:
    for count in (10, 1000, 100_000):
        assert boundary(count, planned=1000) > 1.96 / count**0.5


def test_undefined_means_have_no_sequence() -> None:
    assert confidence_sequence(math.nan, 1.0, 10, planned=10).value is None
    assert confidence_sequence(0.0, 1.0, 1, planned=10).low is None


def test_without_spread_the_sequence_is_a_point() -> None:
    told = confidence_sequence(0.5, 0.0, 10, planned=10)
    assert (told.low, told.high) == (0.5, 0.5)
