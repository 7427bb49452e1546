"""Intervals: bootstrap by user, and Wilson's for a share.

Users, not rows, are drawn with replacement: a user asked about at several moments comes with all rows or with none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebbtide.evaluation.tally import Vector

LEVEL = 0.95
_Z = 1.959963984540054
_CHUNK_CELLS = 2_000_000
_MAX_CELLS = 60_000_000
_MIN_DRAWS = 50


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval, of 95 % unless another level is named; all null where the data do not define it, the interval where nothing varies it.

    >>> Estimate.of(0.7, np.array([0.6, 0.7, 0.8])).to_json()
    {'value': 0.7, 'low': 0.605, 'high': 0.795}
    """

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, value: float, draws: Vector, *, level: float = LEVEL) -> Estimate:
        """Percentile interval: the middle 95 %, or `level`, of the draws. Draws in which the figure is undefined are left
        out."""
        low, high = _middle(draws, level)
        return cls(_finite(value), low, high)

    @classmethod
    def of_biased(cls, value: float, draws: Vector) -> Estimate:
        """Interval of a figure that noise pushes up and that cannot be negative, such as ECE.

        Resampling adds the noise once more: if the mean of the draws lies `b` above the value, then the value itself
        may lie up to `(1 + sqrt 2) b` above the truth (all of it noise: E|N(0, s)| against E|N(0, s sqrt 2)|), or not
        at all (no sign in doubt). The interval allows for both, so it is a little too wide rather than too narrow.
        """
        defined = draws[np.isfinite(draws)]
        if not len(defined):
            return cls(_finite(value), None, None)
        pushed = max(float(defined.mean()) - value, 0.0)
        reach = _Z * float(defined.std())
        return cls(_finite(value), max(value - (1 + math.sqrt(2)) * pushed - reach, 0.0), value + reach)

    def to_json(self) -> dict[str, float | None]:
        """JSON-safe fields."""
        return asdict(self)


def affordable_draws(draws: int, rows: int) -> int:
    """The draws that are made of `draws` wanted: fewer beyond 60 million row draws, but never below 50.

    >>> affordable_draws(300, 5_000), affordable_draws(300, 600_000), affordable_draws(300, 10_000_000)
    (300, 100, 50)
    """
    return min(draws, max(_MIN_DRAWS, _MAX_CELLS // max(rows, 1)))


def draw_weights(user: NDArray[Any], *, draws: int, seed: int) -> Iterator[Vector]:
    """How often each row was drawn, in chunks (D, N) whose D add up to `draws`. Bounded memory.

    As many users are drawn, with replacement, as there are. The draw of a user depends on the sorted distinct users
    only, not on row order nor on the size of a chunk.
    """
    distinct, code = np.unique(user, return_inverse=True)
    count = len(distinct)
    rng = np.random.default_rng(seed)
    at_once = max(1, _CHUNK_CELLS // max(len(code), 1))
    for start in range(0, draws, at_once):
        size = min(at_once, draws - start)
        drawn = rng.integers(0, count, (size, count)) + np.arange(size)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        yield times[:, code].astype(np.float64)


def row_users(*columns: NDArray[Any]) -> NDArray[np.int64]:
    """A user of its own for each row, numbered by the rows' values, so that draws do not depend on row order."""
    place = np.empty(len(columns[0]), np.int64)
    place[np.lexsort(columns)] = np.arange(len(place))
    return place


def wilson(hits: float, size: float, *, z: float = _Z) -> tuple[float, float]:
    """Wilson's score interval for a share of `hits` in `size`; (0, 1) for nobody.

    Source: Wilson 1927; Brown, Cai and DasGupta 2001.

    >>> low, high = wilson(0, 10)
    >>> low, round(high, 4)
    (0.0, 0.2775)
    """
    if size <= 0:
        return 0.0, 1.0
    share = min(max(hits / size, 0.0), 1.0)
    middle = share + z * z / (2 * size)
    half = z * math.sqrt(share * (1 - share) / size + z * z / (4 * size * size))
    scale = 1 + z * z / size
    low, high = (middle - half) / scale, (middle + half) / scale
    return (0.0 if share == 0 else max(low, 0.0)), (1.0 if share == 1 else min(high, 1.0))


def _middle(draws: Vector, level: float) -> tuple[float | None, float | None]:
    defined = draws[np.isfinite(draws)]
    if not len(defined):
        return None, None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
