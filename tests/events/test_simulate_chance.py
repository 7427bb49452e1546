"""The simulator's chance: laws of its numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ebbtide.events.simulator.chance import Purpose, exponential, keys_of, normal, poisson, uniform

KEYS = keys_of(np.arange(20_000), seed=1)


def test_the_numbers_are_uniform() -> None:
    assert stats.kstest(uniform(KEYS, Purpose.LEAVE, 3), "uniform").pvalue > 0.001


def test_neighbours_purposes_and_counters_are_independent() -> None:
    first = uniform(KEYS, Purpose.LEAVE, 3)
    for other in (uniform(KEYS, Purpose.CAUSE, 3), uniform(KEYS, Purpose.LEAVE, 4), np.roll(first, 1)):
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.03


def test_the_laws_have_their_moments() -> None:
    assert abs(exponential(KEYS, 1).mean() - 1) < 0.03
    assert abs(normal(KEYS, 1).mean()) < 0.03
    assert abs(normal(KEYS, 1).std() - 1) < 0.03


def test_poisson_numbers_follow_their_law() -> None:
    counts = poisson(KEYS, 1, 0, np.full(len(KEYS), 1.5), at_most=20)
    assert abs(counts.mean() - 1.5) < 0.04
    assert abs(counts.var() - 1.5) < 0.06


@given(st.integers(0, 2**40), st.integers(0, 2**62), st.integers(1, 60), st.integers(-(2**30), 2**30))
def test_a_draw_depends_on_its_own_user_alone(user: int, seed: int, purpose: int, counter: int) -> None:
    crowd = keys_of(np.array([7, user, user + 1]), seed)
    alone = keys_of(np.array([user]), seed)
    number = uniform(alone, purpose, counter)[0]
    assert uniform(crowd, purpose, counter)[1] == number
    assert uniform(crowd, purpose, np.array([0, counter, 1]))[1] == number
    assert 0 < number < 1
