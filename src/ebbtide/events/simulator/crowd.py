"""The hidden state of a chunk of customers and the steps of one day: annoyance, engagement, leaving, shopping.

Every day the hazard of leaving is a sum, one term a cause. Annoyance fades, engagement follows it with a lag of days,
and the rates of visits and orders follow engagement: so customers at risk drift before they leave. The hidden state
goes on after leaving exactly as if the customer had stayed and met nothing new, hence it does not tell who has left.
"""

from __future__ import annotations

import copy
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc, gammaincinv

from ebbtide.events.simulator.chance import Purpose, exponential, keys_of, poisson, uniform
from ebbtide.events.simulator.fates import FATE, RING_DAYS, order_fates
from ebbtide.events.simulator.mood import MOOD_HAZARD, first_moods, next_moods
from ebbtide.events.simulator.settings import CAUSES
from ebbtide.events.simulator.world import World

NEVER = 2**30
SHOCK_HALF_LIFE_DAYS = 20.0
PRICE_FORGOTTEN_DAYS = 40.0
PRICE_HAZARD = 0.2
PRICE_TOLERANCE = 0.03
FAVOURITE_WEIGHTS = (0.6, 0.25, 0.15)
ENGAGEMENT_LAG_DAYS = 6.0
UNBEARABLE_HAZARD = 0.04
BOREDOM_SHOWS = 0.75
"""Interest fades for weeks before it is gone: engagement falls with it, the hazard follows with its third power."""
VISITS_FOLLOW, ORDERS_FOLLOW = 1.5, 0.25
"""Powers of engagement: who loses interest looks in less long before buying less."""
EFFECT_DAYS = 30
HABIT, HABIT_HALF_LIFE_DAYS, HABIT_ENDS_DAYS = 0.8, 45.0, 160
"""Who has left looks in for a while without buying: visits fall to this share at once and fade from there."""
AUDIENCE_DAYS = 180
NEWSLETTER_EVERY_DAYS = 28
NEWSLETTER_ON_DAY = 10
MESSAGE, COUPON, CALL = 1, 2, 3

VISIT = np.dtype(
    [
        ("who", np.int32),
        ("day", np.int32),
        ("number", np.int32),
        ("order", np.int32),
        ("email", np.bool_),
        ("bored", np.float64),
        ("mood", np.int8),
    ]
)
"""A session: n-th of its user, with the number of the order that it ends in, or 0."""
ORDER = np.dtype([("who", np.int32), ("day", np.int32), ("number", np.int32), ("coupon", np.int16), *FATE.descr])
CONTACT = np.dtype(
    [
        ("who", np.int32),
        ("day", np.int32),
        ("campaign", np.int16),
        ("action", np.int8),
        ("opened", np.bool_),
        ("clicked", np.bool_),
    ]
)
"""What the shop sent; campaign -1 is a newsletter, action 0 control."""
MOMENT = np.dtype(
    [
        ("order_rate", np.float64),
        ("engagement", np.float64),
        ("hazards", np.float64, (len(CAUSES),)),
        ("mood", np.int8),
    ]
)
"""Hidden state at the start of a day."""


class Crowd:
    """The state of N users on one day, (N,) each; hazards (H, N) in the order of CAUSES.

    A day is `feel`, `leave`, `hear`, `shop`, in this order.
    """

    def __init__(self, buyers: NDArray[np.void], world: World) -> None:
        count = len(buyers)
        self._buyers, self._world = buyers, world
        self._trait = {name: np.ascontiguousarray(buyers[name]) for name in buyers.dtype.names or ()}
        self._keys = self._trait["key"]
        self.left_day, self.cause = np.full(count, NEVER, np.int32), np.full(count, -1, np.int8)
        self.visits: list[NDArray[np.void]] = []
        self.orders: list[NDArray[np.void]] = []
        self.contacts: list[NDArray[np.void]] = []
        self._order_count = np.where(self._trait["old"], 2, 0).astype(np.int32)
        self._visit_count = np.zeros(count, np.int32)
        self._last_order_day = np.where(self._trait["old"], 0, -NEVER).astype(np.int32)
        self._need_target = self._next_need(np.arange(count))
        past = uniform(self._keys, Purpose.FIRST_NEED)
        self._need = self._need_target * np.where(self._trait["old"], past, 1.0)
        self._delivery, self._service, self._bored = (np.zeros(count) for _ in range(3))
        self._pending = np.zeros((2, RING_DAYS, count))
        self._price_reference, self._felt_price = np.zeros(count), np.zeros(count)
        self._visited = np.zeros(count, np.bool_)
        self._engagement, self._rate_boost, self._hazard_factor = (np.ones(count) for _ in range(3))
        self._boost_until = np.full(count, -1, np.int32)
        self._coupon = np.full(count, -1, np.int16)
        self._hazards = np.zeros((len(CAUSES), count))
        self._moody = bool(world.strengths[5] > 0)
        self._mood = first_moods(self._keys) if self._moody else np.zeros(count, np.int8)

    def fork(self, future: int) -> Self:
        """The same people now, with another future: chance from here on is drawn anew, a different one a `future`.

        What is left of the need for the next order is drawn anew too, given how long it has grown.
        """
        other = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray):
                setattr(other, name, value.copy())
        other.visits, other.orders, other.contacts = [], [], []
        other._keys = keys_of(self._keys.view(np.int64), future)
        other._buyers["key"] = other._keys
        shape = self._trait["regularity"]
        passed = gammainc(shape, self._need)
        luck = passed + (1 - passed) * uniform(other._keys, Purpose.FUTURE_NEED)
        ordering = self._need >= self._need_target
        other._need_target = np.where(ordering, self._need, gammaincinv(shape, np.minimum(luck, 1 - 1e-12)))
        return other

    def feel(self, day: int) -> None:
        """Move annoyance and engagement to this day."""
        fade = 0.5 ** (1 / SHOCK_HALF_LIFE_DAYS)
        pending = self._pending[:, day % RING_DAYS]
        self._delivery = self._delivery * fade + pending[0]
        self._service = self._service * fade + pending[1]
        pending[:] = 0.0
        self._bored = np.clip((day - self._trait["bored_day"]) / self._trait["bored_ramp"], 0.0, 1.0)
        ended = self._boost_until < day
        self._rate_boost[ended] = self._hazard_factor[ended] = 1.0
        fresh = np.where(self._order_count == 1, 3.0, 1.0)
        strength = self._world.strengths
        self._hazards[0] = strength[0] * self._trait["natural"] * fresh
        self._hazards[1] = strength[1] * self._delivery
        self._hazards[2] = strength[2] * self._service
        self._hazards[3] = strength[3] * self._price_pain(day)
        self._hazards[4] = strength[4] * self._trait["bored_peak"] * self._bored**3
        if self._moody:
            self._mood = next_moods(self._mood, self._trait["user"], self._keys, day)
            self._hazards[5] = strength[5] * MOOD_HAZARD[self._mood]
        fresh_share = 1.0 - BOREDOM_SHOWS * self._bored * (strength[4] > 0)
        target = np.exp(-self._hazards[1:4].sum(axis=0) / UNBEARABLE_HAZARD) * fresh_share
        self._engagement += (target - self._engagement) / ENGAGEMENT_LAG_DAYS

    def moment(self) -> NDArray[np.void]:
        """The hidden state now, (N,)."""
        out = np.zeros(len(self._keys), MOMENT)
        out["order_rate"] = self._trait["rate"] * self._engagement**ORDERS_FOLLOW
        out["engagement"] = self._engagement
        out["hazards"], out["mood"] = self._hazards.T, self._mood
        return out

    def leave(self, day: int) -> None:
        """Some of those who have ordered before leave today, for one cause drawn in proportion to its hazard."""
        hazard = self._hazards.sum(axis=0) * self._hazard_factor
        going = uniform(self._keys, Purpose.LEAVE, day) < -np.expm1(-hazard)
        going &= (self._order_count > 0) & (self.left_day == NEVER) & (day >= self._trait["join_day"])
        who = np.flatnonzero(going)
        shares = np.cumsum(self._hazards[:, who], axis=0)
        luck = uniform(self._keys[who], Purpose.CAUSE, day) * shares[-1]
        self.left_day[who], self.cause[who] = day, (luck > shares).sum(axis=0)

    def hear(self, day: int) -> None:
        """What the shop sends today: a newsletter, a randomised campaign."""
        audience = self._trait["consent"] & (day - self._last_order_day <= AUDIENCE_DAYS)
        if day % NEWSLETTER_EVERY_DAYS == NEWSLETTER_ON_DAY:
            self._newsletter(day, np.flatnonzero(audience))
        for number in np.flatnonzero(self._world.campaign_days == day):
            silent = day - self._last_order_day >= self._world.silent_days
            chosen = audience & silent & (uniform(self._keys, Purpose.AUDIENCE, number) < self._world.campaign_share)
            self._campaign(day, int(number), np.flatnonzero(chosen))

    def shop(self, day: int) -> None:
        """Visits of this day; one of them orders when the need is full."""
        gone = np.maximum(day - self.left_day, 0)
        here = np.flatnonzero((gone < HABIT_ENDS_DAYS) & (day >= self._trait["join_day"]))
        habit = np.where(self.left_day[here] == NEVER, 1.0, HABIT * 0.5 ** (gone[here] / HABIT_HALF_LIFE_DAYS))
        keys, weekend = self._keys[here], self._trait["weekend"][here]
        lively = weekend if self._world.weekday[day] >= 5 else (7.0 - 2.0 * weekend) / 5.0
        pace = self._trait["rate"][here] * self._world.season[day] * lively
        steps = self._trait["regularity"][here] * pace * self._engagement[here] ** ORDERS_FOLLOW
        self._need[here] += steps * self._rate_boost[here]
        longing = 0.5 + np.minimum(self._need[here] / self._need_target[here], 1.0)
        looking = pace * self._engagement[here] ** VISITS_FOLLOW * habit * self._trait["visits"][here] * longing
        count = poisson(keys, Purpose.VISITS, day, looking, 5)
        self._visit(day, np.repeat(here, count))
        stays = self.left_day[here] == NEVER
        self._order(day, here[stays & (self._need[here] >= self._need_target[here])])

    def _price_pain(self, day: int) -> NDArray[np.float64]:
        """Hazard from prices of the favourites above what the user has got used to; sales do not count.

        A user learns prices by visiting.
        """
        logs = np.log(self._world.price_index[:, day])
        felt = sum(w * logs[self._trait["favourites"][:, slot]] for slot, w in enumerate(FAVOURITE_WEIGHTS))
        member = day < self._trait["loyalty_end"]
        asked = felt + np.where(member, np.log1p(-self._trait["loyalty_discount"]), 0.0)
        new = day <= self._trait["join_day"]
        self._felt_price = np.where(new | self._visited, asked, self._felt_price)
        self._visited[:] = False
        moved = self._price_reference + (self._felt_price - self._price_reference) / PRICE_FORGOTTEN_DAYS
        self._price_reference = np.where(new, asked, moved)
        gap = np.maximum(self._felt_price - self._price_reference - PRICE_TOLERANCE, 0.0)
        return np.asarray(PRICE_HAZARD * self._trait["price_sensitivity"] * gap)

    def _next_need(self, who: NDArray[np.int64]) -> NDArray[np.float64]:
        """Erlang thresholds for the coming order."""
        steps = [exponential(self._keys[who], Purpose.NEED, self._order_count[who] * 5 + i) for i in range(5)]
        needed = self._trait["regularity"][who]
        return np.asarray(sum(np.where(i < needed, step, 0.0) for i, step in enumerate(steps)))

    def _visit(self, day: int, who: NDArray[np.int64], *, email: bool = False, ordering: bool = False) -> None:
        """Note one visit for each entry; `who` is ascending and may repeat a user."""
        visits = np.zeros(len(who), VISIT)
        first = np.searchsorted(who, who)
        visits["who"], visits["day"], visits["email"] = who, day, email
        visits["number"] = self._visit_count[who] + np.arange(len(who)) - first
        visits["bored"], visits["mood"] = self._bored[who], self._mood[who]
        visits["order"] = self._order_count[who] if ordering else 0
        np.add.at(self._visit_count, who, 1)
        self._visited[who] = True
        self.visits.append(visits)

    def _order(self, day: int, who: NDArray[np.int64]) -> None:
        self._order_count[who] += 1
        self._last_order_day[who] = day
        self._visit(day, who, ordering=True)
        orders = np.zeros(len(who), ORDER)
        orders["who"], orders["day"], orders["number"] = who, day, self._order_count[who]
        orders["coupon"], self._coupon[who] = self._coupon[who], -1
        fates = order_fates(self._buyers[who], self._world, day, self._order_count[who])
        for name in FATE.names or ():
            orders[name] = fates[name]
        for kind, after, shock in ((0, "arrives", "delivery_shock"), (1, "complains", "service_shock")):
            self._pending[kind, (day + fates[after]) % RING_DAYS, who] += fates[shock]
        self.orders.append(orders)
        self._need[who] = 0.0
        self._need_target[who] = self._next_need(who)

    def _contact(self, day: int, who: NDArray[np.int64], campaign: int) -> NDArray[np.void]:
        contacts = np.zeros(len(who), CONTACT)
        contacts["who"], contacts["day"], contacts["campaign"] = who, day, campaign
        self.contacts.append(contacts)
        return contacts

    def _newsletter(self, day: int, who: NDArray[np.int64]) -> None:
        contacts = self._contact(day, who, -1)
        contacts["action"] = MESSAGE
        interest = uniform(self._keys[who], Purpose.INTEREST, day) / np.maximum(self._engagement[who], 0.01)
        stays = self.left_day[who] == NEVER
        contacts["opened"], contacts["clicked"] = stays & (interest < 0.3), stays & (interest < 0.07)
        self._visit(day, who[contacts["clicked"]], email=True)

    def _campaign(self, day: int, number: int, who: NDArray[np.int64]) -> None:
        """Assign arms at random."""
        contacts = self._contact(day, who, number)
        arm = np.searchsorted(self._world.arms, uniform(self._keys[who], Purpose.ARM, number), side="right")
        contacts["action"] = arm
        self._coupon[who[arm == COUPON]] = number
        self.act(day, who, arm)

    def act(self, day: int, who: NDArray[np.int64], action: NDArray[np.int64]) -> None:
        """Let the actions, 0 for none, work on `who` from today on."""
        self._boost_until[who[action > 0]] = day + EFFECT_DAYS
        messaged, couponed, called = (who[action == kind] for kind in (MESSAGE, COUPON, CALL))
        self._rate_boost[messaged] = 1.0 + self._trait["message_effect"][messaged]
        self._rate_boost[couponed] = 1.0 + self._trait["coupon_effect"][couponed]
        self._hazard_factor[couponed] = 1.0 / (1.0 + self._trait["coupon_effect"][couponed])
        self._hazard_factor[called] = 1.0 - self._trait["call_effect"][called]
