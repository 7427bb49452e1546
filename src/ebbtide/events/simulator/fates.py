"""What will come of an order: delivery, return, trouble with the service. Decided when it is placed, met days later."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ebbtide.events.simulator.chance import Purpose, normal, uniform
from ebbtide.events.simulator.goods import choose_goods
from ebbtide.events.simulator.settings import EARLIEST, LATEST
from ebbtide.events.simulator.world import World

RING_DAYS = 64
"""Every consequence is met within fewer days than this."""
DELIVERY_SHOCK, SERVICE_SHOCK = 0.06, 0.06
BADLY_LATE_DAYS = 3
LATE_SHARE, BIT_LATE_SHARE = 0.02, 0.03
TROUBLE_SHARE, UNSOLVED_SHARE = 0.045, 0.35

FATE = np.dtype(
    [
        ("cancelled", np.bool_),
        ("late", np.int32),  # days behind the promise; negative: early
        ("arrives", np.int32),  # days after the order
        ("quality", np.float64),  # of the first line, as this customer finds it, 1 to 5
        ("returned", np.bool_),
        ("trouble", np.bool_),
        ("unsolved", np.bool_),
        ("repeated", np.bool_),  # asks a second time, in vain
        ("complains", np.int32),  # days after the order
        ("delivery_shock", np.float64),  # hazard a day that the late delivery adds
        ("service_shock", np.float64),
    ]
)


def order_fates(buyers: NDArray[np.void], world: World, day: int, number: NDArray[np.int32]) -> NDArray[np.void]:
    """The fate of the `number`-th order of each buyer, placed on `day`: (N,) -> (N,)."""
    keys = np.ascontiguousarray(buyers["key"])
    out = np.zeros(len(keys), FATE)
    out["cancelled"] = uniform(keys, Purpose.CANCEL, number) < 0.015
    out["late"] = late = np.where(out["cancelled"], 0, _days_late(buyers["key"], number))
    out["arrives"] = 3 + np.maximum(late, 0) + (2 * uniform(keys, Purpose.ARRIVAL, number)).astype(np.int32)
    days = np.full(len(keys), day)
    category, item = choose_goods(buyers, world, days, number * 8, np.zeros(len(keys)))
    out["quality"] = world.item_quality[category, item] + 0.7 * normal(keys, Purpose.QUALITY, number)
    poor = out["quality"] < 3.3
    there = ~out["cancelled"]
    out["returned"] = there & (uniform(keys, Purpose.RETURN, number) < np.where(poor, 0.16, 0.04))
    out["trouble"] = there & (uniform(keys, Purpose.TROUBLE, number) < TROUBLE_SHARE + 0.2 * out["returned"])
    out["unsolved"] = out["trouble"] & (uniform(keys, Purpose.UNSOLVED, number) < UNSOLVED_SHARE)
    out["complains"] = out["arrives"] + 1 + (4 * uniform(keys, Purpose.ASKS, number)).astype(np.int32)
    pain = np.where(late >= BADLY_LATE_DAYS, np.minimum(late, 10) / 5.0, 0.05 * (late > 0))
    out["delivery_shock"] = DELIVERY_SHOCK * pain * buyers["delivery_sensitivity"]
    out["repeated"] = out["unsolved"] & (uniform(keys, Purpose.REPEATED, number) < 0.5)
    severity = np.where(out["repeated"], 1.3, 0.8)
    out["service_shock"] = SERVICE_SHOCK * out["unsolved"] * severity * buyers["service_sensitivity"]
    return out


def _days_late(keys: NDArray[np.uint64], number: NDArray[np.int32]) -> NDArray[np.int32]:
    luck, days = uniform(keys, Purpose.LATE, number), uniform(keys, Purpose.LATE_DAYS, number)
    badly = np.minimum(BADLY_LATE_DAYS - 3.5 * np.log(days), LATEST)
    a_bit = 1 + 2 * days
    early = -np.floor((1 - EARLIEST) * days)
    return np.select([luck < LATE_SHARE, luck < LATE_SHARE + BIT_LATE_SHARE], [badly, a_bit], early).astype(np.int32)
