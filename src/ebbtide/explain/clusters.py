"""Groups of users with alike behaviour, found by K-means on a few scaled facts, and named by what stands out.

Facts are taken as logarithms where they are counts, days or money, and brought to mean 0 and deviation 1. Users without
an outcome event belong to no group. Groups are numbered from 1, the most outcome days first, so that a number means
something; the same users give the same groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from ebbtide.core.ids import hash_texts
from ebbtide.core.language import Text, join_texts
from ebbtide.core.nullable import nullable

_AT_MOST = 20_000
_STARTS = 4
_STANDS_OUT = 0.5
_MOST_WORDS = 3
_PLACES = 6


@dataclass(frozen=True)
class _Trait:
    """One fact: whether it is taken as a logarithm, and what is said of a group with much or little of it."""

    logarithm: bool
    much: Text
    little: Text


_TRAITS: dict[str, _Trait] = {
    "outcome_days": _Trait(True, Text("come often", "常来"), Text("come seldom", "少来")),
    "days_since_outcome": _Trait(True, Text("long silent", "沉默已久"), Text("here lately", "最近来过")),
    "days_since_first": _Trait(True, Text("long known", "老顾客"), Text("known for a short time", "认识不久")),
    "average_order_value": _Trait(True, Text("large orders", "单笔金额高"), Text("small orders", "单笔金额低")),
    "coupon_share": _Trait(False, Text("often with a coupon", "常用优惠券"), Text("without coupons", "不用优惠券")),
    "refund_share": _Trait(False, Text("many refunds", "退款多"), Text("hardly a refund", "很少退款")),
    "support_contacts": _Trait(True, Text("often in touch with support", "常联系客服"), Text("no support", "不找客服")),
}
_AVERAGE = Text("average", "一般")


@dataclass(frozen=True)
class Clusters:
    """`traits` (D,): the facts that vary; `mean`, `spread` (D,): their scale; `centres` (K, D), scaled."""

    traits: tuple[str, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    centres: tuple[tuple[float, ...], ...]

    def number(self, facts: pl.DataFrame) -> pl.Series:
        """The group of each user, 1 to K; null without an outcome event. Columns in: the traits, `outcome_days`."""
        Z = (_matrix(facts, self.traits) - np.array(self.mean)) / np.array(self.spread)
        Z = np.nan_to_num(Z)  # an unknown fact says nothing: the shop's mean
        far = ((Z[:, None, :] - np.array(self.centres)[None]) ** 2).sum(axis=2)  # (N, K)
        known = facts["outcome_days"].is_not_null().to_numpy()
        return nullable(far.argmin(axis=1).astype(np.int64) + 1, known).alias("cluster")

    def names(self) -> tuple[Text, ...]:
        """Each group in words, from what stands out in its centre; alike ones differ by their number."""
        found = [self._name(centre) for centre in self.centres]
        said = [name.en for name in found]
        return tuple(
            name + Text(f" ({i})", f"（{i}）") if said.count(name.en) > 1 else name for i, name in enumerate(found, 1)
        )

    def _name(self, centre: tuple[float, ...]) -> Text:
        order = sorted(range(len(centre)), key=lambda i: -abs(centre[i]))[:_MOST_WORDS]
        traits = [(_TRAITS[self.traits[i]], centre[i]) for i in order if abs(centre[i]) >= _STANDS_OUT]
        words = [trait.much if z > 0 else trait.little for trait, z in traits]
        return join_texts(words, Text(", ", "、")) if words else _AVERAGE

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {k: list(v) for k, v in vars(self).items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        centres = tuple(tuple(c) for c in data["centres"])
        return cls(tuple(data["traits"]), tuple(data["mean"]), tuple(data["spread"]), centres)


def fit_clusters(facts: pl.DataFrame, count: int, *, seed: int = 0) -> Clusters | None:
    """At most `count` groups of the users with an outcome event; None where fewer than two can be told apart.

    At most 20,000 users are looked at, a stable sample. Columns in: user_id, outcome_days, and what is known of the
    traits; a trait that is the same for everybody is left out.
    """
    users = _sample(facts.filter(pl.col("outcome_days").is_not_null()))
    whole = _matrix(users, tuple(_TRAITS))
    with np.errstate(invalid="ignore"):
        spread = np.array([np.nanstd(c) if np.isfinite(c).any() else 0.0 for c in whole.T])
    kept = [i for i, s in enumerate(spread) if s > 1e-9]
    if not kept:
        return None
    mean = np.asarray(np.round(np.nanmean(whole[:, kept], axis=0), _PLACES), np.float64)
    scale = np.round(spread[kept], _PLACES) + 10.0**-_PLACES
    Z = np.nan_to_num((whole[:, kept] - mean) / scale)
    distinct = len(np.unique(Z, axis=0))
    if distinct < 2:
        return None
    centres = KMeans(min(count, distinct), n_init=_STARTS, random_state=seed).fit(Z).cluster_centers_
    names = tuple(list(_TRAITS)[i] for i in kept)
    ordered = np.round(centres[np.argsort(-centres[:, _leader(names)], kind="stable")], _PLACES)
    rows = tuple(tuple(float(z) for z in centre) for centre in ordered)
    return Clusters(names, tuple(mean.tolist()), tuple(scale.tolist()), rows)


def _leader(names: tuple[str, ...]) -> int:
    return names.index("outcome_days") if "outcome_days" in names else 0


def _sample(users: pl.DataFrame) -> pl.DataFrame:
    """A stable sample, sorted by user, so that the order of the shards does not matter."""
    if len(users) > _AT_MOST:
        luck = pl.Series(hash_texts(users["user_id"], seed=11))
        users = users.filter(luck <= luck.sort()[_AT_MOST - 1])
    return users.sort("user_id")


def _matrix(facts: pl.DataFrame, traits: tuple[str, ...]) -> NDArray[np.float64]:
    """(N, D), NaN = unknown."""
    if not traits:
        return np.empty((len(facts), 0))
    values = facts.select_seq(pl.col(traits).cast(pl.Float64)).to_numpy()
    logarithm = [_TRAITS[name].logarithm for name in traits]
    return np.where(logarithm, np.log1p(np.maximum(values, 0.0)), values)
