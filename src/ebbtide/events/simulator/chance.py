"""Chance that belongs to one user: a draw depends on seed, user, purpose and counter, and on nothing else.

So the same user lives the same life in any company, in any order of computation, and switching one thing off leaves
the draws of all others as they were. The numbers are the finaliser of SplitMix64 (Steele, Lea, Flood 2014) over a
distinct input a draw.
"""

from __future__ import annotations

from enum import IntEnum, auto
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, ndtri

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_SILVER = np.uint64(0xD1B54A32D192ED03)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)

Keys = NDArray[np.uint64]
Draws = NDArray[np.float64]


class Purpose(IntEnum):
    """What a draw is for. Traits use `TRAIT` and a counter."""

    TRAIT = auto()
    LEAVE = auto()
    CAUSE = auto()
    VISITS = auto()
    NEED = auto()
    FIRST_NEED = auto()
    LOOKS = auto()
    HOUR = auto()
    DEVICE = auto()
    CHANNEL = auto()
    PAUSE = auto()
    LAG = auto()
    OFFLINE = auto()
    STRAY = auto()
    SEARCH = auto()
    WORD = auto()
    SORT = auto()
    FATE_OF_LOOK = auto()
    REMOVED = auto()
    CHECKOUT = auto()
    CATEGORY = auto()
    OTHER_CATEGORY = auto()
    PLACE = auto()
    RIVAL_PLACE = auto()
    RIVAL = auto()
    LINES = auto()
    QUANTITY = auto()
    CANCEL = auto()
    LATE = auto()
    LATE_DAYS = auto()
    ARRIVAL = auto()
    QUALITY = auto()
    RETURN = auto()
    TROUBLE = auto()
    UNSOLVED = auto()
    SEVERITY = auto()
    REPEATED = auto()
    ASKS = auto()
    RATING = auto()
    REVIEWS = auto()
    HOUR_LATER = auto()
    INTEREST = auto()
    AUDIENCE = auto()
    ARM = auto()
    CONTACT_HOUR = auto()
    CONSENT_TIME = auto()
    FUTURE_NEED = auto()
    MOOD = auto()
    ARRANGE = auto()
    LINGER = auto()
    AGAIN = auto()
    PAGE = auto()


def _mixed(z: Keys) -> Keys:
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


def keys_of(users: NDArray[np.int64], seed: int) -> Keys:
    """A well-spread 64-bit key of each user under a seed, (N,) -> (N,)."""
    base = _mixed(np.full(1, seed, np.uint64) + _GOLDEN)
    return _mixed(_mixed(users.astype(np.uint64) * _GOLDEN + _SILVER) ^ base)


def uniform(keys: Keys, purpose: int, counter: Any = 0) -> Draws:
    """One number in (0, 1) a key, (N,) -> (N,); `counter`, a number or (N,), tells draws of one purpose apart.

    >>> keys = keys_of(np.arange(2), seed=1)
    >>> bool((uniform(keys, 3, 7) == uniform(keys[::-1], 3, 7)[::-1]).all())
    True
    """
    place = np.asarray(counter).astype(np.uint64) * _SILVER + _mixed(np.full(1, purpose, np.uint64) * _GOLDEN)
    return ((_mixed(keys ^ _mixed(place)) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def exponential(keys: Keys, purpose: int, counter: Any = 0) -> Draws:
    """Exponential numbers of mean 1."""
    return -np.log(uniform(keys, purpose, counter))


def normal(keys: Keys, purpose: int, counter: Any = 0) -> Draws:
    """Standard normal numbers."""
    return np.asarray(ndtri(uniform(keys, purpose, counter)))


def gamma(keys: Keys, purpose: int, counter: Any, shape: float) -> Draws:
    """Gamma numbers of mean 1."""
    return np.asarray(gammaincinv(shape, uniform(keys, purpose, counter))) / shape


def lognormal(keys: Keys, purpose: int, counter: Any, sigma: float) -> Draws:
    """Log-normal numbers of mean 1."""
    return np.exp(sigma * normal(keys, purpose, counter) - sigma * sigma / 2)


def poisson(keys: Keys, purpose: int, counter: Any, mean: Draws, at_most: int) -> NDArray[np.int64]:
    """Poisson numbers by inversion, cut off at `at_most`."""
    luck = uniform(keys, purpose, counter)
    chance = np.exp(-mean)
    passed, count = chance.copy(), np.zeros(len(keys), np.int64)
    for number in range(1, at_most + 1):
        count += luck > passed
        chance *= mean / number
        passed += chance
    return count
