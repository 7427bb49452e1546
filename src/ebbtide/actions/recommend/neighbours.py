"""Which items go together: in one basket, or with one customer.

The strength of a pair is its count over the geometric mean of the two items' counts, damped so that pairs seen once
or twice stay weak: n_ij / (sqrt(n_i n_j) + damping) (item-based collaborative filtering: Deshpande and Karypis 2004).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

MOST_IN_A_GROUP = 150
_DAMPING = 5.0


@dataclass(frozen=True)
class Neighbours:
    """Item i's neighbours are the places of row i of `strength` (I, I), a sparse matrix without diagonal."""

    strength: sparse.csr_array

    @classmethod
    def fit(
        cls, group: NDArray[np.int64], item: NDArray[np.int64], items: int, *, most: int = 60, weight: bool = True
    ) -> Neighbours:
        """Count pairs of items within groups (baskets, or customers); row e says that `group[e]` holds `item[e]`.

        `most` strongest neighbours are kept an item. Of groups over 150 items, 150 spread evenly count. `weight`: a
        group of n items counts 1 / log2(1 + n) a pair, because who buys everything tells little.
        """
        pairs = np.unique(np.stack([group, item]), axis=1)
        pairs = _thinned(pairs)
        _, row = np.unique(pairs[0], return_inverse=True)
        size = np.bincount(row) if len(row) else np.zeros(0, np.int64)
        told = (1 / np.log2(1 + size) if weight else np.ones(len(size)))[row]
        shape = (len(size), items)
        held = sparse.csr_array((np.ones(len(row)), (row, pairs[1])), shape=shape)
        weighed = sparse.csr_array((told, (row, pairs[1])), shape=shape)
        count = np.asarray(weighed.sum(axis=0)).ravel()
        rows = []
        for first in range(0, items, 2048):  # a block of rows at a time: the whole product may be large
            block = sparse.csr_array(held[:, first : first + 2048].T @ weighed)
            block.sort_indices()
            rows += [_strongest(block, row, first, count, most) for row in range(block.shape[0])]
        size_of = [len(j) for j, _ in rows]
        j, strength = (np.concatenate(part) for part in zip(*rows, strict=True)) if rows else (_NONE, _NONE)
        indptr = np.concatenate([[0], np.cumsum(size_of)]).astype(np.int64)
        return cls(sparse.csr_array((strength.astype(np.float32), j, indptr), shape=(items, items)))


_NONE = np.zeros(0, np.int64)


def _thinned(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """At most `MOST_IN_A_GROUP` items a group, spread evenly over its items; pairs (2, N) sorted by group."""
    _, first, size = np.unique(pairs[0], return_index=True, return_counts=True)
    place = np.arange(pairs.shape[1]) - np.repeat(first, size)
    of = np.repeat(np.maximum(size, MOST_IN_A_GROUP), size)
    return pairs[:, (place * MOST_IN_A_GROUP) // of != ((place - 1) * MOST_IN_A_GROUP) // of]


def _strongest(
    block: sparse.csr_array, row: int, first: int, count: NDArray[np.float64], most: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The `most` strongest neighbours of the item in this row of a block that starts at item `first`, ascending."""
    span = slice(block.indptr[row], block.indptr[row + 1])
    j, n = block.indices[span].astype(np.int64), block.data[span]
    i = first + row
    j, n = j[j != i], n[j != i]
    strength = n / (np.sqrt(count[i] * count[j]) + _DAMPING)
    if len(j) > most:
        kept = np.sort(np.argsort(-strength, kind="stable")[:most])
        j, strength = j[kept], strength[kept]
    return j, strength
