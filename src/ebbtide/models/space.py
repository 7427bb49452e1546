"""Search spaces as data: which settings of a model are worth tuning, between which values.

A model declares its space beside itself, `space: ClassVar[Space] = {"depth": Whole(2, 12, usual=6)}`, names it in the
registry (`Entry(..., space=...)`), and makes itself from `setting.values_of(name)`: the names are fields of its config.
`usual` is the value that the config has anyway, so that the first trial is the model as it comes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

Value = float | int | str | bool
Values = Mapping[str, Value]
"""Chosen settings, name to value."""


@dataclass(frozen=True)
class Real:
    """A number between `low` and `high`, both included; `log`: equal steps are equal ratios."""

    low: float
    high: float
    usual: float
    log: bool = False

    def grid(self) -> tuple[float, ...]:
        """Three values: the ends and the middle.

        >>> Real(0.1, 10.0, usual=1.0, log=True).grid()
        (0.1, 1.0, 10.0)
        """
        between = np.geomspace if self.log else np.linspace
        return tuple(float(f"{v:.6g}") for v in between(self.low, self.high, 3))


@dataclass(frozen=True)
class Whole:
    """A whole number between `low` and `high`, both included."""

    low: int
    high: int
    usual: int
    log: bool = False

    def grid(self) -> tuple[int, ...]:
        """At most three values: the ends and the middle."""
        between = np.geomspace if self.log else np.linspace
        return tuple(sorted({round(float(v)) for v in between(self.low, self.high, 3)}))


@dataclass(frozen=True)
class OneOf:
    """One of several values without an order."""

    values: tuple[Value, ...]
    usual: Value

    def grid(self) -> tuple[Value, ...]:
        """All of them."""
        return self.values


Dimension = Real | Whole | OneOf
Space = Mapping[str, Dimension]
"""Name of a setting to its range."""


COLUMNS = "columns"
"""The setting that every model may have in its space, and none in its config: how many columns it reads, chosen inside
each fold by what they say about the labels known there; 0 = all."""
ANY_COLUMNS = OneOf((0, 25, 50, 100), usual=0)


def usual_values(space: Space) -> dict[str, Value]:
    """The settings of the model as it comes."""
    return {name: dimension.usual for name, dimension in space.items()}
