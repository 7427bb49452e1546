"""What each action is worth for each user, before its cost: measured where an experiment told, else assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebbtide.actions.catalogue import Action
from ebbtide.actions.hull import Vector

ASSUMED, MEASURED, LEARNT, UNKNOWN = "assumed", "measured", "learnt", "unknown"


@dataclass(frozen=True)
class Measured:
    """The measured worth of one action for each user, (N,), in money, and the lower end of its interval, (N,)."""

    worth: Vector
    low: Vector


@dataclass(frozen=True)
class Effects:
    """`worth` (N, A): money that the action is expected to bring, its cost not taken off; `source` (A,): whence."""

    worth: Vector
    source: tuple[str, ...]

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
) -> Effects:
    """Measured where an experiment told (its lower end if `cautious`), else assumed; `measured`: by action name."""
    assumed = assumed_effects(value_at_risk, actions, margin=margin)
    worth, source = assumed.worth.copy(), list(assumed.source)
    for place, action in enumerate(actions):
        if action.name in measured:
            told = measured[action.name]
            worth[:, place] = told.low if cautious else told.worth
            source[place] = MEASURED
    return Effects(worth, tuple(source))


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
