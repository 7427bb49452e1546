"""Exact Shapley values of a function of a few columns, against a reference user (Shapley 1953; Lundberg, Lee 2017)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import factorial

import numpy as np

from ebbtide.models.base import Vector


def shapley_few(function: Callable[[Vector], Vector], columns: Vector, reference: Vector) -> tuple[Vector, float]:
    """Share `function(columns) - function(reference)` out over K columns, (N, K) and the reference's value.

    A column that is absent from a coalition takes the reference's value. 2^K evaluations: meant for K <= 4.

    >>> shapley_few(lambda c: c[:, 0] * c[:, 1], np.array([[2.0, 3.0]]), np.array([0.0, 1.0]))
    (array([[4., 2.]]), 0.0)
    """
    width = columns.shape[1]
    out = np.zeros(columns.shape)
    for own in product((False, True), repeat=width):
        value = function(np.where(own, columns, reference))
        for player in range(width):
            others = sum(own) - own[player]
            weight = factorial(others) * factorial(width - others - 1) / factorial(width)
            out[:, player] += weight * value if own[player] else -weight * value
    return out, float(function(reference[None, :])[0])
