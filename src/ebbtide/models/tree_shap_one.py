"""Exact TreeSHAP of one row: the loops of `tree_shap` in scalars, for when there is nobody to share a vector with.

The arithmetic is the same step by step, so that a row gets the same bits alone and in company. No step branches on the row
or on the shape of a tree, for a processor cannot foresee either.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.models.tree_forest import NAN_LEFT, ZERO_FLIPS, Forest
from ebbtide.models.tree_margin import load_block

Floats = NDArray[np.float64]

# What the scratch `state` keeps for each split and, VALUE and FLOW only, behind the splits for each leaf:
_MET = 0  # 1 if the row meets the earlier conditions on the split's feature
_GOES = 1  # 1 if it also goes left
_GAIN = 2  # sum over points of P * (U_left - U_right) * z' / f ** 2
_RATE = 3  # r, the weight of the left side, at two points
_GAP = 5  # U_left - U_right at two points
_VALUE = 7  # U at two points
_FLOW = 9  # P at two points
_FIELDS = 11


@njit(cache=True, nogil=True)
def add_contributions_of_one(
    X: NDArray[np.float32], out: Floats, forest: Forest, times: Floats, weights: Floats
) -> None:
    """Add to `out` (1, F + 1) the Shapley values of X (1, F); `times` and `weights` as `tree_shap` makes them."""
    splits = 0
    for tree in range(len(forest.points)):
        splits = max(splits, forest.split_start[tree + 1] - forest.split_start[tree])
    block, phi = np.empty((X.shape[1], 1), np.float32), np.zeros(X.shape[1])
    state, side, mix = np.empty((2 * splits + 1, _FIELDS)), np.empty((splits, 2), np.int32), np.empty((splits, 6))
    load_block(X, 0, block)
    for tree in range(len(forest.points)):
        _decide(forest, tree, block, state, side)
        pairs = (forest.points[tree] + 1) // 2
        for pair in range(pairs):
            mix_sides(forest, tree, times[pairs, 2 * pair : 2 * pair + 2], mix)
            _rise(forest, tree, mix, state, side)
            state[0, _FLOW], state[0, _FLOW + 1] = weights[pairs, 2 * pair], weights[pairs, 2 * pair + 1]
            _fall(forest, tree, mix, state, side)
        first = forest.split_start[tree]
        for i in range(forest.split_start[tree + 1] - first):
            share = forest.left_share[first + i]
            phi[forest.feature[first + i]] += (state[i, _GOES] - share * state[i, _MET]) * state[i, _GAIN]
    for f in range(len(phi)):
        out[0, f] += phi[f]


@njit(nogil=True)
def _decide(forest, tree, block, state, side) -> None:  # type: ignore[no-untyped-def]
    """Fill MET and GOES of the splits, VALUE of the leaves, and where in `state` each split's two sides stand."""
    first, leaf = forest.split_start[tree], forest.leaf_start[tree]
    count = forest.split_start[tree + 1] - first
    for i in range(count):
        node = first + i
        x, limit, kind = block[forest.feature[node], 0], forest.threshold[node], forest.kind[node]
        left = (x <= limit) ^ (((kind & ZERO_FLIPS) != 0) & (x == 0))
        left |= ((kind & NAN_LEFT) != 0) & (x != x)
        above = forest.earlier[node]
        met, went = state[max(above, 0), _MET], state[max(above, 0), _GOES]
        met = 1.0 if above < 0 else (went if forest.earlier_left[node] else met - went)
        state[i, _MET] = met
        state[i, _GOES] = met if left else 0.0
        state[i, _GAIN] = 0.0
        le, ri = forest.left[node], forest.right[node]
        side[i, 0], side[i, 1] = le if le >= 0 else count + ~le, ri if ri >= 0 else count + ~ri
    for i in range(count + 1):
        state[count + i, _VALUE] = state[count + i, _VALUE + 1] = forest.value[leaf + i]


@njit(nogil=True)
def mix_sides(forest: Forest, tree: int, times: Floats, mix: Floats) -> None:
    """For each split at two points: r = share + met * mix[0:2] + goes * mix[2:4]; the addend's factor is mix[4:6]."""
    first = forest.split_start[tree]
    for i in range(forest.split_start[tree + 1] - first):
        share, before = forest.left_share[first + i], forest.earlier_share[first + i]
        for k in range(2):
            f = 1.0 / (times[k] + (1.0 - times[k]) * before)
            mix[i, k] = (1.0 - times[k]) * before * share * f - share
            mix[i, 2 + k] = times[k] * f
            mix[i, 4 + k] = before * f * f


@njit(nogil=True)
def _rise(forest, tree, mix, state, side) -> None:  # type: ignore[no-untyped-def]
    """Bottom-up: RATE, GAP and VALUE of the splits at two points."""
    first = forest.split_start[tree]
    for i in range(forest.split_start[tree + 1] - first - 1, -1, -1):
        share, met, goes, left, right = (
            forest.left_share[first + i],
            state[i, _MET],
            state[i, _GOES],
            side[i, 0],
            side[i, 1],
        )
        for k in range(2):
            r = share + met * mix[i, k] + goes * mix[i, 2 + k]
            v = state[right, _VALUE + k]
            d = state[left, _VALUE + k] - v
            state[i, _RATE + k] = r
            state[i, _GAP + k] = d
            state[i, _VALUE + k] = v + r * d


@njit(nogil=True)
def _fall(forest, tree, mix, state, side) -> None:  # type: ignore[no-untyped-def]
    """Top-down: FLOW, and GAIN grows; a pair of leaves has one GAP at all points."""
    first = forest.split_start[tree]
    count = forest.split_start[tree + 1] - first
    for i in range(count):
        left, right = side[i, 0], side[i, 1]
        p0, p1, g0, g1 = state[i, _FLOW], state[i, _FLOW + 1], mix[i, 4], mix[i, 5]
        l0, l1 = state[i, _RATE] * p0, state[i, _RATE + 1] * p1
        state[left, _FLOW], state[left, _FLOW + 1] = l0, l1
        state[right, _FLOW], state[right, _FLOW + 1] = p0 - l0, p1 - l1
        d0, d1 = state[i, _GAP], state[i, _GAP + 1]
        apart, alike = g0 * (p0 * d0) + g1 * (p1 * d1), d0 * (g0 * p0 + g1 * p1)
        state[i, _GAIN] += alike if (left >= count) & (right >= count) else apart
