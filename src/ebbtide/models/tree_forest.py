"""Many trees as one set of flat arrays: what the compiled loops over splits and leaves read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.models.tree_text import Tree

MASK_LEAVES = 32
"""Trees of up to so many leaves are evaluated with one bit a leaf; larger ones are walked."""

NAN_LEFT, ZERO_FLIPS = 1, 2
_DE_BRUIJN = np.uint32(0x077CB531)


class Forest(NamedTuple):
    """T trees with S splits and L leaves in all. Indices of splits and leaves are local to their tree.

    split_start, leaf_start (T + 1,): the splits of tree t are `split_start[t]:split_start[t + 1]`, likewise leaves.
    feature, threshold, kind, left, right (S,): see `Tree`; `kind` joins NAN_LEFT and ZERO_FLIPS. `threshold` is the
    largest float32 that does not exceed LightGBM's float64, so that `<=` on float32 values decides the same.
    keep (S,): the leaves that stay possible when a row goes right, one bit a leaf, leftmost leaf = lowest bit.
    left_share (S,): share of the split's training rows that went left.
    earlier (S,): the nearest split above on the same feature, or -1; earlier_left (S,): whether this split hangs to
    the left of it; earlier_share (S,): share of rows that meets all conditions of the path above on that feature.
    value (L,): output of each leaf. slot (T, 32): the same, found by the hash of the leaf's bit (see `bit_slot`).
    points (T,): quadrature points that make TreeSHAP exact for the tree.
    """

    split_start: NDArray[np.int32]
    leaf_start: NDArray[np.int32]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    kind: NDArray[np.uint8]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    keep: NDArray[np.uint32]
    left_share: NDArray[np.float64]
    earlier: NDArray[np.int32]
    earlier_left: NDArray[np.bool_]
    earlier_share: NDArray[np.float64]
    value: NDArray[np.float64]
    slot: NDArray[np.float64]
    points: NDArray[np.int32]


def plant(trees: Sequence[Tree], weights: Sequence[float]) -> tuple[Forest, float]:
    """Lay out `trees`, their outputs multiplied by `weights`; and the mean output over the training rows."""
    splits = sum(len(t.feature) for t in trees)
    forest = Forest(
        split_start=_starts([len(t.feature) for t in trees]),
        leaf_start=_starts([len(t.value) for t in trees]),
        feature=np.concatenate([t.feature for t in trees]),
        threshold=_round_down(np.concatenate([t.threshold for t in trees])),
        kind=np.concatenate([t.nan_left * NAN_LEFT + t.zero_flips * ZERO_FLIPS for t in trees]).astype(np.uint8),
        left=np.concatenate([t.left for t in trees]),
        right=np.concatenate([t.right for t in trees]),
        keep=np.zeros(splits, np.uint32),
        left_share=np.zeros(splits),
        earlier=np.full(splits, -1, np.int32),
        earlier_left=np.zeros(splits, np.bool_),
        earlier_share=np.ones(splits),
        value=np.concatenate([t.value * w for t, w in zip(trees, weights, strict=True)]),
        slot=np.zeros((len(trees), MASK_LEAVES)),
        points=np.zeros(len(trees), np.int32),
    )
    count = np.concatenate([t.count for t in trees])
    largest = max(len(t.value) for t in trees)
    base = _survey(forest, count, np.zeros((4, largest), np.int32), np.zeros((2, largest)))
    for array in forest:
        array.flags.writeable = False
    return forest, float(base)


def _starts(sizes: list[int]) -> NDArray[np.int32]:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)


def _round_down(threshold: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 <= each threshold."""
    with np.errstate(over="ignore", under="ignore"):
        near = threshold.astype(np.float32)
    below = np.nextafter(near, np.float32(-np.inf))
    return np.where(near.astype(np.float64) > threshold, below, near).astype(np.float32)


@njit(nogil=True)
def bit_slot(bit: np.uint32) -> np.uint32:
    """Where the output of the leaf with this single bit stands in a row of `Forest.slot` (de Bruijn hash)."""
    return np.uint32(bit * _DE_BRUIJN) >> np.uint32(27)


@njit(cache=True)
def _survey(forest: Forest, count: NDArray[np.float64], above: NDArray[np.int32], below: NDArray[np.float64]) -> float:
    """Fill keep, left_share, earlier*, slot and points of every tree; return the mean output over training rows.

    Scratch: above (4, S) parent, hangs left, distinct features on the path, first leaf; below (2, S) leaves, rows.
    """
    base = 0.0
    for tree in range(len(forest.points)):
        i, j = forest.split_start[tree], forest.split_start[tree + 1]
        leaf = forest.leaf_start[tree]
        rows = count[leaf : forest.leaf_start[tree + 1]]
        value = forest.value[leaf : forest.leaf_start[tree + 1]]
        _weigh(forest.left[i:j], forest.right[i:j], rows, below, forest.left_share[i:j])
        forest.points[tree] = (_retrace(forest, i, j, above) + 1) // 2
        if len(value) <= MASK_LEAVES:
            _place_leaves(
                forest.left[i:j], forest.right[i:j], value, below[0], above[3], forest.keep[i:j], forest.slot[tree]
            )
        base += (rows * value).sum() / rows.sum() if rows.sum() > 0 else value.mean()
    return base


@njit(nogil=True)
def _weigh(left, right, rows, below, left_share) -> None:  # type: ignore[no-untyped-def]
    """Bottom-up: leaves and training rows under each split, and the share of rows that went left.

    A split that no training row reached counts as even.
    """
    for i in range(len(left) - 1, -1, -1):
        a, b = left[i], right[i]
        rows_left = below[1, a] if a >= 0 else rows[~a]
        rows_right = below[1, b] if b >= 0 else rows[~b]
        below[0, i] = (below[0, a] if a >= 0 else 1.0) + (below[0, b] if b >= 0 else 1.0)
        below[1, i] = rows_left + rows_right
        left_share[i] = rows_left / below[1, i] if below[1, i] > 0 else 0.5


@njit(nogil=True)
def _retrace(forest: Forest, first: int, past: int, above: NDArray[np.int32]) -> int:
    """Top-down: what each split's path has asked before; the largest number of distinct features on a path."""
    parent, hangs_left, distinct = above[0], above[1], above[2]
    deepest = 0
    parent[0] = -1
    for i in range(past - first):
        node = first + i
        up, side = parent[i], hangs_left[i]
        while up >= 0 and forest.feature[first + up] != forest.feature[node]:
            side = hangs_left[up]
            up = parent[up]
        if up >= 0:
            share = forest.left_share[first + up]
            forest.earlier[node] = up
            forest.earlier_left[node] = side == 1
            forest.earlier_share[node] = forest.earlier_share[first + up] * (share if side == 1 else 1.0 - share)
        distinct[i] = (distinct[parent[i]] if i > 0 else 0) + (1 if up < 0 else 0)
        deepest = max(deepest, distinct[i])
        for side, child in ((1, forest.left[node]), (0, forest.right[node])):
            if child >= 0:
                parent[child] = i
                hangs_left[child] = side
    return deepest


@njit(nogil=True)
def _place_leaves(left, right, value, leaves, start, keep, slot) -> None:  # type: ignore[no-untyped-def]
    """Number the leaves from left to right; the masks that drop a split's left leaves; outputs by hashed bit."""
    start[0] = 0
    if len(left) == 0:
        slot[bit_slot(np.uint32(1))] = value[0]
    for i in range(len(left)):
        a, b = left[i], right[i]
        width = np.uint32(leaves[a] if a >= 0 else 1)
        dropped = ((np.uint32(1) << width) - np.uint32(1)) << np.uint32(start[i])
        keep[i] = ~dropped
        for child, place in ((a, np.int32(start[i])), (b, np.int32(start[i] + np.int32(width)))):
            if child >= 0:
                start[child] = place
            else:
                slot[bit_slot(np.uint32(1) << np.uint32(place))] = value[~child]
