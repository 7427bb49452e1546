"""Segments of users by what they do, found without labels (K-means), as an optional column maker.

Columns: how far a user is from the middle of each segment, and the segment itself, numbered from the least to the most
orders to expect, so that its number means something.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.utils.extmath import randomized_svd

from ebbtide.core.language import Text
from ebbtide.models.base import Matrix, Rows
from ebbtide.models.bgnbd import ExpectedOrders
from ebbtide.models.columns import ModelColumn
from ebbtide.models.standard import Standard, sample_of
from ebbtide.sequences.event_log import Sequences

_SEGMENTS = 8
_AXES = 16
_LEADERS = 2
_SEGMENT = Text(
    "segment of behaviour, 1 with the fewest to {count} with the most orders to expect",
    "行为分群，1 为预期订单最少，{count} 为最多",
)
_DISTANCE = Text("distance to segment {n}, known by {leaders}", "与分群 {n} 的距离，该分群的特点：{leaders}")


class Segments:
    """`axes` (K, D): the main directions of the standardised columns, in which distances are measured; `centres`
    (S, D): the middles; `leaders`: the columns in which a segment differs most from all, with a sign."""

    name: ClassVar[str] = "segments"

    def __init__(self) -> None:
        self.standard: Standard
        self.axes: NDArray[np.float64]
        self.centres: NDArray[np.float64]
        self.leaders: list[list[str]] = []

    def fit(self, rows: Rows, *, seed: int) -> Self:
        """Learn the segments; labels are not looked at."""
        X = sample_of(rows.X, rows.user)
        self.standard = Standard.fit(X)
        Z = self.standard.apply(X)
        _, _, axes = randomized_svd(Z, n_components=min(_AXES, *Z.shape), random_state=seed)
        self.axes = axes.T
        distinct = len(np.unique(Z @ self.axes, axis=0))
        found = KMeans(min(_SEGMENTS, distinct), n_init=4, random_state=seed).fit(Z @ self.axes)
        order = np.argsort(_liveliness(X, rows.names, found.labels_, len(found.cluster_centers_)), kind="stable")
        self.centres = np.asarray(found.cluster_centers_[order], np.float64)
        kept = [rows.names[i] for i in self.standard.kept]
        self.leaders = [_leaders(Z[found.labels_ == old].mean(axis=0), kept) for old in order]
        return self

    def declarations(self) -> tuple[ModelColumn, ...]:
        """The segment, then the distances."""
        distances = (
            ModelColumn(f"segment_{i}_distance", _DISTANCE.format(n=i, leaders=", ".join(names)), "number", "profile")
            for i, names in enumerate(self.leaders, start=1)
        )
        segment = ModelColumn("segment", _SEGMENT.format(count=len(self.centres)), "number", "profile")
        return (segment, *distances)

    def columns(self, X: Matrix, sequences: Sequences | None) -> Matrix:
        """(N, F) -> (N, 1 + S)."""
        places = np.einsum("nk,kd->nd", self.standard.apply(X), self.axes, optimize=False)
        far = np.sqrt(((places[:, None, :] - self.centres) ** 2).sum(axis=2))  # (N, S)
        return np.column_stack([far.argmin(axis=1) + 1, far]).astype(np.float32)

    def save(self, folder: Path) -> None:
        """One npz and one JSON file."""
        arrays: dict[str, Any] = self.standard.arrays()
        np.savez_compressed(folder / "segments.npz", axes=self.axes, centres=self.centres, **arrays)
        (folder / "segments.json").write_text(json.dumps({"leaders": self.leaders}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        made = cls()
        with np.load(folder / "segments.npz", allow_pickle=False) as arrays:
            made.standard = Standard(arrays["kept"], arrays["centre"], arrays["spread"])
            made.axes, made.centres = arrays["axes"], arrays["centres"]
        made.leaders = json.loads((folder / "segments.json").read_text(encoding="utf-8"))["leaders"]
        return made


def _liveliness(X: Matrix, names: tuple[str, ...], label: NDArray[np.int32], count: int) -> NDArray[np.float64]:
    """Mean expected orders of each segment; of a shop without them, its size."""
    if ExpectedOrders.name not in names:
        return np.bincount(label, minlength=count).astype(np.float64)
    expected = np.nan_to_num(X[:, names.index(ExpectedOrders.name)].astype(np.float64))
    return np.asarray(np.bincount(label, expected, count) / np.maximum(np.bincount(label, minlength=count), 1))


def _leaders(mean: NDArray[np.float64], names: list[str]) -> list[str]:
    """The columns that stand out, with their direction, from the standardised means of a segment."""
    order = np.argsort(-np.abs(mean), kind="stable")[:_LEADERS]
    return [f"{'+' if mean[i] > 0 else '-'}{names[i]}" for i in order]
