"""Exact path-dependent TreeSHAP (Lundberg et al. 2018, arXiv:1802.03888) as an integral, for blocks of rows.

A Shapley value is an integral of the multilinear extension (Owen 1972): with t the chance that a feature is known,

    phi_j = integral over t in [0, 1] of   value * (o_j - z_j) * product over i != j of (t * o_i + (1 - t) * z_i)

summed over leaves, where o_i says whether the row meets the conditions of the leaf's path on feature i and z_i is the
share of training rows that does. The integrand is a polynomial of a degree below the number d of features on the path,
so Gauss-Legendre with ceil(d / 2) points is exact. At one t every split is a mixture of its children,

    U = r * U_left + (1 - r) * U_right        seen from below (mean output),
    P_left = r * P,  P_right = (1 - r) * P    seen from above (chance to arrive),

with r = t * o + (1 - t) * z for the share z that goes left, and the split adds (o - z) * P * (U_left - U_right) to its
feature. If the feature was asked before on the path (met by the row: o', share z'), then with f = t + (1 - t) * z'
r becomes (t * o + (1 - t) * z' * z) / f and the addend (o - z) * P * (U_left - U_right) * z' / f**2 where o' = 1; where
o' = 0, r = z and nothing is added. So a row costs 6 or 7 multiplications a split and point, none of them data-dependent:
the loops over the rows of a block become vector instructions.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.models.tree_forest import Forest
from ebbtide.models.tree_margin import goes_left, load_block

BLOCK = 32
"""Rows handled together. A short block is padded, so that a row's result does not depend on its neighbours."""


def add_contributions(X: NDArray[np.float32], out: NDArray[np.float64], forest: Forest) -> None:
    """Add to `out` (N, F + 1) each row's Shapley values; the last column is left alone."""
    points = int(forest.points.max())
    rules = [np.polynomial.legendre.leggauss(k) for k in range(1, points + 1)]
    nodes, weights = np.zeros((points + 1, points)), np.zeros((points + 1, points))
    for k, (x, w) in enumerate(rules, 1):
        nodes[k, :k], weights[k, :k] = (x + 1) / 2, w / 2
    _add_contributions(X, out, forest, nodes, weights)


@njit(cache=True, nogil=True, fastmath={"contract"})  # type: ignore[untyped-decorator]
def _add_contributions(X, out, forest, nodes, weights) -> None:  # type: ignore[no-untyped-def]
    splits = 0
    for tree in range(len(forest.points)):
        splits = max(splits, forest.split_start[tree + 1] - forest.split_start[tree])
    block = np.empty((X.shape[1], BLOCK), np.float32)
    phi = np.empty((X.shape[1], BLOCK))
    goes = np.empty((splits, BLOCK))  # 1 where the row goes left
    met = np.empty((splits, BLOCK))  # 1 where it meets the earlier conditions on the split's feature
    gap = np.empty((splits, BLOCK))  # U_left - U_right
    flow = np.empty((2 * splits + 1, BLOCK))  # first U, then P of the splits; U of the leaves behind
    gain = np.empty((splits, BLOCK))  # sum over points of P * (U_left - U_right) / f ** 2
    for start in range(0, len(X), BLOCK):
        load_block(X, start, block)
        phi[:] = 0.0
        for tree in range(len(forest.points)):
            if forest.points[tree] > 0:
                _explain_tree(forest, tree, block, nodes, weights, goes, met, gap, flow, gain, phi)
        for r in range(min(BLOCK, len(X) - start)):
            for f in range(len(phi)):
                out[start + r, f] += phi[f, r]


@njit(cache=True, nogil=True, fastmath={"contract"})  # type: ignore[untyped-decorator]
def _explain_tree(forest, tree, block, nodes, weights, goes, met, gap, flow, gain, phi) -> None:  # type: ignore[no-untyped-def]
    first, leaf = forest.split_start[tree], forest.leaf_start[tree]
    count = forest.split_start[tree + 1] - first
    for i in range(count):
        node = first + i
        kind, limit = forest.kind[node], forest.threshold[node]
        x = block[forest.feature[node]]
        for r in range(BLOCK):
            goes[i, r] = 1.0 if goes_left(x[r], limit, kind) else 0.0
            gain[i, r] = 0.0
        e = forest.earlier[node]
        if e >= 0:
            side = forest.earlier_left[node]
            for r in range(BLOCK):
                here = goes[e, r] if side else 1.0 - goes[e, r]
                met[i, r] = here * met[e, r]
        else:
            for r in range(BLOCK):
                met[i, r] = 1.0
    for i in range(count + 1):
        v = forest.value[leaf + i]
        for r in range(BLOCK):
            flow[count + i, r] = v
    for k in range(forest.points[tree]):
        t = nodes[forest.points[tree], k]
        for i in range(count - 1, -1, -1):
            node = first + i
            share, before = forest.left_share[node], forest.earlier_share[node]
            f = t + (1.0 - t) * before
            a, b = (1.0 - t) * before * share / f, t / f
            le, ri = forest.left[node], forest.right[node]
            le = le if le >= 0 else count + ~le
            ri = ri if ri >= 0 else count + ~ri
            if forest.earlier[node] < 0:
                for r in range(BLOCK):
                    d = flow[le, r] - flow[ri, r]
                    gap[i, r] = d
                    flow[i, r] = flow[ri, r] + (a + b * goes[i, r]) * d
            else:
                for r in range(BLOCK):
                    d = flow[le, r] - flow[ri, r]
                    gap[i, r] = d
                    q = share + met[i, r] * (a - share + b * goes[i, r])
                    flow[i, r] = flow[ri, r] + q * d
        w = weights[forest.points[tree], k]
        for r in range(BLOCK):
            flow[0, r] = w
        for i in range(count):
            node = first + i
            share, before = forest.left_share[node], forest.earlier_share[node]
            f = t + (1.0 - t) * before
            a, b = (1.0 - t) * before * share / f, t / f
            g = before / (f * f)
            le, ri = forest.left[node], forest.right[node]
            for r in range(BLOCK):
                gain[i, r] += g * (flow[i, r] * gap[i, r])
            if le >= 0:
                for r in range(BLOCK):
                    q = share + met[i, r] * (a - share + b * goes[i, r])
                    flow[le, r] = q * flow[i, r]
            if ri >= 0:
                for r in range(BLOCK):
                    q = share + met[i, r] * (a - share + b * goes[i, r])
                    flow[ri, r] = (1.0 - q) * flow[i, r]
    for i in range(count):
        node = first + i
        share = forest.left_share[node]
        y = phi[forest.feature[node]]
        for r in range(BLOCK):
            y[r] += (goes[i, r] - share) * met[i, r] * gain[i, r]
