"""The evidence for and against each candidate: one row of numbers a pair of user and item.

All of it follows from the user's own history and the frozen item tables, so that one user asked about alone gets what
everybody gets in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from ebbtide.actions.recommend.factors import WEIGHTS
from ebbtide.actions.recommend.interactions import BOUGHT, CART, VIEW, WISH, Interactions
from ebbtide.actions.recommend.pairs import best_columns, keys_of, looked_up
from ebbtide.actions.recommend.tables import ItemTables

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NAMES = (
    "bought", "bought_7d", "bought_30d", "bought_120d", "bought_days", "own_gap", "due_own", "due_item", "again",
    "item_gap", "viewed", "viewed_3d", "viewed_14d", "viewed_60d", "viewed_days", "carted_14d", "wished_30d",
    "together", "together_rank", "shared", "shared_rank", "last_basket", "als", "als_rank",
    "sold_7d", "sold_30d", "sold_120d", "trend", "looked_at", "item_age_days", "category_share", "category_love", "log_price",
    "price_step", "orders", "silent_days", "usual_gap", "basket_size", "repeats", "met_items",
)  # fmt: skip
"""The columns, in order; unknown is NaN."""
_DAYS = 86_400_000_000
_NEVER = 10_000.0
FROM_EACH = 60
OWN_MOST = 400


@dataclass(frozen=True)
class Candidates:
    """N pairs. user, item (N,): places, ascending by user, then item. X (N, F): the columns `NAMES`."""

    user: Ints
    item: Ints
    X: NDArray[np.float32]

    def take(self, rows: NDArray[np.bool_] | Ints) -> Candidates:
        """The candidates at `rows`, a mask or ascending positions."""
        return Candidates(self.user[rows], self.item[rows], self.X[rows])

    @classmethod
    def joined(cls, parts: Sequence[Candidates]) -> Candidates:
        """Several as one, in the order given; their users must ascend."""
        if not parts:
            return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, len(NAMES)), np.float32))
        user, item, X = (np.concatenate([getattr(p, name) for p in parts]) for name in ("user", "item", "X"))
        return cls(user, item, X)

    def column(self, name: str) -> NDArray[np.float32]:
        """One column, (N,)."""
        return self.X[:, NAMES.index(name)]


def candidates_of(
    known: Interactions, tables: ItemTables, allowed: NDArray[np.bool_], *, from_each: int = FROM_EACH
) -> Candidates:
    """The candidates of a block of users, each with its evidence: what they bought or looked at themselves, and the
    `from_each` best of every source. `allowed` (I,): the items that may be shown."""
    count = len(tables)
    together, shared, last = _neighbour_scores(known, tables)
    users = tables.factors.users(known) if tables.factors else None
    found = [
        _own_keys(known, count),
        _best_keys(together, from_each),
        _best_keys(shared, from_each),
        _best_keys(last, 30),
    ]
    if users is not None and tables.factors is not None:
        liked = users @ tables.factors.Y.T
        liked[:, ~allowed] = -np.inf
        found.append(_row_keys(best_columns(liked, from_each), count))
    for half_life in range(2):
        sold = np.where(allowed, tables.sold[half_life], -1.0).astype(np.float32)
        usual = best_columns(sold[None, :], from_each // 2)
        found.append(_row_keys(np.repeat(usual, len(known), axis=0), count))
    key = np.unique(np.concatenate(found))
    key = key[allowed[key % count]]
    user, item = key // count, key % count
    columns = {
        **_own(known, key, tables),
        **_ranked("together", together, key, user),
        **_ranked("shared", shared, key, user),
        "last_basket": _entries(last, key),
        **_als(users, tables, user, item),
        **_of_item(tables, item),
        **_of_user(known, tables, user, item),
    }
    return Candidates(user, item, np.column_stack([columns[name] for name in NAMES]).astype(np.float32))


def _own(known: Interactions, key: Ints, tables: ItemTables) -> dict[str, Floats]:
    """What this user did with this item."""
    bought = _Seen.of(known, (BOUGHT,), len(tables))
    viewed = _Seen.of(known, (VIEW,), len(tables))
    carted, wished = (_Seen.of(known, (kind,), len(tables)) for kind in (CART, WISH))
    item = key % len(tables)
    times, days = bought.count(key), bought.last_days(key)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.where(times > 1, bought.span_days(key) / (times - 1), np.nan)
        usual = tables.rhythm.gap_days[item]
        return {
            "bought": times,
            **{f"bought_{h}d": bought.decayed(key, h) for h in (7, 30, 120)},
            "bought_days": np.where(times > 0, days, np.nan),
            "own_gap": gap,
            "due_own": days / np.maximum(gap, 0.5),
            "due_item": np.where(times > 0, days / np.maximum(usual, 0.5), np.nan),
            "again": tables.rhythm.again[item],
            "item_gap": usual,
            "viewed": viewed.count(key),
            **{f"viewed_{h}d": viewed.decayed(key, h) for h in (3, 14, 60)},
            "viewed_days": np.where(viewed.count(key) > 0, viewed.last_days(key), np.nan),
            "carted_14d": carted.decayed(key, 14),
            "wished_30d": wished.decayed(key, 30),
        }


@dataclass(frozen=True)
class _Seen:
    """The meetings of some kinds, sorted by pair: key (E,), age_days (E,), times (E,)."""

    key: Ints
    age_days: Floats
    times: Floats

    @classmethod
    def of(cls, known: Interactions, kinds: tuple[int, ...], items: int) -> _Seen:
        counted = np.isin(known.kind, kinds)
        key = keys_of(known.user[counted], known.item[counted], items)
        order = np.lexsort((known.at_us[counted], key))
        return cls(key[order], known.age_days[counted][order], known.times[counted][order])

    def count(self, asked: Ints) -> Floats:
        """How many baskets of the kind hold the pair."""
        left, right = (np.searchsorted(self.key, asked, side=side) for side in ("left", "right"))
        return (right - left).astype(np.float64)

    def decayed(self, asked: Ints, half_life_days: float) -> Floats:
        """The same, each basket counting less with its age and a little more the more often it holds the pair."""
        weight = np.log2(1 + self.times) * 0.5 ** (self.age_days / half_life_days)
        total = np.concatenate([[0.0], np.cumsum(weight)])
        left, right = (np.searchsorted(self.key, asked, side=side) for side in ("left", "right"))
        return np.where(right > left, total[right] - total[left], 0.0)

    def last_days(self, asked: Ints) -> Floats:
        """Days since the latest meeting, `_NEVER` where there was none."""
        right = np.searchsorted(self.key, asked, side="right")
        met = right > np.searchsorted(self.key, asked, side="left")
        return np.where(met, self.age_days[np.maximum(right - 1, 0)] if len(self.key) else _NEVER, _NEVER)

    def span_days(self, asked: Ints) -> Floats:
        """Days from the first meeting to the latest, 0 where there were fewer than two."""
        left, right = (np.searchsorted(self.key, asked, side=side) for side in ("left", "right"))
        if not len(self.key):
            return np.zeros(len(asked))
        first, last = np.minimum(left, len(self.key) - 1), np.maximum(right - 1, 0)
        return np.where(right > left, self.age_days[first] - self.age_days[last], 0.0)


def _neighbour_scores(known: Interactions, tables: ItemTables) -> tuple[sparse.csr_array, ...]:
    """What goes with what the user bought or looked at, three (B, I): by baskets, by customers, with the last basket."""
    shape = (len(known), len(tables))
    weight = np.asarray([WEIGHTS[k] for k in range(len(WEIGHTS))])[known.kind]
    weight = weight * 0.5 ** (known.age_days / 60.0)
    met = sparse.csr_array((weight, (known.user, known.item)), shape=shape)
    newest = np.full(len(known), -1, np.int64)
    bought = known.kind == BOUGHT
    np.maximum.at(newest, known.user[bought], known.at_us[bought])
    latest = bought & (known.at_us >= newest[known.user] - _DAYS)
    last = sparse.csr_array((np.ones(latest.sum()), (known.user[latest], known.item[latest])), shape=shape)
    found = (met @ tables.together.strength, met @ tables.shared.strength, last @ tables.together.strength)
    for scores in found:
        scores.sort_indices()
    return found


def _ranked(name: str, scores: sparse.csr_array, key: Ints, user: Ints) -> dict[str, Floats]:
    """A source's score of each pair, and its place among the user's candidates."""
    value = _entries(scores, key)
    return {name: value, f"{name}_rank": _places(value, user)}


def _entries(scores: sparse.csr_array, key: Ints) -> Floats:
    rows = np.repeat(np.arange(scores.shape[0]), np.diff(scores.indptr))
    return looked_up(key, keys_of(rows, scores.indices, scores.shape[1]), scores.data.astype(np.float64))


def _places(value: Floats, user: Ints) -> Floats:
    """The place of each value among its user's, 0 = greatest; `user` ascending."""
    order = np.lexsort((np.arange(len(value)), -value, user))
    first = np.searchsorted(user, user)
    place = np.empty(len(value))
    place[order] = np.arange(len(value))
    return place - first


def _als(users: NDArray[np.float32] | None, tables: ItemTables, user: Ints, item: Ints) -> dict[str, Floats]:
    if users is None or tables.factors is None:
        return {name: np.full(len(user), np.nan) for name in ("als", "als_rank")}
    liked = np.einsum("nf,nf->n", users[user], tables.factors.Y[item]).astype(np.float64)
    return {"als": liked, "als_rank": _places(liked, user)}


def _of_item(tables: ItemTables, item: Ints) -> dict[str, Floats]:
    sold = {f"sold_{h}d": np.log1p(tables.sold[k][item]) for k, h in enumerate((7, 30, 120))}
    return {
        **sold,
        "trend": sold["sold_7d"] - sold["sold_30d"],
        "looked_at": np.log1p(tables.looked_at[item]),
        "item_age_days": tables.age_days[item],
        "log_price": tables.log_price[item],
    }


def _of_user(known: Interactions, tables: ItemTables, user: Ints, item: Ints) -> dict[str, Floats]:
    """What the user is like, and how the item's category and price fit."""
    bought = known.kind == BOUGHT
    who, what = known.user[bought], known.item[bought]
    lines = np.bincount(who, minlength=len(known)).astype(np.float64)
    baskets = np.bincount(_firsts(known.basket[bought], who), minlength=len(known)).astype(np.float64)
    distinct = np.bincount(np.unique(keys_of(who, what, len(tables))) // len(tables), minlength=len(known))
    met = np.bincount(np.unique(keys_of(known.user, known.item, len(tables))) // len(tables), minlength=len(known))
    newest, oldest = np.full(len(known), -np.inf), np.full(len(known), np.inf)
    np.maximum.at(newest, who, known.at_us[bought].astype(np.float64))
    np.minimum.at(oldest, who, known.at_us[bought].astype(np.float64))
    span = np.where(np.isfinite(newest), np.nan_to_num(newest - oldest, posinf=0.0, neginf=0.0), 0.0) / _DAYS
    with np.errstate(divide="ignore", invalid="ignore"):
        silent = np.where(np.isfinite(newest), (known.as_of_us - newest) / _DAYS, np.nan)
        usual_price = _mean_price(tables, who, what, len(known))
        return {
            "category_share": _category_share(known, tables, user, item, 60.0),
            "category_love": _category_share(known, tables, user, item, np.inf),
            "price_step": tables.log_price[item] - usual_price[user],
            "orders": baskets[user],
            "silent_days": silent[user],
            "usual_gap": np.where(baskets > 1, span / np.maximum(baskets - 1, 1), tables.rhythm.usual_days)[user],
            "basket_size": (lines / baskets)[user],
            "repeats": (1 - distinct / lines)[user],
            "met_items": met[user].astype(np.float64),
        }


def _firsts(basket: Ints, who: Ints) -> Ints:
    """The owner of each distinct basket."""
    _, first = np.unique(basket, return_index=True)
    return who[first]


def _mean_price(tables: ItemTables, who: Ints, what: Ints, users: int) -> Floats:
    price = tables.log_price[what]
    told = np.isfinite(price)
    count = np.bincount(who[told], minlength=users)
    return np.where(count > 0, np.bincount(who[told], price[told], minlength=users) / count, np.nan)


def _category_share(known: Interactions, tables: ItemTables, user: Ints, item: Ints, half_life_days: float) -> Floats:
    """Share of the user's decayed meetings that were with the item's category; NaN where it has none."""
    kinds = int(tables.category.max(initial=-1)) + 1
    if not kinds:
        return np.full(len(user), np.nan)
    category = tables.category[known.item]
    told = category >= 0
    weight = np.asarray([WEIGHTS[k] for k in range(len(WEIGHTS))])[known.kind] * 0.5 ** (
        known.age_days / half_life_days
    )
    key = keys_of(known.user[told], category[told], kinds)
    held, place = np.unique(key, return_inverse=True)
    total = np.bincount(place, weight[told], minlength=len(held)).astype(np.float64)
    whole = np.bincount(known.user, weight, minlength=len(known))
    asked = keys_of(user, np.maximum(tables.category[item], 0), kinds)
    share = looked_up(asked, held, total) / np.maximum(whole[user], 1e-12)
    return np.where(tables.category[item] >= 0, share, np.nan)


def _own_keys(known: Interactions, items: int) -> Ints:
    """The pairs that met, the newest `OWN_MOST` meetings of each user."""
    place = np.repeat(known.start[1:], np.diff(known.start)) - np.arange(len(known.item))
    recent = place <= OWN_MOST
    return np.unique(keys_of(known.user[recent], known.item[recent], items))


def _best_keys(scores: sparse.csr_array, count: int) -> Ints:
    """The keys of the `count` greatest entries of each row of a sparse (B, I)."""
    rows = np.repeat(np.arange(scores.shape[0]), np.diff(scores.indptr))
    order = np.lexsort((scores.indices, -scores.data, rows))
    kept = np.arange(len(rows)) - np.repeat(scores.indptr[:-1], np.diff(scores.indptr)) < count
    return keys_of(rows[kept], scores.indices[order][kept], scores.shape[1])


def _row_keys(columns: Ints, items: int) -> Ints:
    rows = np.repeat(np.arange(len(columns)), columns.shape[1])
    return keys_of(rows, columns.ravel(), items)
