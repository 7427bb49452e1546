"""Contributions merged by feature family: what the score owes to each kind of evidence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.errors import DefectError
from ebbtide.explain.layout import Columns, Layout, layout_of

Floats = NDArray[np.float64]


def family_names(columns: Columns) -> tuple[str, ...]:
    """The K families of the columns, in order of first appearance."""
    return layout_of(columns).family_names


def families_of(contributions: Floats, columns: Columns) -> Floats:
    """Sum the contributions of each family's columns: (N, F + 1) -> (N, K), in the order of `family_names`.

    Base value (the last column) + all families = the margin, in log-odds, within 1e-6.
    Raises DefectError if the contributions do not belong to these columns.
    """
    return family_sums(contributions, layout_of(columns))


def family_sums(contributions: Floats, layout: Layout) -> Floats:
    """As `families_of`, for columns whose layout is known."""
    if contributions.shape[1] != len(layout.names) + 1:
        raise DefectError(
            "the model explains {got} columns, {wanted} are described",
            "模型解释了 {got} 列，而有说明的是 {wanted} 列",
            got=contributions.shape[1] - 1,
            wanted=len(layout.names),
        )
    # Summed column after column: a matrix product would round differently for one row than for many.
    inside = np.ascontiguousarray(contributions[:, layout.order])
    return np.asarray(np.add.reduceat(inside, layout.start[:-1], axis=1), np.float64)
