"""The same figures for parts of the users: does the score also hold for new customers, for each country, each channel?"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebbtide.evaluation.calibration import ece_of
from ebbtide.evaluation.intervals import Estimate, draw_weights, wilson
from ebbtide.evaluation.ranking import auroc_of
from ebbtide.evaluation.tally import Ranking, Vector

MAX_SLICES = 12
_SMALL_CLASS = 30
_UNKNOWN, _OTHER = "(unknown)", "(other)"


@dataclass(frozen=True)
class Slice:
    """One part of the rows. `small`: fewer than 30 churned or 30 retained rows, so its figures say little."""

    group: str
    label: str
    rows: int
    churned: int
    small: bool
    churn_rate: Estimate
    mean_probability: float
    auroc: Estimate
    ece: Estimate

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return asdict(self)


def evaluate_slices(
    y: NDArray[Any], p: NDArray[Any], user: NDArray[Any], groups: Mapping[str, NDArray[Any]], *, draws: int, seed: int
) -> tuple[Slice, ...]:
    """Judge each part of each group on its own, largest first; a group's parts beyond the 12 largest are one.

    groups: name -> label of each row (N,); null or empty is a part of its own, `(unknown)`.
    """
    found: list[Slice] = []
    for name, labels in groups.items():
        parts = _parts(labels)
        found += [_judge(name, label, y[at], p[at], user[at], draws, seed) for label, at in parts]
    return tuple(found)


def range_labels(values: NDArray[Any], edges: Vector) -> NDArray[np.object_]:
    """Name the range of each number, `(low, high]`; NaN gives None.

    >>> range_labels(np.array([5.0, 30.0, 400.0, np.nan]), np.array([30.0, 365.0])).tolist()
    ['<= 30', '<= 30', '> 365', None]
    """
    names = [f"<= {edges[0]:g}"]
    names += [f"{low:g} - {high:g}" for low, high in itertools.pairwise(edges.tolist())]
    names.append(f"> {edges[-1]:g}")
    labels = np.array(names, object)[np.searchsorted(edges, values, side="left")]
    labels[np.isnan(values)] = None
    return labels


def _parts(labels: NDArray[Any]) -> list[tuple[str, NDArray[np.int64]]]:
    named = np.array([_label(label) for label in labels.tolist()], object).astype(str)
    names, code, sizes = np.unique(named, return_inverse=True, return_counts=True)
    largest = np.lexsort((names, -sizes))
    kept = largest if len(names) <= MAX_SLICES else largest[: MAX_SLICES - 1]
    parts = [(str(names[i]), np.flatnonzero(code == i)) for i in kept]
    rest = np.flatnonzero(~np.isin(code, kept))
    return [*parts, (_OTHER, rest)] if len(rest) else parts


def _label(label: object) -> str:
    unknown = label is None or label == "" or label != label
    return _UNKNOWN if unknown else str(label)


def _judge(
    group: str, label: str, y: NDArray[Any], p: NDArray[Any], user: NDArray[Any], draws: int, seed: int
) -> Slice:
    ranking = Ranking(y, p)
    whole, cells = ranking.count(), ranking.merged()
    bins = cells.count()
    counted = [cells.count(w) for w in draw_weights(user, draws=draws, seed=seed)]
    rows, churned = len(y), int(np.sum(y))
    low, high = wilson(churned, rows)
    return Slice(
        group=group,
        label=label,
        rows=rows,
        churned=churned,
        small=min(churned, rows - churned) < _SMALL_CLASS,
        churn_rate=Estimate(churned / rows, low, high),
        mean_probability=float(np.mean(p)),
        auroc=Estimate.of(float(auroc_of(whole)[0]), np.concatenate([auroc_of(t) for t in counted])),
        ece=Estimate.of_biased(float(ece_of(whole)[0]), np.concatenate([ece_of(t, reference=bins) for t in counted])),
    )
