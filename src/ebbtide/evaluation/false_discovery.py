"""Many questions at once: how sure one may be of each finding among all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def benjamini_hochberg(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values: keep those up to q, and on average at most a share q of the kept ones are false.

    A question without an answer (None) stays None and does not count among the questions.

    Source: Benjamini and Hochberg 1995, step-up, as adjusted p-values.

    >>> benjamini_hochberg([0.01, None, 0.04, 0.03])
    [0.03, None, 0.04, 0.04]
    """
    asked = [i for i, p in enumerate(p_values) if p is not None]
    p = np.array([p_values[i] for i in asked], np.float64)
    order = np.argsort(p)[::-1]
    steps = p[order] * len(p) / np.arange(len(p), 0, -1)
    told: list[float | None] = [None] * len(p_values)
    for place, q in zip(order, np.minimum.accumulate(steps), strict=True):
        told[asked[place]] = round(min(float(q), 1.0), 12)
    return told
