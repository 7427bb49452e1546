"""A click shop: sessions carry signal there that counts do not. And shops that are like it and yet others.

Why such a signal is plausible. Who is content with a shop searches, opens a list, looks at a product and takes it.
Who is comparing with another shop jumps between rival products and lists and takes something late or not at all. Who
is minded to leave goes round in circles: into the cart, out of it, another search, hesitating before each. A week of
any of the three may have as many searches, views and cart events as a week of the others, over as many minutes; the
order and the pauses tell them apart. In a real shop such moods leak into counts as well. Here they do not leak at
all, so that the shop measures what only a model of the sequence can find: see `arrangement` for how, `mood` for how
moods move and what they do to the chance of leaving. Rates, recency, seasons, prices, late deliveries and bad service
work as in the usual shop, only weaker, so that windowed features are good and not sufficient.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np

from ebbtide.events.simulator.character import Character
from ebbtide.events.simulator.settings import SimulationConfig

CLICKS = Character(
    visits=4.0, looks=3.0, pages=0.3, searches=0.4, lists=0.3, wishes=0.06, carts=0.25, removals=0.5, again=0.35
)


def click_shop(users: int = 50_000, seed: int = 0) -> SimulationConfig:
    """The usual click shop: a year in which doubt is the main cause of leaving; it asks about the buyers of 45 days."""
    return SimulationConfig(
        users=users, days=360, seed=seed, eligible_days=45, character=CLICKS, doubt=1.0,
        natural=0.5, late_delivery=0.5, bad_service=0.5, price=0.5, boredom=0.3,
    )  # fmt: skip


def different(shop: SimulationConfig, seed: int) -> SimulationConfig:
    """A shop like `shop` and yet another one: other customers, goods, item ids, prices, seasons, pace, visits, mix of
    events, strengths of the causes, up to a year earlier; the moods are the same and show in a perturbed grammar.

    >>> shops = [different(click_shop(10), seed) for seed in (1, 2)]
    >>> shops[0].character.prefix, shops[1].character.prefix
    ('s1-', 's2-')
    """
    rng = np.random.default_rng([seed, 5])

    def near(value: float, spread: float, most: float = np.inf) -> float:
        return float(min(value * np.exp(rng.uniform(-spread, spread)), most))

    own = shop.character
    character = replace(
        own, prefix=f"s{seed}-", grammar=seed + 1,
        pace=near(own.pace, 0.3), prices=near(own.prices, 1.0), visits=near(own.visits, 0.3), looks=near(own.looks, 0.3),
        pages=near(own.pages, 0.5, 1.0), searches=near(own.searches, 0.4, 0.6), lists=near(own.lists, 0.4, 0.4),
        wishes=near(own.wishes, 0.5, 0.3), carts=near(own.carts, 0.4, 0.6), removals=near(own.removals, 0.3, 1.0),
        again=near(own.again, 0.3, 1.0), season=float(rng.uniform(0.3, 1.5)), season_shift_days=int(rng.integers(-150, 151)),
    )  # fmt: skip
    return replace(
        shop,
        seed=int(rng.integers(2**31)),
        start=shop.start - timedelta(days=int(rng.integers(365))),
        items_per_category=int(rng.integers(30, 200)),
        character=character,
        natural=near(shop.natural, 0.5),
        late_delivery=near(shop.late_delivery, 0.5),
        bad_service=near(shop.bad_service, 0.5),
        price=near(shop.price, 0.5),
        boredom=near(shop.boredom, 0.5),
    )
