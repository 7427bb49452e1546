"""Whether one score is better than another on the same users: the difference and its interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.errors import InputError
from ebbtide.evaluation.calibration import brier_of, ece_of, log_loss_of
from ebbtide.evaluation.intervals import Estimate, affordable_draws, draw_weights, row_users
from ebbtide.evaluation.ranking import auroc_of, average_precision_of
from ebbtide.evaluation.tally import Ranking, Tally, Vector

METRICS: Mapping[str, Callable[[Tally], Vector]] = {
    "auroc": auroc_of,
    "average_precision": average_precision_of,
    "log_loss": log_loss_of,
    "brier": brier_of,
    "ece": ece_of,
}


def paired_difference(
    y: NDArray[Any],
    p: NDArray[Any],
    q: NDArray[Any],
    *,
    user: NDArray[Any] | None = None,
    metric: str = "auroc",
    draws: int = 300,
    seed: int = 0,
) -> Estimate:
    """How much higher a metric is for scores `p` than for scores `q` on the same rows, with its 95 % interval.

    Each draw takes the same users for both, so what the two scores share cancels. `user` (N,) names the user of each
    row; without it each row is a user. Raises InputError for an unknown metric.

    >>> y = np.array([1, 0, 1, 0])
    >>> paired_difference(y, np.array([0.9, 0.1, 0.8, 0.2]), np.array([0.9, 0.1, 0.8, 0.2])).to_json()
    {'value': 0.0, 'low': 0.0, 'high': 0.0}
    """
    if metric not in METRICS:
        known = ", ".join(METRICS)
        raise InputError(f"unknown metric `{metric}`; known: {known}", f"未知指标 `{metric}`；可用：{known}")
    figure, one, other = METRICS[metric], Ranking(y, p), Ranking(y, q)
    users = row_users(np.asarray(y), np.asarray(q), np.asarray(p)) if user is None else user
    cells, other_cells = one.merged(), other.merged()
    differences = [
        figure(cells.count(w)) - figure(other_cells.count(w))
        for w in draw_weights(users, draws=affordable_draws(draws, len(users)), seed=seed)
    ]
    value = figure(one.count())[0] - figure(other.count())[0]
    return Estimate.of(float(value), np.concatenate(differences))
