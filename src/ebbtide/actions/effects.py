"""What each action is worth for each user, before its cost: what is assumed, what an experiment measured, or both.

Where both are there, each counts by its precision: an experiment that settles nothing leaves the assumption nearly as it
was, and one that is sharp replaces it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ebbtide.actions.catalogue import Action
from ebbtide.actions.hull import Vector

ASSUMED, MEASURED, COMBINED, LEARNT, UNKNOWN = "assumed", "measured", "combined", "learnt", "unknown"
_Z = 1.6448536269514722
"""`Measured.low` and the lower end of what is combined are those of a 90 % interval: one in twenty lies below."""
_LEAST_SHARE_ERROR = 0.05
"""Nobody knows an effect without measuring it to less than so many of those about to leave."""
_SETTLED = 0.99
"""From this share of the precision on, the effect counts as measured alone."""


@dataclass(frozen=True)
class Measured:
    """The measured worth of one action for each user, (N,), in money, and the lower end of its interval, (N,)."""

    worth: Vector
    low: Vector

    @property
    def error(self) -> Vector:
        """The standard error, (N,)."""
        return np.asarray((self.worth - self.low) / _Z)


@dataclass(frozen=True)
class Effects:
    """`worth` (N, A): money that the action is expected to bring, its cost not taken off; `source` (A,): whence;
    `measured_share` by name of each measured action: what the measurement counts beside the assumption, 0 to 1."""

    worth: Vector
    source: tuple[str, ...]
    measured_share: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """(1, A): whether anything is known or assumed of the action."""
        return np.array([[s != UNKNOWN for s in self.source]])


def effects_of(
    value_at_risk: Vector,
    actions: Sequence[Action],
    measured: Mapping[str, Measured],
    *,
    margin: float,
    cautious: bool = False,
    assumed_error: float = 1.0,
) -> Effects:
    """Assumed, measured, or both combined (the lower end of what is measured if `cautious`); `measured`: by action name;
    `assumed_error`: standard error of an assumed effect, as a share of it."""
    assumed = assumed_effects(value_at_risk, actions, margin=margin)
    worth, source, shares = assumed.worth.copy(), list(assumed.source), dict[str, float]()
    for place, action in enumerate(actions):
        if action.name not in measured:
            continue
        told, share = measured[action.name], 1.0
        if action.assumed_effect is not None:
            error = max(assumed_error * action.assumed_effect, _LEAST_SHARE_ERROR) * margin * value_at_risk
            told, share = combined(told, Measured(worth[:, place], worth[:, place] - _Z * error))
        worth[:, place] = told.low if cautious else told.worth
        source[place] = MEASURED if share > _SETTLED else COMBINED
        shares[action.name] = share
    return Effects(worth, tuple(source), shares)


def combined(measured: Measured, prior: Measured) -> tuple[Measured, float]:
    """Posterior mean and lower end of each user, and the weight of the measurement.

    Both errors are mostly those of an average over all users, so one weight serves all: the prior's mean variance over
    the sum of both, the mean taken over users. The lower end is that of `weight x measured + (1 - weight) x prior`.

    >>> told, weight = combined(Measured(np.array([4.0]), np.array([3.0])), Measured(np.array([1.0]), np.array([0.0])))
    >>> weight, told.worth.tolist(), round(float(told.worth[0] - told.low[0]), 3)
    (0.5, [2.5], 0.707)
    """
    own, other = (float(np.mean(m.error) ** 2) if len(m.worth) else 0.0 for m in (measured, prior))
    weight = other / (own + other) if own + other > 0 else 1.0
    worth = weight * measured.worth + (1 - weight) * prior.worth
    error = np.hypot(weight * measured.error, (1 - weight) * prior.error)
    return Measured(worth, np.asarray(worth - _Z * error)), weight


def assumed_effects(value_at_risk: Vector, actions: Sequence[Action], *, margin: float) -> Effects:
    """Risk x value x the declared share of leavers that the action keeps, times the shop's margin.

    `value_at_risk` (N,): probability of leaving times the value of staying. An action of which nothing is assumed is
    worth nothing and known to be unknown.
    """
    share = np.array([a.assumed_effect or 0.0 for a in actions])
    source = tuple(UNKNOWN if a.assumed_effect is None else ASSUMED for a in actions)
    return Effects(margin * value_at_risk[:, None] * share[None, :], source)


def known_value_at_risk(value_at_risk: Vector, probability: Vector, clv: float) -> tuple[Vector, bool]:
    """The value at risk with the gaps filled, (N,), and whether any was known.

    Who has none gets the mean value of staying of those who have, else `clv`, times the own probability.
    """
    known = np.isfinite(value_at_risk)
    if not known.any():
        return probability * clv, False
    stays = value_at_risk[known].sum() / max(float(probability[known].sum()), 1e-12)
    return np.where(known, value_at_risk, probability * stays), True
