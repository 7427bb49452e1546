"""Which product a customer picks, and the price that this customer is asked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ebbtide.events.simulator.chance import Purpose, normal, uniform
from ebbtide.events.simulator.settings import CATEGORIES
from ebbtide.events.simulator.world import WEEK, World

Places = NDArray[np.integer]


def choose_goods(
    buyers: NDArray[np.void], world: World, day: Places, counter: NDArray[np.integer], bored: NDArray[np.float64]
) -> tuple[Places, Places]:
    """A category and a position in it for each buyer, (N,): near the price level, the more popular of two.

    `counter` tells the picks of one user apart; a bored customer strays less from the first favourite.
    """
    keys = np.ascontiguousarray(buyers["key"])
    favourites, luck = buyers["favourites"], uniform(keys, Purpose.OTHER_CATEGORY, counter)
    anything = (len(CATEGORIES) * (luck - 0.8) / 0.2).astype(np.int64)
    other = np.select([luck < 0.3, luck < 0.8], [favourites[:, 2], favourites[:, 1]], anything)
    strays = uniform(keys, Purpose.CATEGORY, counter) < buyers["curiosity"] * (1.0 - bored)
    category = np.where(strays, other, favourites[:, 0])
    first, second = (
        _near(buyers, world, normal(keys, purpose, counter)) for purpose in (Purpose.PLACE, Purpose.RIVAL_PLACE)
    )
    mine, rival = (world.popularity[day // WEEK, category, item] for item in (first, second))
    return category, np.where(uniform(keys, Purpose.RIVAL, counter) * (mine + rival) < rival, second, first)


def asked_price(
    buyers: NDArray[np.void], world: World, day: Places, category: Places, item: Places
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The price of one piece on that day after sale and loyalty discount, and what it is below the list price, (N,)."""
    listed = np.round(world.item_price[category, item] * world.price_index[category, day], 2)
    loyalty = np.where(day < buyers["loyalty_end"], buyers["loyalty_discount"], 0.0)
    asked = np.round(listed * (1.0 - world.sale[day]) * (1.0 - loyalty), 2)
    return asked, np.round(listed - asked, 2)


def _near(buyers: NDArray[np.void], world: World, luck: NDArray[np.float64]) -> Places:
    place = np.clip(buyers["price_level"] + 0.12 * luck, 0.0, 0.999)
    return (place * world.goods_per_category).astype(np.int64)
