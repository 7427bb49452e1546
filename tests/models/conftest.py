"""Rows made on the spot, and the folder of real logs where there is one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ebbtide.models.base import Rows, sigmoid

DAY_US = 86_400_000_000
NAMES = (
    "outcome_repeat_days",
    "outcome_last_age_days",
    "outcome_age_days",
    "money",
    "share",
    "gap",
    "never_known",
    "constant",
)


@pytest.fixture(scope="session")
def make_rows() -> Callable[..., Rows]:
    """A shop of `count` rows at `moments` moments, 30 days apart: churn depends on recency, money and a known gap."""

    def make(count: int = 600, moments: int = 4, seed: int = 0) -> Rows:
        rng = np.random.default_rng(seed)
        repeats = rng.poisson(rng.gamma(0.8, 4.0, count))
        age = rng.integers(1, 300, count)
        last_age = np.where(repeats > 0, np.floor(age * rng.beta(4, 1, count)), 0)
        money = np.exp(rng.normal(3, 1.2, count))
        gap = np.where(rng.random(count) < 0.3, np.nan, rng.gamma(2, 10, count))
        X = np.column_stack(
            [
                repeats,
                last_age,
                age,
                money,
                rng.random(count),
                gap,
                np.full(count, np.nan),
                np.full(count, 7.0),
            ]
        ).astype(np.float32)
        odds = (
            0.9 * np.log1p(age - last_age) - 0.8 * np.log1p(repeats) - 0.4 * np.log(money) + 0.6 * np.isnan(gap) - 0.8
        )
        y = (rng.random(count) < sigmoid(odds)).astype(np.float64)
        as_of = np.sort(rng.integers(0, moments, count)) * 30 * DAY_US
        user = rng.integers(0, 2**63, count).astype(np.uint64)
        return Rows(X, y, as_of, user, NAMES, 30 * DAY_US)

    return make


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of public logs: EBBTIDE_TEST_DATA, or shared/data beside the repository."""
    named = os.environ.get("EBBTIDE_TEST_DATA")
    folder = Path(named) if named else Path(__file__).parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real logs: set EBBTIDE_TEST_DATA to the folder that holds them")
    return folder
