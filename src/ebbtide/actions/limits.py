"""What binds an assignment of actions to users: a budget, capacities, and shares by group; and how well a choice keeps it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ebbtide.actions.hull import Choice, Vector


@dataclass(frozen=True)
class Limits:
    """The budget; `capacity` (A,) users an action (inf: no limit); `group` (N,) codes 0..G-1, and of each group the
    least and largest number of users that get an action, (G,) each. No groups: arrays of length 0 and codes of 0."""

    budget: float
    capacity: Vector
    group: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    least: Vector = field(default_factory=lambda: np.zeros(0))
    most: Vector = field(default_factory=lambda: np.zeros(0))

    @staticmethod
    def of(budget: float, actions: int) -> Limits:
        """A budget alone."""
        return Limits(budget, np.full(actions, np.inf))

    def with_shares(self, group: NDArray[np.int64], low: float, high: float) -> Limits:
        """Also between `low` and `high` of each group's users get an action, rounded to whole users inwards."""
        size = np.bincount(group).astype(np.float64)
        most = np.floor(size * high + 1e-9)
        least = np.minimum(np.ceil(size * low - 1e-9), most)
        return Limits(self.budget, self.capacity, group, least, most)

    @property
    def groups(self) -> int:
        """G."""
        return len(self.least)

    def used(self, choice: Choice) -> tuple[Vector, Vector]:
        """Users of each action (A,) and treated users of each group (G,)."""
        treated = choice >= 0
        by_action = np.bincount(choice[treated], minlength=len(self.capacity)).astype(np.float64)
        if not self.groups:
            return by_action, np.zeros(0)
        return by_action, np.bincount(self.group[treated], minlength=self.groups).astype(np.float64)

    def holds_but_for_budget(self, choice: Choice) -> bool:
        """Whether capacities and shares are kept."""
        by_action, by_group = self.used(choice)
        return bool(
            (by_action <= self.capacity).all() and (by_group <= self.most).all() and (by_group >= self.least).all()
        )

    def missing(self, choice: Choice) -> Vector:
        """Users by which each group falls short of its least share, (G,)."""
        return np.maximum(self.least - self.used(choice)[1], 0.0)


def picked(values: Vector, choice: Choice) -> Vector:
    """The value of each user's choice, (N,); 0 for nothing."""
    rows = np.arange(len(choice))
    return np.where(choice >= 0, values[rows, np.maximum(choice, 0)] if values.shape[1] else 0.0, 0.0)


def total(costs: Vector) -> float:
    """The sum of costs as the least kind of reader would add them up: the largest of three orders of summation."""
    if not len(costs):
        return 0.0
    return max(math.fsum(costs), float(costs.sum()), float(np.cumsum(costs)[-1]))
