"""Contextual Thompson sampling: for shops without history, which learn what works while they act.

Whether a customer is kept is logistic: the log-odds of staying, plus x.theta_a for action a. History gives a Gaussian
posterior of theta (Laplace: mode, and inverse Hessian there); without history it is the prior. A plan is drawn by taking one
sample of the effects for each user and assigning as if it were true, so an action is given as often as it may be best.
Source: Chapelle and Li 2011, "An empirical evaluation of Thompson sampling", NIPS; propensities by Monte Carlo.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebbtide.actions.catalogue import Action
from ebbtide.actions.hull import Choice, Vector
from ebbtide.actions.prices import Prices

CONTEXT = 3
"""Numbers of a context: 1, log(1 + outcome days) - 1.5, log(1 + days since the last outcome) - 3."""
_BASE_SPREAD = np.array([5.0, 2.0, 2.0])
_EFFECT_SPREAD = np.array([0.7, 0.3, 0.3])
_STEPS = 50
_DRAWS = 200


@dataclass(frozen=True)
class History:
    """M past exposures with a known outcome: context x (M, C), action 0..A (0: nothing), kept (M,) 0 or 1."""

    x: Vector
    action: NDArray[np.int64]
    kept: Vector

    def __len__(self) -> int:
        return len(self.kept)


def context_of(outcome_days: Vector, days_since: Vector) -> Vector:
    """The contexts (N, C) of users with so many outcome days and days since the last one; unknown counts as none and a
    year."""
    n, d = np.nan_to_num(outcome_days, nan=0.0), np.nan_to_num(days_since, nan=365.0)
    return np.column_stack([np.ones(len(n)), np.log1p(n) - 1.5, np.log1p(d) - 3.0])


@dataclass(frozen=True)
class Posterior:
    """What is known of the effects of A actions: mean (A, C) and covariance (A, C, A, C) of theta."""

    mean: Vector
    covariance: Vector

    def shifts(self, x: Vector) -> tuple[Vector, Vector]:
        """Mean (N, A) and covariance (N, A, A) of the change in log-odds of users with contexts x (N, C)."""
        return x @ self.mean.T, np.einsum("nc,acbd,nd->nab", x, self.covariance, x, optimize=True)

    def draws(self, x: Vector, seed: int, count: int) -> Iterator[Vector]:
        """`count` independent samples of the change in log-odds, one for each user, each (N, A)."""
        mean, covariance = self.shifts(x)
        root = np.linalg.cholesky(covariance + 1e-9 * np.eye(mean.shape[1]))
        rng = np.random.default_rng([seed, 1])
        for _ in range(count):
            yield mean + np.einsum("nab,nb->na", root, rng.standard_normal(mean.shape))


def prior_of(actions: Sequence[Action], churn: float) -> Posterior:
    """Before any history: each action moves the log-odds as its `assumed_effect` would at the mean churn probability
    (0 where nothing is assumed), give or take 0.7."""
    share = np.array([a.assumed_effect or 0.0 for a in actions])
    p = min(max(churn, 0.01), 0.99)
    left = np.maximum(p * (1 - share), 1e-6)
    mean = np.zeros((len(actions), CONTEXT))
    mean[:, 0] = np.log((1 - left) / left) - np.log((1 - p) / p)
    covariance = np.zeros((len(actions), CONTEXT, len(actions), CONTEXT))
    for a in range(len(actions)):
        covariance[a, :, a, :] = np.diag(_EFFECT_SPREAD**2)
    return Posterior(mean, covariance)


def learn(prior: Posterior, history: History) -> Posterior:
    """The posterior after the history. What stays without an action is learnt beside the effects and left out."""
    if not len(history):
        return prior
    actions = len(prior.mean)
    design = np.zeros((len(history), 1 + actions, CONTEXT))
    design[:, 0] = history.x
    treated = history.action > 0
    design[np.flatnonzero(treated), history.action[treated]] = history.x[treated]
    X = design.reshape(len(history), -1)
    centre = np.concatenate([np.zeros(CONTEXT), prior.mean.ravel()])
    size = actions * CONTEXT
    precision = np.zeros((CONTEXT + size, CONTEXT + size))
    precision[:CONTEXT, :CONTEXT] = np.diag(1 / _BASE_SPREAD**2)
    precision[CONTEXT:, CONTEXT:] = np.linalg.inv(prior.covariance.reshape(size, size))
    theta = centre.copy()
    for _ in range(_STEPS):
        p = _sigmoid(X @ theta)
        slope = X.T @ (history.kept - p) - precision @ (theta - centre)
        bend = (X * (p * (1 - p))[:, None]).T @ X + precision
        step = np.linalg.solve(bend, slope)
        theta = theta + step * min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-9:
            break
    p = _sigmoid(X @ theta)
    spread = np.linalg.inv((X * (p * (1 - p))[:, None]).T @ X + precision)[CONTEXT:, CONTEXT:]
    covariance = np.asarray(spread.reshape(actions, CONTEXT, actions, CONTEXT), np.float64)
    return Posterior(theta[CONTEXT:].reshape(actions, CONTEXT), covariance)


@dataclass(frozen=True)
class Sampler:
    """Effects in money: `probability` (N,) of leaving, `value` (N,) of staying, contexts x (N, C)."""

    posterior: Posterior
    x: Vector
    probability: Vector
    value: Vector
    seed: int

    def expected(self) -> Vector:
        """Mean worth of each action for each user over the posterior, (N, A)."""
        total = np.zeros((len(self.x), len(self.posterior.mean)))
        for shift in self.posterior.draws(self.x, self.seed + 1, _DRAWS):
            total += self._worth(shift)
        return total / _DRAWS

    def sampled(self) -> Vector:
        """One sample of the worth of each action for each user, (N, A)."""
        return self._worth(next(self.posterior.draws(self.x, self.seed, 1)))

    def propensities(
        self, choice: Choice, cost: Vector, allowed: NDArray[np.bool_], group: NDArray[np.int64], prices: Prices
    ) -> Vector:
        """How often each user gets this very action when the effects are sampled anew, (N,), at the plan's prices.

        The plan's own draw counts as one, so no chance is 0.
        """
        same = np.ones(len(choice))
        for shift in self.posterior.draws(self.x, self.seed + 2, _DRAWS):
            again, _, _ = prices.choose(self._worth(shift) - cost, cost, allowed, group)
            same += again == choice
        return same / (_DRAWS + 1)

    def _worth(self, shift: Vector) -> Vector:
        p = np.clip(self.probability, 1e-6, 1 - 1e-6)
        stays = np.log((1 - p) / p)
        kept = _sigmoid(stays[:, None] + shift)
        return np.asarray(self.value[:, None] * (kept - (1 - p)[:, None]), np.float64)


def _sigmoid(z: Vector) -> Vector:
    return np.asarray(1 / (1 + np.exp(-np.clip(z, -30, 30))), np.float64)
