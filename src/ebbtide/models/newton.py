"""Maximise a smooth function of a few parameters inside a box, by a Newton method that cannot run away.

Each step solves with the absolute values of the Hessian's eigenvalues (Dauphin et al. 2014, "saddle-free"), is cut to
a trust radius, and is taken only if the function grows as predicted; parameters on a wall with the gradient pointing
outwards are held there. Made for maximum-likelihood fits with 2 to 10 parameters and an analytic Hessian.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.language import Text
from ebbtide.models.base import Vector

Evaluation = tuple[float, Vector, Vector]
"""Value, gradient (K,), Hessian (K, K)."""

_MOST_STEPS = 200
_GAIN_LEFT = 1e-10


@dataclass(frozen=True)
class Optimum:
    """Where the climb ended. `on_wall` (K,) says which parameters are held by the box."""

    point: Vector
    value: float
    hessian: Vector
    on_wall: NDArray[np.bool_]
    converged: bool
    steps: int

    def spread(self, hessian: Vector) -> Vector:
        """Standard errors (K,) from a log-likelihood's Hessian; NaN for parameters on a wall or without a peak."""
        out, free = np.full(len(self.point), np.nan), ~self.on_wall
        information = -hessian[np.ix_(free, free)]
        if free.any() and np.linalg.eigvalsh(information)[0] > 0:
            out[free] = np.sqrt(np.diag(np.linalg.inv(information)))
        return out

    def describe(self, names: tuple[str, ...]) -> Text:
        """How the search ended, in words; `names` (K,)."""
        if not self.converged:
            return Text("stopped after {steps} steps without a maximum", "{steps} 步后停止，未达到最大值").format(
                steps=self.steps
            )
        held = ", ".join(n for n, wall in zip(names, self.on_wall, strict=True) if wall)
        if held:
            return Text(
                "the likelihood keeps rising as {names} runs to its limit: these users do not tell it apart",
                "{names} 趋向极限时似然仍在上升：这些用户的数据无法确定它",
            ).format(names=held)
        return Text("a maximum inside the range", "在范围内找到最大值")


def maximise(function: Callable[[Vector], Evaluation], start: Vector, lower: Vector, upper: Vector) -> Optimum:
    """Climb from `start` until the next Newton step promises less than 1e-10.

    `converged` is false if that did not happen within 200 steps, or if the function stopped being finite.

    >>> hill = lambda p: (-float(p @ p), -2 * p, -2 * np.eye(2))
    >>> maximise(hill, np.array([1.0, 2.0]), np.full(2, -3.0), np.full(2, 3.0)).point.round(9).tolist()
    [0.0, 0.0]
    """
    point = np.clip(start, lower, upper)
    value, gradient, hessian = function(point)
    radius, converged, steps = 1.0, False, 0
    while steps < _MOST_STEPS:
        steps += 1
        step = _step_inside(point, gradient, hessian, radius, lower, upper)
        trial = np.clip(point + step, lower, upper)
        promised = _promise(gradient, hessian, trial - point)
        if promised <= _GAIN_LEFT:
            converged = True
            break
        new_value, new_gradient, new_hessian = function(trial)
        gained = new_value - value if np.isfinite(new_value) else -np.inf
        if gained <= 0 and promised <= 1e-12 * abs(value):
            converged = True  # what is left to gain drowns in the rounding of the value itself
            break
        if gained > 0.05 * promised:
            radius = min(4.0, 2 * radius) if gained > 0.5 * promised else radius
            point, value, gradient, hessian = trial, new_value, new_gradient, new_hessian
        else:
            radius = 0.25 * float(np.abs(trial - point).max())
    return Optimum(point, value, hessian, ~_free(point, gradient, lower, upper), converged, steps)


def _free(point: Vector, gradient: Vector, lower: Vector, upper: Vector) -> NDArray[np.bool_]:
    """Which parameters may move: not those on a wall that the gradient pushes against."""
    return np.asarray(~(((point <= lower) & (gradient < 0)) | ((point >= upper) & (gradient > 0))))


def _step_inside(
    point: Vector, gradient: Vector, hessian: Vector, radius: float, lower: Vector, upper: Vector
) -> Vector:
    """The step, cut where it first meets a wall; a parameter that would leave through a wall it stands on stays."""
    free = _free(point, gradient, lower, upper)
    step = _step(gradient, hessian, free, radius)
    for _ in range(len(point)):
        leaves = free & (((point <= lower) & (step < 0)) | ((point >= upper) & (step > 0)))
        if not leaves.any():
            break
        free &= ~leaves
        step = _step(gradient, hessian, free, radius)
    room = np.where(step > 0, upper - point, point - lower)
    moving = step != 0
    return step * min(1.0, float((room[moving] / np.abs(step[moving])).min())) if moving.any() else step


def _step(gradient: Vector, hessian: Vector, free: NDArray[np.bool_], radius: float) -> Vector:
    step = np.zeros_like(gradient)
    if not free.any():
        return step
    curvature, axes = np.linalg.eigh(hessian[np.ix_(free, free)])
    size = np.maximum(np.abs(curvature), 1e-9 * max(1e-300, float(np.abs(curvature).max())))
    inner = axes @ ((axes.T @ gradient[free]) / size)
    step[free] = inner * min(1.0, radius / max(1e-300, float(np.abs(inner).max())))
    return step


def _promise(gradient: Vector, hessian: Vector, step: Vector) -> float:
    """What the quadratic model expects to gain; where it curves upwards, the linear part alone."""
    linear, bend = float(gradient @ step), float(step @ hessian @ step)
    return linear + min(0.0, 0.5 * bend)
