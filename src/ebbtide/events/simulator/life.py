"""The lives of a chunk of customers from the first day to the last, and what else might have become of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebbtide.events.simulator.crowd import CONTACT, EFFECT_DAYS, MOMENT, ORDER, VISIT, Crowd
from ebbtide.events.simulator.settings import ACTIONS
from ebbtide.events.simulator.world import World


@dataclass(frozen=True)
class Story:
    """All that happened to N users. `left_day` is NEVER and `cause` -1 while still a customer; moments (R, N)."""

    left_day: NDArray[np.int32]
    cause: NDArray[np.int8]
    visits: NDArray[np.void]
    orders: NDArray[np.void]
    contacts: NDArray[np.void]
    moments: NDArray[np.void]


def live(buyers: NDArray[np.void], world: World, record_days: tuple[int, ...] = ()) -> Story:
    """Let every user live from the first day to the last; note the hidden state at the start of `record_days`."""
    crowd = Crowd(buyers, world)
    moments = np.zeros((len(record_days), len(buyers)), MOMENT)
    for day in range(world.days):
        crowd.feel(day)
        for place in [i for i, wanted in enumerate(record_days) if wanted == day]:
            moments[place] = crowd.moment()
        crowd.leave(day)
        crowd.hear(day)
        crowd.shop(day)
    return Story(
        crowd.left_day,
        crowd.cause,
        np.concatenate([np.zeros(0, VISIT), *crowd.visits]),
        np.concatenate([np.zeros(0, ORDER), *crowd.orders]),
        np.concatenate([np.zeros(0, CONTACT), *crowd.contacts]),
        moments,
    )


def chances_of_order(buyers: NDArray[np.void], world: World, day: int, futures: int) -> NDArray[np.float64]:
    """P(an order within EFFECT_DAYS from the start of `day`) under each action of ACTIONS taken on that day, (A, N).

    The mean over `futures` replays of the days after; every action meets the same chance, so that differences between
    actions are sharp. No campaign of the shop's own runs in the replays.
    """
    crowd = Crowd(buyers, world)
    for past in range(day):
        crowd.feel(past)
        crowd.leave(past)
        crowd.hear(past)
        crowd.shop(past)
    ordered = np.zeros((len(ACTIONS), len(buyers)))
    for future in range(futures):
        for action in range(len(ACTIONS)):
            ordered[action] += _orders_after(crowd.fork(future), day, action, world.days, len(buyers))
    return ordered / futures


def _orders_after(crowd: Crowd, day: int, action: int, last: int, count: int) -> NDArray[np.bool_]:
    for ahead in range(day, min(day + EFFECT_DAYS, last)):
        crowd.feel(ahead)
        crowd.leave(ahead)
        if ahead == day:
            crowd.act(day, np.arange(count), np.full(count, action))
        crowd.shop(ahead)
    who = np.concatenate([np.zeros(0, np.int32), *(orders["who"] for orders in crowd.orders)])
    return np.bincount(who, minlength=count) > 0
