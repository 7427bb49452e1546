"""The rows outside visits: what follows an order, and what the shop sends."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ebbtide.events.simulator.chance import Purpose, exponential, uniform
from ebbtide.events.simulator.crowd import CALL, COUPON, MESSAGE, NEWSLETTER_EVERY_DAYS
from ebbtide.events.simulator.fates import BADLY_LATE_DAYS
from ebbtide.events.simulator.goods import asked_price, choose_goods
from ebbtide.events.simulator.life import Story
from ebbtide.events.simulator.rows import DAY_SECONDS, KIND, NEWSLETTER, SECOND_US, Columns, stack
from ebbtide.events.simulator.settings import CHANNELS, EARLIEST, NOTE_CALL, NOTE_SUPPORT, TEXT_LATE, TEXT_SUPPORT
from ebbtide.events.simulator.world import World

ON_DELIVERY, ON_REFUND, ON_PRODUCT = 0, 1, 2


def aftermath_rows(story: Story, buyers: NDArray[np.void], world: World) -> Columns:
    """Deliveries, cancellations, refunds, support contacts, reviews, messages, coupons and calls."""
    return stack([*_order_blocks(story.orders, buyers, world), *_contact_blocks(story.contacts, buyers, world)])


def _order_blocks(orders: NDArray[np.void], buyers: NDArray[np.void], world: World) -> list[dict[str, Any]]:
    them = buyers[orders["who"]]
    keys, number = np.ascontiguousarray(them["key"]), orders["number"]
    category, item = choose_goods(them, world, orders["day"], number * 8, np.zeros(len(orders)))
    price, _ = asked_price(them, world, orders["day"], category, item)
    first = {"category": category, "goods": category * world.goods_per_category + item}
    after = _After(orders, keys, world)
    late, arrives = orders["late"], orders["arrives"]
    badly = late >= BADLY_LATE_DAYS
    topic = np.where(orders["returned"], ON_REFUND, ON_PRODUCT)
    solved = ~orders["unsolved"]
    asks = badly & (uniform(keys, Purpose.REPEATED, -number.astype(np.int64)) < 0.25)
    yes = np.ones(len(orders), np.bool_)
    blocks = [
        after.rows("delivery", ~orders["cancelled"], arrives, 9, note=late - EARLIEST),
        after.rows("order_cancel", orders["cancelled"], 1, 8),
        after.rows("refund", orders["returned"], arrives + 6, 11, quantity=1.0, value=-price, **first),
        after.rows("support", orders["trouble"], orders["complains"], 10, **_support(keys, number, topic, solved)),
        after.rows("support", orders["repeated"], orders["complains"] + 2, 10, **_support(keys, number, topic, solved)),
        after.rows("support", asks, arrives - 1, 10, **_support(keys, number, np.zeros_like(topic), yes)),
    ]
    return [*blocks, _reviews(after, them, first)]


class _After:
    """Blocks of rows some days after their orders; carriers and back office report within a day, a few later."""

    def __init__(self, orders: NDArray[np.void], keys: NDArray[np.uint64], world: World) -> None:
        self.orders, self.keys, self._world, self._block = orders, keys, world, 0

    def rows(self, kind: str, chosen: NDArray[np.bool_], days: Any, hour: int, **columns: Any) -> dict[str, Any]:
        self._block += 1
        counter = self.orders["number"].astype(np.int64) * 16 + self._block
        second = (self.orders["day"].astype(np.int64) + days) * DAY_SECONDS + hour * 3600
        second += (9 * 3600 * uniform(self.keys, Purpose.HOUR_LATER, counter)).astype(np.int64)
        lag = DAY_SECONDS * uniform(self.keys, Purpose.LAG, -counter) ** 3
        astray = uniform(self.keys, Purpose.OFFLINE, -counter) < 0.004
        lag += np.where(astray, 3 * DAY_SECONDS * exponential(self.keys, Purpose.STRAY, -counter), 0.0)
        full = {"us": self._world.start_us + second * SECOND_US, "lag_us": lag.astype(np.int64) * SECOND_US,
                "order": self.orders["number"], "who": self.orders["who"], **columns}  # fmt: skip
        picked = {name: v[chosen] if isinstance(v, np.ndarray) else v for name, v in full.items()}
        return {**picked, "kind": KIND[kind]}


def _support(
    keys: NDArray[np.uint64], number: NDArray[np.int32], topic: NDArray[np.int64], solved: NDArray[np.bool_]
) -> dict[str, Any]:
    """A solved contact is rated 4 or 5, an unsolved one 1 or 2."""
    luck = uniform(keys, Purpose.RATING, number)
    rating = np.where(solved, 4.0 + (luck < 0.5), 1.0 + (luck < 0.4))
    return {"note": NOTE_SUPPORT + 2 * topic + solved, "text": TEXT_SUPPORT + 2 * topic + solved, "rating": rating}


def _reviews(after: _After, them: NDArray[np.void], first: dict[str, Any]) -> dict[str, Any]:
    """One order in eight is reviewed; lateness and unsolved trouble cost stars."""
    orders, keys, number = after.orders, after.keys, after.orders["number"]
    badly = orders["late"] >= BADLY_LATE_DAYS
    felt = orders["quality"] - 1.5 * badly * them["delivery_sensitivity"] - 2.0 * orders["unsolved"]
    stars = np.clip(np.round(felt), 1, 5).astype(np.int64)
    luck = uniform(keys, Purpose.REVIEWS, number)
    wording = (luck * 1000 % 1 < 0.5).astype(np.int64)
    text = np.where(badly & (stars <= 3), TEXT_LATE + wording, 2 * (stars - 1) + wording)
    days = orders["arrives"] + 2 + (8 * (luck * 100 % 1)).astype(np.int64)
    chosen = ~orders["cancelled"] & (luck < 0.13)
    return after.rows("review", chosen, days, 12, rating=stars.astype(np.float64), text=text, **first)


def _contact_blocks(contacts: NDArray[np.void], buyers: NDArray[np.void], world: World) -> list[dict[str, Any]]:
    keys = buyers["key"][contacts["who"]]
    newsletter = contacts["campaign"] < 0
    campaign = np.where(newsletter, NEWSLETTER + contacts["day"] // NEWSLETTER_EVERY_DAYS, contacts["campaign"])
    hour = 8.0 + uniform(keys, Purpose.CONTACT_HOUR, contacts["day"])
    lag = (600 * exponential(keys, Purpose.LAG, -(contacts["day"].astype(np.int64) * 16 + 15))).astype(np.int64)

    def rows(kind: str, chosen: NDArray[np.bool_], hours_later: float, **columns: Any) -> dict[str, Any]:
        second = contacts["day"].astype(np.int64) * DAY_SECONDS + ((hour + hours_later) * 3600).astype(np.int64)
        full = {"us": world.start_us + second * SECOND_US, "lag_us": lag * SECOND_US, "who": contacts["who"],
                "campaign": campaign, **columns}  # fmt: skip
        picked = {name: v[chosen] if isinstance(v, np.ndarray) else v for name, v in full.items()}
        return {**picked, "kind": KIND[kind], "channel": CHANNELS.index("email")}

    action = contacts["action"]
    return [
        rows("message", action == MESSAGE, 0.0),
        rows("coupon", action == COUPON, 0.0, coupon=contacts["campaign"]),
        rows("custom", action == CALL, 4.0, note=NOTE_CALL),
        rows("promo_view", contacts["opened"], 0.5),
        rows("promo_click", contacts["clicked"], 0.51),
    ]
