"""Label-free directions of all columns: principal components, and factors (optional column makers).

Both are fitted on the training rows without their labels, and are one matrix in use. Components lie where users differ
most; factors explain what columns share, and are turned (varimax) so that each is led by few of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import FactorAnalysis
from sklearn.utils.extmath import randomized_svd

from ebbtide.core.language import Text
from ebbtide.models.base import Matrix, Rows
from ebbtide.models.columns import ModelColumn
from ebbtide.models.standard import Standard, sample_of
from ebbtide.sequences.event_log import Sequences

_LEADERS = 2
_LEAST = 1e-3
"""Directions that say less than this share of the first one are left out."""


class Projection:
    """Columns `name_1`, `name_2`, ... = standardised columns @ `weights` (K, D); `leaders`: the columns that lead each."""

    name: ClassVar[str]
    words: ClassVar[Text]
    dims: ClassVar[int]

    def __init__(self) -> None:
        self.standard: Standard
        self.weights: NDArray[np.float64]
        self.leaders: list[list[str]] = []

    def fit(self, rows: Rows, *, seed: int) -> Self:
        """Learn the directions; labels are not looked at."""
        X = sample_of(rows.X, rows.user)
        self.standard = Standard.fit(X)
        Z = self.standard.apply(X)
        self.weights, loadings = self._directions(Z, min(self.dims, *Z.shape), seed)
        kept = [rows.names[i] for i in self.standard.kept]
        order = np.argsort(-np.abs(loadings), axis=0, kind="stable")[:_LEADERS]
        self.leaders = [[kept[i] for i in column] for column in order.T]
        return self

    def _directions(
        self, Z: NDArray[np.float64], dims: int, seed: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights (K, D) and loadings (K, D) of the standardised rows."""
        raise NotImplementedError

    def declarations(self) -> tuple[ModelColumn, ...]:
        """One column a direction, worded by the columns that lead it."""
        return tuple(
            ModelColumn(f"{self.name}_{i}", self.words.format(n=i, leaders=", ".join(names)), "number", "profile")
            for i, names in enumerate(self.leaders, start=1)
        )

    def columns(self, X: Matrix, sequences: Sequences | None) -> Matrix:
        """(N, F) -> (N, D). A row gets the same numbers in any company: summed column after column."""
        Z = self.standard.apply(X)
        return np.asarray(np.einsum("nk,kd->nd", Z, self.weights, optimize=False), np.float32)

    def save(self, folder: Path) -> None:
        """One npz and one JSON file."""
        arrays: dict[str, Any] = self.standard.arrays()
        np.savez_compressed(folder / "projection.npz", weights=self.weights, **arrays)
        (folder / "projection.json").write_text(json.dumps({"leaders": self.leaders}), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        made = cls()
        with np.load(folder / "projection.npz", allow_pickle=False) as arrays:
            made.standard = Standard(arrays["kept"], arrays["centre"], arrays["spread"])
            made.weights = arrays["weights"]
        made.leaders = json.loads((folder / "projection.json").read_text(encoding="utf-8"))["leaders"]
        return made


class Components(Projection):
    """Principal components, each scaled to spread 1."""

    name = "pca"
    words = Text("main direction {n} of behaviour, led by {leaders}", "行为的第 {n} 主方向，主要由 {leaders} 构成")
    dims = 8

    def _directions(
        self, Z: NDArray[np.float64], dims: int, seed: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        _, sizes, axes = randomized_svd(Z, n_components=dims, random_state=seed)
        told = sizes > _LEAST * sizes[0]
        return (axes.T * np.sqrt(len(Z)) / sizes)[:, told], axes.T[:, told]


class Factors(Projection):
    """Factor scores: the expected factors of a row (Bartholomew, "Latent variable models", 1987)."""

    name = "factors"
    words = Text("common factor {n} of behaviour, led by {leaders}", "行为的第 {n} 公因子，主要由 {leaders} 构成")
    dims = 6

    def _directions(
        self, Z: NDArray[np.float64], dims: int, seed: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rank = int(
            np.linalg.matrix_rank(Z.T @ Z, hermitian=True)
        )  # beyond it a factor has size 0, or its rounding error
        model = FactorAnalysis(n_components=min(dims, rank), random_state=seed, max_iter=200).fit(Z)
        sizes = np.square(model.components_).sum(axis=1)
        loadings = varimax(model.components_[sizes >= _LEAST * sizes.max()].T)  # (K, D)
        scaled = loadings / np.maximum(model.noise_variance_, 1e-6)[:, None]
        precision = np.linalg.inv(np.eye(loadings.shape[1]) + loadings.T @ scaled)  # (D, D)
        return scaled @ precision, loadings


def varimax(loadings: NDArray[np.float64], *, sweeps: int = 100) -> NDArray[np.float64]:
    """The loadings (K, D) turned so that their squares vary most within each factor, in planes of two factors by
    Kaiser's closed form (Psychometrika 1958), which cannot stop at a saddle as gradients do."""
    L = loadings.copy()
    for _ in range(sweeps):
        most = 0.0
        for p in range(L.shape[1]):
            for q in range(p + 1, L.shape[1]):
                u, v = L[:, p] ** 2 - L[:, q] ** 2, 2 * L[:, p] * L[:, q]
                top = 2 * (u @ v - u.sum() * v.sum() / len(L))
                bottom = (u @ u - v @ v) - (u.sum() ** 2 - v.sum() ** 2) / len(L)
                angle = np.arctan2(top, bottom) / 4
                turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
                L[:, [p, q]] = L[:, [p, q]] @ turn
                most = max(most, abs(float(angle)))
        if most < 1e-6:
            break
    return L
