"""Exact path-dependent TreeSHAP (Lundberg et al. 2018, arXiv:1802.03888) as an integral, for blocks of rows.

A Shapley value is an integral of the multilinear extension (Owen 1972). With t the chance that a feature is known, a
leaf of output v gives the feature j of its path

    phi_j = integral over t in [0, 1] of   v * (o_j - z_j) * product over i != j of (t * o_i + (1 - t) * z_i)

where o_i says whether the row meets the path's conditions on feature i, and z_i is the share of training rows that
does. The integrand is a polynomial of a degree below the number d of features on the path, so Gauss-Legendre with
ceil(d / 2) points is exact, and all terms are well scaled. At one t each split mixes its two sides by
r = t * o + (1 - t) * z, o = 1 if the row goes left, z the share that does:

    rising:   U = r * U_left + (1 - r) * U_right            the mean output below the split
    falling:  P_left = r * P,  P_right = (1 - r) * P        the weight with which the split counts

and adds (o - z) * P * (U_left - U_right) to its feature. If its feature was asked before on the path (met by the row:
o', share z'), then with f = t + (1 - t) * z'

    r = (t * o + (1 - t) * z' * z) / f,   the addend is (o - z) * P * (U_left - U_right) * z' / f ** 2    where o' = 1,
    r = z,                                the addend is 0                                                 where o' = 0.

So a row costs a handful of multiplications a split and point whatever its values: loops over the rows of a block become
vector instructions, and no tables are needed. Trees of any depth are served.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.models.tree_forest import NAN_LEFT, Forest
from ebbtide.models.tree_margin import goes_left, load_block
from ebbtide.models.tree_shap_one import add_contributions_of_one, mix_sides

Floats: TypeAlias = NDArray[np.float64]
Lanes: TypeAlias = tuple[int, ...]

WIDE: Lanes = (0,) * 8
NARROW: Lanes = (0,)
"""How many rows are handled together: 8 for each item, so that the compiler knows. A short block is padded."""

# What the scratch `state` keeps for each split (and, FLOW only, leaf), one number a row:
_MET = 0  # 1 if the row meets the earlier conditions on the split's feature
_GOES = 1  # 1 if it also goes left
_GAIN = 2  # sum over points of P * (U_left - U_right) * z' / f ** 2
_GAP = 3  # U_left - U_right at two points
_FLOW = 5  # U, later P, at two points
_FIELDS = 7


def add_contributions(X: NDArray[np.float32], out: Floats, forest: Forest) -> None:
    """Add to `out` (N, F + 1) each row's Shapley values; the last column is left alone. X (N, F), NaN = unknown."""
    times, weights = _rules((int(forest.points.max()) + 1) // 2)
    if len(X) == 1:
        add_contributions_of_one(X, out, forest, times, weights)
    else:
        _add_contributions(X, out, forest, times, weights, NARROW if len(X) <= 8 * len(NARROW) else WIDE)


@lru_cache(maxsize=32)
def _rules(pairs: int) -> tuple[Floats, Floats]:
    """Gauss-Legendre on [0, 1]: points and weights of the rule with p pairs of points in row p."""
    times, weights = np.zeros((2, pairs + 1, 2 * pairs))
    for p in range(1, pairs + 1):
        x, w = np.polynomial.legendre.leggauss(2 * p)
        times[p, : 2 * p], weights[p, : 2 * p] = (x + 1) / 2, w / 2
    return times, weights


@njit(cache=True, nogil=True)
def _add_contributions(
    X: NDArray[np.float32], out: Floats, forest: Forest, times: Floats, weights: Floats, lanes: Lanes
) -> None:
    size = 8 * len(lanes)
    splits = 0
    for tree in range(len(forest.points)):
        splits = max(splits, forest.split_start[tree + 1] - forest.split_start[tree])
    block = np.empty((X.shape[1], size), np.float32)
    phi = np.empty((X.shape[1], size))
    state = np.empty((2 * splits + 3) * _FIELDS * size)
    mix = np.empty((splits, 6))
    for start in range(0, len(X), size):
        load_block(X, start, block)
        phi[:] = 0.0
        for tree in range(len(forest.points)):
            _decide(forest, tree, block, state, lanes)
            pairs = (forest.points[tree] + 1) // 2
            for pair in range(pairs):
                mix_sides(forest, tree, times[pairs, 2 * pair : 2 * pair + 2], mix)
                _rise(forest, tree, mix, state, lanes)
                _fall(forest, tree, mix, weights[pairs, 2 * pair : 2 * pair + 2], state, lanes)
            _collect(forest, tree, state, phi, lanes)
        for r in range(min(size, len(X) - start)):
            for f in range(len(phi)):
                out[start + r, f] += phi[f, r]


@njit(nogil=True)
def _room(state: Floats, slot: int, lanes: Lanes) -> Floats:
    size = _FIELDS * 8 * len(lanes)
    return state[slot * size : (slot + 1) * size]


@njit(nogil=True)
def _decide(forest: Forest, tree: int, block: NDArray[np.float32], state: Floats, lanes: Lanes) -> None:
    """Fill MET and GOES of the splits, FLOW of the leaves, and clear GAIN."""
    size = 8 * len(lanes)
    first, leaf = forest.split_start[tree], forest.leaf_start[tree]
    count = forest.split_start[tree + 1] - first
    for i in range(count):
        node, own = first + i, _room(state, i, lanes)
        kind, limit, x = forest.kind[node], forest.threshold[node], block[forest.feature[node]]
        own[_GAIN * size : (_GAIN + 1) * size] = 0.0
        if forest.earlier[node] < 0:
            own[_MET * size : (_MET + 1) * size] = 1.0
        else:
            above = _room(state, forest.earlier[node], lanes)
            left = 1.0 if forest.earlier_left[node] else 0.0
            for r in range(size):
                went = above[_GOES * size + r]
                own[_MET * size + r] = left * went + (1.0 - left) * (above[_MET * size + r] - went)
        if kind == NAN_LEFT:
            for r in range(size):
                own[_GOES * size + r] = 0.0 if x[r] > limit else own[_MET * size + r]
        elif kind == 0:
            for r in range(size):
                own[_GOES * size + r] = own[_MET * size + r] if x[r] <= limit else 0.0
        else:
            for r in range(size):
                own[_GOES * size + r] = own[_MET * size + r] if goes_left(x[r], limit, kind) else 0.0
    for i in range(count + 1):
        _room(state, count + i, lanes)[_FLOW * size :] = forest.value[leaf + i]


@njit(nogil=True)
def _rise(forest: Forest, tree: int, mix: Floats, state: Floats, lanes: Lanes) -> None:
    """Bottom-up: FLOW becomes U, GAP the difference of the sides. A pair of leaves needs no GAP: it is constant."""
    size = 8 * len(lanes)
    first, leaf = forest.split_start[tree], forest.leaf_start[tree]
    count = forest.split_start[tree + 1] - first
    for i in range(count - 1, -1, -1):
        le, ri, share = forest.left[first + i], forest.right[first + i], forest.left_share[first + i]
        a0, a1, b0, b1 = mix[i, 0], mix[i, 1], mix[i, 2], mix[i, 3]
        own = _room(state, i, lanes)
        if le < 0 and ri < 0:
            v = forest.value[leaf + ~ri]
            d = forest.value[leaf + ~le] - v
            for r in range(size):
                met, goes = own[_MET * size + r], own[_GOES * size + r]
                own[_FLOW * size + r] = v + (share + met * a0 + goes * b0) * d
                own[(_FLOW + 1) * size + r] = v + (share + met * a1 + goes * b1) * d
            continue
        left = _room(state, le if le >= 0 else count + ~le, lanes)
        right = _room(state, ri if ri >= 0 else count + ~ri, lanes)
        for r in range(size):
            met, goes = own[_MET * size + r], own[_GOES * size + r]
            d0 = left[_FLOW * size + r] - right[_FLOW * size + r]
            d1 = left[(_FLOW + 1) * size + r] - right[(_FLOW + 1) * size + r]
            own[_GAP * size + r] = d0
            own[(_GAP + 1) * size + r] = d1
            own[_FLOW * size + r] = right[_FLOW * size + r] + (share + met * a0 + goes * b0) * d0
            own[(_FLOW + 1) * size + r] = right[(_FLOW + 1) * size + r] + (share + met * a1 + goes * b1) * d1


@njit(nogil=True)
def _fall(forest: Forest, tree: int, mix: Floats, weights: Floats, state: Floats, lanes: Lanes) -> None:
    """Top-down: FLOW becomes P, GAIN grows. What flows into a leaf goes to one of two dummies behind the leaves."""
    size = 8 * len(lanes)
    first, leaf = forest.split_start[tree], forest.leaf_start[tree]
    count = forest.split_start[tree + 1] - first
    state[_FLOW * size : (_FLOW + 1) * size] = weights[0]
    state[(_FLOW + 1) * size : (_FLOW + 2) * size] = weights[1]
    for i in range(count):
        le, ri, share = forest.left[first + i], forest.right[first + i], forest.left_share[first + i]
        a0, a1, b0, b1, g0, g1 = mix[i, 0], mix[i, 1], mix[i, 2], mix[i, 3], mix[i, 4], mix[i, 5]
        own = _room(state, i, lanes)
        if le < 0 and ri < 0:
            d = forest.value[leaf + ~le] - forest.value[leaf + ~ri]
            for r in range(size):
                own[_GAIN * size + r] += d * (g0 * own[_FLOW * size + r] + g1 * own[(_FLOW + 1) * size + r])
            continue
        left = _room(state, le if le >= 0 else 2 * count + 1, lanes)
        right = _room(state, ri if ri >= 0 else 2 * count + 2, lanes)
        for r in range(size):
            met, goes = own[_MET * size + r], own[_GOES * size + r]
            p0, p1 = own[_FLOW * size + r], own[(_FLOW + 1) * size + r]
            own[_GAIN * size + r] += g0 * (p0 * own[_GAP * size + r]) + g1 * (p1 * own[(_GAP + 1) * size + r])
            l0, l1 = (share + met * a0 + goes * b0) * p0, (share + met * a1 + goes * b1) * p1
            left[_FLOW * size + r] = l0
            left[(_FLOW + 1) * size + r] = l1
            right[_FLOW * size + r] = p0 - l0
            right[(_FLOW + 1) * size + r] = p1 - l1


@njit(nogil=True)
def _collect(forest: Forest, tree: int, state: Floats, phi: Floats, lanes: Lanes) -> None:
    """Add (o - z) * GAIN of every split to its feature, where the earlier conditions are met."""
    size, first = 8 * len(lanes), forest.split_start[tree]
    for i in range(forest.split_start[tree + 1] - first):
        own, share, total = _room(state, i, lanes), forest.left_share[first + i], phi[forest.feature[first + i]]
        for r in range(size):
            total[r] += (own[_GOES * size + r] - share * own[_MET * size + r]) * own[_GAIN * size + r]
