"""The shadow: a challenger scores a sample of the users whom events touch, beside the model in service, for comparison only.

Both score the same events at the same moment. Nothing is answered, stored as a score or alerted from it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from ebbtide.core.windows import to_us
from ebbtide.models.bundle import Bundle
from ebbtide.pipeline.fit_for_service import check_fits
from ebbtide.pipeline.live_shop import LiveShop
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.score import score_shard
from ebbtide.store.challenges import Challenges

SAMPLE = 200
"""Users of one round, at most."""
REMEMBERED = 10_000
_EVENTS = 20_000


@dataclass(frozen=True)
class Rivalry:
    """A challenger beside the model in service, over the newest `users` users whom both scored, each counted once.

    `mean_difference` and `mean_absolute_difference`: challenger minus served, in probability; `rank_correlation`:
    Spearman's, None where a model gives everybody the same; `band_changes`: share of users in another band.
    """

    serving: str
    challenger: str
    users: int
    mean_difference: float
    mean_absolute_difference: float
    rank_correlation: float | None
    band_changes: float

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return asdict(self)


class Shadow:
    """Follows the inbox of a shop from now on with the challenger of that name."""

    def __init__(self, shop: LiveShop, name: str, *, seed: int = 0) -> None:
        self._shop, self._name, self._rng = shop, name, np.random.default_rng(seed)
        self._position = shop.inbox.newest(shop.shop_id)
        self._challenger: Bundle | None = None
        self._serving = ""
        self._pairs: OrderedDict[str, tuple[float, float, bool]] = OrderedDict()

    def compare(self) -> Rivalry | None:
        """Compare on the users touched since the last call and keep the figures; None if there was nobody to compare.

        Raises MissingBundleError if the challenger is not there, damaged, or cannot be filled from this shop's events.
        """
        shop = self._shop
        if shop.serving is None or shop.serving == self._name:
            return None
        challenger = self._loaded()
        touched, self._position = shop.inbox.touched(shop.shop_id, self._position, _EVENTS)
        if not touched:
            return None
        self._score(self._sample(touched), challenger)
        if not self._pairs:
            return None
        found = self._figures()
        Challenges(shop.database).put(shop.shop_id, self._serving, self._name, found.to_json(), to_us(shop.now()))
        return found

    def _loaded(self) -> Bundle:
        if self._challenger is None:
            bundle = Places(self._shop.root).shelf().load(self._name)
            check_fits(bundle, self._shop.root)
            self._challenger = bundle
        return self._challenger

    def _sample(self, touched: Sequence[str]) -> list[str]:
        if len(touched) <= SAMPLE:
            return list(touched)
        return [touched[k] for k in self._rng.choice(len(touched), SAMPLE, replace=False)]

    def _score(self, users: Sequence[str], challenger: Bundle) -> None:
        shop, served = self._shop, self._shop.served.bundle
        if served.id != self._serving:
            self._serving, self._pairs = served.id, OrderedDict()
        events, as_of = shop.histories.of_users(users), shop.now()
        columns = ["user_id", "churn_probability", "band"]
        first, second = (score_shard(events, as_of, b, reasons="none").select(columns) for b in (served, challenger))
        for user, p, band, q, other in first.join(second, on="user_id", suffix="_there").iter_rows():
            self._pairs[user] = (p, q, band != other)
            self._pairs.move_to_end(user)
        while len(self._pairs) > REMEMBERED:
            self._pairs.popitem(last=False)

    def _figures(self) -> Rivalry:
        p, q, changed = (np.asarray(column, np.float64) for column in zip(*self._pairs.values(), strict=True))
        ranks = [rankdata(x) for x in (p, q)]
        tells = len(p) > 1 and all(np.ptp(r) > 0 for r in ranks)
        return Rivalry(
            self._serving, self._name, len(p), float(np.mean(q - p)), float(np.mean(np.abs(q - p))),
            float(np.corrcoef(*ranks)[0, 1]) if tells else None, float(changed.mean()),
        )  # fmt: skip
