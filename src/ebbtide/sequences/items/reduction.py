"""Long vectors made short: principal components of what was seen in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.extmath import randomized_svd

from ebbtide.sequences.items.encoder import Vectors


@dataclass(frozen=True)
class Reduction:
    """From W to D numbers: subtract `centre` (W,), project on the rows of `axes` (D, W), which are orthonormal."""

    centre: NDArray[np.float32]
    axes: NDArray[np.float32]

    @classmethod
    def fit(cls, vectors: Vectors, dims: int, seed: int) -> Self:
        """The `dims` (0: all) directions in which these vectors differ most; fewer, if they have fewer."""
        centre = vectors.mean(axis=0, dtype=np.float64)
        most = min(dims or vectors.shape[1], *vectors.shape)
        _, _, axes = randomized_svd(vectors - centre, n_components=most, random_state=seed)
        return cls(centre.astype(np.float32), np.ascontiguousarray(axes, np.float32))

    def apply(self, vectors: Vectors) -> Vectors:
        """(N, W) -> (N, D)."""
        return np.asarray((vectors - self.centre) @ self.axes.T, np.float32)
