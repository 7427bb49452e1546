"""The margin of a forest, a block of rows at a time, in the manner of QuickScorer (Lucchese et al. 2015).

Every split of a tree is decided for all rows of the block at once; a row that goes right at a split loses the leaves
to the split's left; the leftmost leaf that remains is the row's leaf. No step depends on a row's data, so the loops
over the rows of a block become vector instructions.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.models.tree_forest import MASK_LEAVES, NAN_LEFT, ZERO_FLIPS, Forest, bit_slot
from ebbtide.models.tree_text import ZERO_WIDTH

BLOCK = 64
FEW = 8
"""Rows up to which each is walked through the trees by itself."""
_TINY = np.float32(ZERO_WIDTH)
_ALL = np.uint32(0xFFFFFFFF)


@njit(nogil=True)
def load_block(X: NDArray[np.float32], start: int, block: NDArray[np.float32]) -> None:
    """Copy rows from `start` on into `block` (F, B), zeros as LightGBM reads them; past the end the last row repeats."""
    last = len(X) - 1
    for r in range(block.shape[1]):
        row = X[min(start + r, last)]
        for f in range(block.shape[0]):
            value = row[f]
            block[f, r] = np.float32(0.0) if abs(value) <= _TINY else value


@njit(cache=True, nogil=True)
def add_margins(X: NDArray[np.float32], out: NDArray[np.float64], forest: Forest) -> None:
    """Add to `out` (N,) the forest's output for each row of `X` (N, F), tree after tree."""
    if len(X) <= FEW:
        _walk_rows(X, out, forest)
        return
    block = np.empty((X.shape[1], BLOCK), np.float32)
    total = np.empty(BLOCK)
    alive = np.empty(BLOCK, np.uint32)
    for start in range(0, len(X), BLOCK):
        load_block(X, start, block)
        total[:] = 0.0
        for tree in range(len(forest.points)):
            if forest.leaf_start[tree + 1] - forest.leaf_start[tree] <= MASK_LEAVES:
                _mask_tree(forest, tree, block, alive, total)
            else:
                _walk_tree(forest, tree, block, total)
        for r in range(min(BLOCK, len(X) - start)):
            out[start + r] += total[r]


@njit(nogil=True)
def _walk_rows(X: NDArray[np.float32], out: NDArray[np.float64], forest: Forest) -> None:
    block, total = np.empty((X.shape[1], 1), np.float32), np.empty(1)
    for r in range(len(X)):
        load_block(X[r : r + 1], 0, block)
        total[0] = 0.0
        for tree in range(len(forest.points)):
            _walk_tree(forest, tree, block, total)
        out[r] += total[0]


@njit(nogil=True)
def _mask_tree(forest, tree, block, alive, total) -> None:  # type: ignore[no-untyped-def]
    for r in range(BLOCK):
        alive[r] = _ALL
    for node in range(forest.split_start[tree], forest.split_start[tree + 1]):
        x, limit, keep = block[forest.feature[node]], forest.threshold[node], forest.keep[node]
        kind = forest.kind[node]
        if kind == NAN_LEFT:
            for r in range(BLOCK):
                alive[r] &= keep if x[r] > limit else _ALL
        elif kind == 0:
            for r in range(BLOCK):
                alive[r] &= _ALL if x[r] <= limit else keep
        else:
            for r in range(BLOCK):
                alive[r] &= _ALL if goes_left(x[r], limit, kind) else keep
    slot = forest.slot[tree]
    for r in range(BLOCK):
        total[r] += slot[bit_slot(alive[r] & (~alive[r] + np.uint32(1)))]


@njit(nogil=True)
def _walk_tree(forest, tree, block, total) -> None:  # type: ignore[no-untyped-def]
    first, leaf = forest.split_start[tree], forest.leaf_start[tree]
    for r in range(len(total)):
        child = 0 if forest.split_start[tree + 1] > first else ~0
        while child >= 0:
            node = first + child
            left = goes_left(block[forest.feature[node], r], forest.threshold[node], forest.kind[node])
            child = forest.left[node] if left else forest.right[node]
        total[r] += forest.value[leaf + ~child]


@njit(nogil=True)
def goes_left(value: np.float32, limit: np.float32, kind: np.uint8) -> bool:
    """Which side a value takes at a split: `value <= limit`, unknown by NAN_LEFT, zero reversed by ZERO_FLIPS."""
    if np.isnan(value):
        return bool(kind & NAN_LEFT)
    return bool(value <= limit) != bool(kind & ZERO_FLIPS and value == 0)
