"""Scores with a known truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

Scored = tuple[NDArray[np.int64], NDArray[np.float64]]


@pytest.fixture(scope="session")
def scored() -> Callable[..., Scored]:
    """n calibrated probabilities and outcomes drawn from them; `places` rounds, so that scores tie."""

    def make(n: int, *, seed: int = 0, places: int | None = None) -> Scored:
        rng = np.random.default_rng(seed)
        p = rng.beta(2, 3, n)
        p = p if places is None else np.round(p, places)
        return (rng.random(n) < p).astype(np.int64), p

    return make
