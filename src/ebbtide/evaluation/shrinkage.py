"""Many noisy effects beside each other: each drawn towards what they have in common, as far as noise explains it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ebbtide.evaluation.intervals import Estimate

_Z = 1.959963984540054


@dataclass(frozen=True)
class Shrunk:
    """`middle` is the precision-weighted mean, `spread` the standard deviation of the true effects, `effects` each
    one drawn towards the middle, with a 95 % interval."""

    middle: float
    spread: float
    effects: tuple[Estimate, ...]


def shrink(values: Sequence[float], errors: Sequence[float]) -> Shrunk:
    """Draw effects with standard errors towards their common mean.

    An effect keeps the share `spread^2 / (spread^2 + error^2)` of its distance from the mean. With a spread of 0, as
    noise alone would give, all of them become the mean. Empty input gives an empty result. An error of 0 counts as
    the smallest positive one.

    Sources: DerSimonian and Laird 1986 (the spread); Morris 1983 (empirical Bayes).

    >>> shrink([0.0, 0.1], [0.1, 0.1]).spread
    0.0
    """
    if not len(values):
        return Shrunk(math.nan, 0.0, ())
    y, v = np.asarray(values, np.float64), np.asarray(errors, np.float64) ** 2
    v = np.maximum(v, v[v > 0].min() if (v > 0).any() else 1e-12)
    w = 1 / v
    fixed = float((w * y).sum() / w.sum())
    scatter = float((w * (y - fixed) ** 2).sum())
    divisor = float(w.sum() - (w**2).sum() / w.sum())
    between = max(0.0, (scatter - (len(y) - 1)) / divisor) if divisor > 0 else 0.0
    weights = 1 / (v + between)
    middle = float((weights * y).sum() / weights.sum())
    kept = between / (between + v)
    drawn = middle + kept * (y - middle)
    variance = kept * v + (1 - kept) ** 2 / weights.sum()
    return Shrunk(middle, math.sqrt(between), tuple(_estimate(m, s) for m, s in zip(drawn, variance, strict=True)))


def _estimate(value: float, variance: float) -> Estimate:
    reach = _Z * math.sqrt(float(variance))
    return Estimate(float(value), float(value) - reach, float(value) + reach)
