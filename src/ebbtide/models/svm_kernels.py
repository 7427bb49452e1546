"""The compiled loops of the support vector machine: its margins, and exact Shapley values of its radial kernel.

The margin is  w . z + sum over landmarks m of c_m * exp(-width |z - l_m|^2) + b.  The first part is additive already. A
landmark's part is a product over columns, k_j(x) = exp(-width |z_j - l_mj|^2), and a product of d factors, each taken
either at the row (a_j) or at the reference (b_j), has the Shapley values (as in TreeSHAP, see `tree_shap.py`)

    phi_j = (a_j - b_j) * integral over t in [0, 1] of the product over i != j of (t a_i + (1 - t) b_i)

a polynomial in t, smooth, so that a few Gauss-Legendre points give it to the last digits; no walk is sampled.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ebbtide.models.base import Vector

POINTS = 8
"""Quadrature points. More change no term by more than 1e-9: `test_svm.py`."""


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def margins(z: NDArray[np.float32], slopes: Vector, landmarks: Vector, weights: Vector, width: float) -> Vector:
    """The margins without the constant, (N,): z (N, P), slopes (P,), landmarks (M, P), weights (M,)."""
    out = np.zeros(len(z))
    for i in range(len(z)):
        for p in range(z.shape[1]):
            out[i] += slopes[p] * z[i, p]
        for m in range(len(landmarks)):
            far = 0.0
            for p in range(z.shape[1]):
                gap = z[i, p] - landmarks[m, p]
                far += gap * gap
            out[i] += weights[m] * np.exp(-width * far)
    return out


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def add_terms(
    z: NDArray[np.float32],
    reference: NDArray[np.float32],
    owner: NDArray[np.int64],
    slopes: Vector,
    landmarks: Vector,
    weights: Vector,
    width: float,
    rule: tuple[Vector, Vector],
    out: Vector,
) -> None:
    """Add to `out` (N, F + 1) what each column moves the margin away from that of the reference (P,).

    `owner` (P,): the column to which a regressor belongs; those of one column move together. `rule`: quadrature. Per
    landmark, `own` and `step` hold each moved column's factor at the reference and what the row adds to it.
    """
    times, shares = rule
    far = _reference_distances(reference, owner, landmarks, out.shape[1])
    near = np.exp(-width * far)
    slot = np.empty(out.shape[1], np.int64)
    moved, column = np.empty(len(owner), np.int64), np.empty(out.shape[1], np.int64)
    own, step, phi = np.empty((3, out.shape[1]))
    for i in range(len(z)):
        count = _moved_columns(z[i], reference, owner, slot, column)
        regressors = 0
        for p in range(z.shape[1]):
            if slot[owner[p]] >= 0:
                moved[regressors] = p
                regressors += 1
                out[i, owner[p]] += slopes[p] * (np.float64(z[i, p]) - np.float64(reference[p]))
        phi[:count] = 0.0
        for m in range(len(landmarks)):
            own[:count] = 0.0
            for r in range(regressors):
                p = moved[r]
                gap = np.float64(z[i, p]) - landmarks[m, p]
                own[slot[owner[p]]] += gap * gap
            still = far[m, -1]
            for k in range(count):
                still -= far[m, column[k]]
                step[k] = np.exp(-width * own[k]) - near[m, column[k]]
                own[k] = near[m, column[k]]
            scale = weights[m] * np.exp(-width * still)
            for point in range(len(times)):
                product = scale * shares[point]
                for k in range(count):
                    product *= own[k] + times[point] * step[k]
                for k in range(count):
                    phi[k] += step[k] * product / (own[k] + times[point] * step[k])
        for k in range(count):
            out[i, column[k]] += phi[k]


@njit(nogil=True)
def _reference_distances(
    reference: NDArray[np.float32], owner: NDArray[np.int64], landmarks: Vector, width: int
) -> Vector:
    """Squared distance of the reference to each landmark by column, the last one in all: (M, F + 1)."""
    far = np.zeros((len(landmarks), width))
    for m in range(len(landmarks)):
        for p in range(len(reference)):
            gap = np.float64(reference[p]) - landmarks[m, p]
            far[m, owner[p]] += gap * gap
            far[m, -1] += gap * gap
    return far


@njit(nogil=True)
def _moved_columns(
    z: NDArray[np.float32],
    reference: NDArray[np.float32],
    owner: NDArray[np.int64],
    slot: NDArray[np.int64],
    column: NDArray[np.int64],
) -> int:
    """The columns in which a row (P,) differs from the reference: `column` lists them, `slot` is their place or -1."""
    slot[:] = -1
    count = 0
    for p in range(len(z)):
        if z[p] != reference[p] and slot[owner[p]] < 0:
            slot[owner[p]] = count
            column[count] = owner[p]
            count += 1
    return count


def gauss_legendre(points: int) -> tuple[Vector, Vector]:
    """Points and weights on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(points)
    return (x + 1) / 2, w / 2
