"""The abuse guard: who lives on coupons, refunds and cancellations in a way that few others do.

An isolation forest finds who is unlike the rest (Liu, Ting, Zhou 2008); being unlike is no abuse, so a user is suspected
only if at least one habit that costs the shop money is also far beyond what nearly all others show. That habit is the why.
Shares of few orders are drawn towards those of all, so that one refunded first order accuses nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from ebbtide.core.language import Language, Text, join_texts

HABITS: dict[str, Text] = {
    "coupon_share": Text("orders with a coupon {value:.0%}, usual {usual:.0%}", "用券订单 {value:.0%}，通常 {usual:.0%}"),
    "discount_share": Text("discount of {value:.0%} of list prices, usual {usual:.0%}", "折扣占标价 {value:.0%}，通常 {usual:.0%}"),
    "refund_share": Text("refunds per order {value:.2f}, usual {usual:.2f}", "每单退款 {value:.2f} 次，通常 {usual:.2f}"),
    "refunded_share": Text("{value:.0%} of the money refunded, usual {usual:.0%}", "退款金额占比 {value:.0%}，通常 {usual:.0%}"),
    "cancel_share": Text("cancellations per order {value:.2f}, usual {usual:.2f}", "每单取消 {value:.2f} 次，通常 {usual:.2f}"),
}  # fmt: skip
BEHAVIOUR_COLUMNS = (
    "user_id", "occurred_at", "ingested_at", "event_id", "type", "order_id", "value", "discount", "coupon",
)  # fmt: skip
UNLIKE = "vae_error"
_UNLIKE_WORDS = Text("a profile unlike other customers'", "画像与其他顾客明显不同")
LEAST_USERS = 100
_PULL = 3.0  # orders of the average customer that are added to everybody's
_BEYOND, _FAR = 0.975, 1.5  # a habit counts from 1.5 times as far from the median as this quantile is
_ODD = 0.6  # the score of an unremarkable user is about 0.5, of a stray one near 1; where nobody is odd, nobody is suspected
_TREES, _SAMPLE = 200, 256


@dataclass(frozen=True)
class Suspicion:
    """`suspected` (N,), `allowed` (N,): suspected, and overruled by name; `why` (N,) texts, None for who is not suspected."""

    suspected: NDArray[np.bool_]
    allowed: NDArray[np.bool_]
    why: tuple[Text | None, ...]

    @property
    def kept_back(self) -> NDArray[np.bool_]:
        """Who gets no discount, (N,)."""
        return self.suspected & ~self.allowed

    def list_of(self, user_id: pl.Series, language: Language) -> pl.DataFrame:
        """The suspected users: user_id, overruled, why."""
        rows = np.flatnonzero(self.suspected)
        said = [text[language] for text in self.why if text is not None]
        return pl.DataFrame(
            {"user_id": user_id.gather(rows), "overruled": self.allowed[rows], "why": pl.Series(said, dtype=pl.String)}
        )


def behaviour_of(known: pl.DataFrame) -> pl.DataFrame:
    """What each user of some events did that may cost the shop money: user_id, orders, and totals of coupons, discounts,
    refunds and cancellations. Order lines of one order count once; `listed` is the value before discount."""
    order, refund = pl.col("type") == "order", pl.col("type") == "refund"
    key = pl.coalesce("order_id", pl.col("occurred_at").dt.epoch("us").cast(pl.String))
    discount, value = pl.col("discount").fill_null(0.0), pl.col("value").fill_null(0.0)
    return known.group_by("user_id").agg(
        orders=key.filter(order).n_unique().cast(pl.Float64),
        coupons=key.filter(order & pl.col("coupon").is_not_null()).n_unique().cast(pl.Float64),
        discounted=discount.filter(order).sum(),
        listed=(discount + value).filter(order).sum(),
        earned=value.filter(order).sum(),
        refunds=pl.coalesce("order_id", "event_id").filter(refund).n_unique().cast(pl.Float64),
        refunded=value.filter(refund).sum().abs(),
        cancels=(pl.col("type") == "order_cancel").sum().cast(pl.Float64),
    )


def suspect(
    behaviour: pl.DataFrame, *, share: float, allow: list[str], seed: int, unlike: NDArray[np.float64] | None = None
) -> Suspicion:
    """Who is suspected among the rows of `behaviour_of`, at most `share` of them; nobody among fewer than 100 users.

    `allow`: users who are not kept back, whatever they do. `unlike` (N,): the error of an autoencoder where one was
    trained; it helps to say who is unlike others, and accuses nobody alone.
    """
    users = behaviour["user_id"]
    allowed = users.is_in(pl.Series(allow, dtype=pl.String).implode()).to_numpy()
    if len(users) < LEAST_USERS:
        return Suspicion(np.zeros(len(users), np.bool_), allowed, (None,) * len(users))
    shares = habits_of(behaviour)
    X = shares if unlike is None else np.column_stack([shares, np.nan_to_num(unlike, nan=float(np.nanmedian(unlike)))])
    edge, usual = np.quantile(shares, _BEYOND, axis=0), np.median(shares, axis=0)
    beyond = shares - usual > np.maximum(_FAR * (edge - usual), 1e-9)
    oddness = _oddness(X, seed)
    candidates = np.flatnonzero(beyond.any(axis=1))
    most = int(share * len(users))
    chosen = candidates[np.argsort(-oddness[candidates], kind="stable")][:most]
    suspected = np.zeros(len(users), np.bool_)
    suspected[chosen[oddness[chosen] > _ODD]] = True
    strange = np.zeros(len(users), np.bool_) if unlike is None else X[:, -1] > np.quantile(X[:, -1], _BEYOND)
    why = tuple(
        _why(shares[i], beyond[i], usual, bool(strange[i])) if suspected[i] else None for i in range(len(users))
    )
    return Suspicion(suspected, allowed & suspected, why)


def habits_of(behaviour: pl.DataFrame) -> NDArray[np.float64]:
    """The shares of HABITS, (N, H), each drawn towards that of all users by the weight of three average orders."""
    columns = {name: behaviour[name].fill_null(0.0).to_numpy() for name in behaviour.columns if name != "user_id"}
    orders = columns["orders"]
    average = {name: values.sum() / max(orders.sum(), 1.0) for name, values in columns.items()}

    def share(part: str, whole: str) -> NDArray[np.float64]:
        wholes = np.maximum(columns[whole] + _PULL * average[whole], 1e-9)
        return np.asarray((columns[part] + _PULL * average[part]) / wholes, np.float64)

    parts = [
        ("coupons", "orders"),
        ("discounted", "listed"),
        ("refunds", "orders"),
        ("refunded", "earned"),
        ("cancels", "orders"),
    ]
    return np.column_stack([share(part, whole) for part, whole in parts])


def _oddness(X: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    forest = IsolationForest(n_estimators=_TREES, max_samples=min(_SAMPLE, len(X)), random_state=seed)
    return np.asarray(-forest.fit(X).score_samples(X), np.float64)


def _why(shares: NDArray[np.float64], beyond: NDArray[np.bool_], usual: NDArray[np.float64], strange: bool) -> Text:
    texts = [words.format(value=shares[h], usual=usual[h]) for h, words in enumerate(HABITS.values()) if beyond[h]]
    return join_texts([*texts, *([_UNLIKE_WORDS] if strange else [])])
