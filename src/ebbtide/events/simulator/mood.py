"""The hidden mood of a customer: content, comparing with other shops, or minded to leave.

Moods move slowly, a step of a Markov chain every seven days, each user on a weekday of their own. A mood changes the
chance of leaving and the order of events inside visits (`arrangement`), and nothing else: neither how often somebody
visits, looks or orders, nor what.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ebbtide.events.simulator.chance import Keys, Purpose, uniform

MOODS: tuple[str, ...] = ("content", "comparing", "leaving")
MOOD_DAYS = 7
MOVES = np.array([[0.94, 0.05, 0.01], [0.12, 0.76, 0.12], [0.04, 0.08, 0.88]])
"""(from, to), a week."""
MOOD_HAZARD = np.array([0.0, 0.004, 0.04])
"""Hazard of leaving a day."""


def usual_shares() -> NDArray[np.float64]:
    """The stationary shares of the moods, (M,): solves `shares @ MOVES = shares`."""
    system = np.vstack([MOVES.T - np.eye(len(MOODS)), np.ones(len(MOODS))])
    return np.asarray(np.linalg.lstsq(system, np.append(np.zeros(len(MOODS)), 1.0), rcond=None)[0])


def first_moods(keys: Keys) -> NDArray[np.int8]:
    """A mood of each user, from the stationary shares."""
    return _drawn(np.broadcast_to(usual_shares(), (len(keys), len(MOODS))), keys, -1)


def next_moods(moods: NDArray[np.int8], users: NDArray[np.int64], keys: Keys, day: int) -> NDArray[np.int8]:
    """The moods on `day`, given those of the day before, (N,) -> (N,)."""
    moving = (users + day) % MOOD_DAYS == 0
    return np.where(moving, _drawn(MOVES[moods], keys, day), moods)


def _drawn(chances: NDArray[np.float64], keys: Keys, counter: int) -> NDArray[np.int8]:
    edges = np.cumsum(chances, axis=1)[:, :-1]
    return np.asarray((uniform(keys, Purpose.MOOD, counter)[:, None] > edges).sum(axis=1), np.int8)
