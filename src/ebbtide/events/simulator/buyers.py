"""Who the customers are: traits that never change, drawn for each user from seed and number alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ebbtide.events.simulator.chance import Draws, Keys, Purpose, gamma, keys_of, lognormal, uniform
from ebbtide.events.simulator.settings import CATEGORIES, COUNTRY_SHARE, SimulationConfig

FAVOURITES = 3
TRAITS = np.dtype(
    [
        ("user", np.int64),
        ("key", np.uint64),  # start of the user's stream of chance
        ("join_day", np.int32),  # day of the first possible order; 0 also for those who were there before
        ("old", np.bool_),  # a customer since before the log starts
        ("rate", np.float64),  # orders a day while fully engaged
        ("regularity", np.int32),  # gaps are Erlang of this shape
        ("visits", np.float64),  # visits without order for each order
        ("depth", np.float64),  # products looked at in a visit beyond the first
        ("curiosity", np.float64),  # share of looks outside the favourite category
        ("natural", np.float64),  # hazard a day without any cause
        ("delivery_sensitivity", np.float64),
        ("service_sensitivity", np.float64),
        ("price_sensitivity", np.float64),
        ("favourites", np.int32, (FAVOURITES,)),
        ("price_level", np.float64),  # 0 the cheapest of a category, 1 the dearest
        ("loyalty_discount", np.float64),  # off every price, until loyalty_end
        ("loyalty_end", np.int32),
        ("bored_day", np.int32),  # interest starts to fade
        ("bored_ramp", np.float64),  # days until it is gone
        ("bored_peak", np.float64),  # hazard a day when it is gone
        ("hour", np.float64),
        ("weekend", np.float64),  # how much livelier weekends are
        ("mobile", np.float64),
        ("app", np.float64),
        ("country", np.int8),
        ("consent", np.bool_),
        ("coupon_effect", np.float64),  # each: factor on the order rate, minus 1
        ("call_effect", np.float64),  # each: share of the hazard that it takes away
        ("message_effect", np.float64),
    ]
)


def make_buyers(config: SimulationConfig, first: int, count: int) -> NDArray[np.void]:
    """The traits of users `[first, first + count)`, one record each; the same for any split into calls."""
    users = np.arange(first, first + count, dtype=np.int64)
    traits = np.zeros(count, TRAITS)
    traits["user"], traits["key"] = users, keys_of(users, config.seed)
    draw = _TraitDraws(keys_of(users, config.seed))
    _habits(traits, draw, config)
    _sensitivities(traits, draw, config)
    _background(traits, draw)
    return traits


class _TraitDraws:
    """Numbers of the wanted law, each call with a counter of its own, so that traits are independent."""

    def __init__(self, keys: Keys) -> None:
        self._keys, self._counter = keys, 0

    def uniform(self) -> Draws:
        return uniform(self._keys, Purpose.TRAIT, self._next())

    def gamma(self, shape: float) -> Draws:
        return gamma(self._keys, Purpose.TRAIT, self._next(), shape)

    def lognormal(self, sigma: float) -> Draws:
        return lognormal(self._keys, Purpose.TRAIT, self._next(), sigma)

    def _next(self) -> int:
        self._counter += 1
        return self._counter


def _habits(traits: NDArray[np.void], draw: _TraitDraws, config: SimulationConfig) -> None:
    traits["old"] = draw.uniform() < 0.5
    joins = (draw.uniform() * config.days).astype(np.int32)
    traits["join_day"] = np.where(traits["old"], 0, joins)
    traits["rate"] = np.clip(draw.gamma(4.0) * config.character.pace / 17, 1 / 90, 1 / 3)
    traits["regularity"] = 2 + (draw.uniform() * 4).astype(np.int32)
    traits["visits"] = config.character.visits * draw.lognormal(0.1)
    traits["depth"] = config.character.looks * draw.lognormal(0.2)
    traits["curiosity"] = 0.35 + 0.35 * draw.uniform()
    traits["hour"] = 20.0 - 11.0 * (draw.uniform() < 0.35) + 2.0 * draw.uniform()
    traits["weekend"] = 0.7 + 0.9 * draw.uniform()


def _sensitivities(traits: NDArray[np.void], draw: _TraitDraws, config: SimulationConfig) -> None:
    traits["natural"] = draw.gamma(2.0) / 2000
    traits["delivery_sensitivity"] = draw.lognormal(0.15)
    traits["service_sensitivity"] = draw.lognormal(0.15)
    traits["price_sensitivity"] = draw.lognormal(0.15)
    member = draw.uniform() < 0.6
    traits["loyalty_discount"] = np.where(member, np.round(0.2 + 0.1 * draw.uniform(), 2), 0.0)
    traits["loyalty_end"] = traits["join_day"] + (30 + draw.gamma(1.5) * 500).astype(np.int32)
    traits["bored_day"] = traits["join_day"] + (20 + draw.gamma(1.0) * 800).astype(np.int32)
    traits["bored_ramp"] = 60 + 40 * draw.uniform()
    traits["bored_peak"] = 0.06 * draw.lognormal(0.2)
    nature = draw.lognormal(0.5)
    scale = config.campaign_effect
    traits["coupon_effect"] = scale * 0.25 * nature * traits["price_sensitivity"]
    traits["call_effect"] = np.minimum(scale * 0.35 * draw.lognormal(0.5) * traits["service_sensitivity"], 0.9)
    traits["message_effect"] = scale * (draw.uniform() * 0.3 - 0.1)


def _background(traits: NDArray[np.void], draw: _TraitDraws) -> None:
    first = (draw.uniform() * len(CATEGORIES)).astype(np.int32)
    for slot in range(FAVOURITES):
        traits["favourites"][:, slot] = (first + slot * (2 + (draw.uniform() * 4).astype(np.int32))) % len(CATEGORIES)
    traits["price_level"] = draw.uniform()
    traits["mobile"] = draw.uniform()
    traits["app"] = draw.uniform() ** 2
    traits["country"] = np.searchsorted(np.cumsum(COUNTRY_SHARE)[:-1], draw.uniform())
    traits["consent"] = draw.uniform() < 0.85
