"""Which features a question gets by default: declarations with windows fitted to horizon and history."""

from __future__ import annotations

from collections.abc import Iterable

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.features.declarations import (
    ActiveDays,
    Calendar,
    Count,
    Decayed,
    Distinct,
    Feature,
    Gap,
    GapQuantile,
    LagBlock,
    Lifetime,
    Mean,
    PerOrder,
    Recency,
    Share,
    Sum,
    Tenure,
    Trend,
)

_ROUND_DAYS = (1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 120, 180, 270, 365, 540, 730, 1095, 1460)


def window_days(definition: ChurnDefinition, history_days: float) -> tuple[int, ...]:
    """The windows: a calendar ladder and multiples of horizon and eligibility, none finer than a twelfth of the
    horizon or longer than the history, and no two within 15 %.

    >>> window_days(ChurnDefinition(horizon_days=90), 400)
    (14, 22, 30, 45, 60, 90, 180, 360)
    """
    h, e = definition.horizon_days, definition.eligible_days
    preferred = [h, 2 * h, h / 2, 4 * h, h / 4, e]
    ladder = [1, 3, 7, 14, 30, 60, 90, 180, 365, 730, 1460]
    kept: list[int] = []
    for days in map(round, [*preferred, *ladder]):
        fits = max(1, h / 12) <= days <= max(history_days, h)
        if fits and all(abs(days - k) > 0.15 * max(days, k) for k in kept):
            kept.append(days)
    return tuple(sorted(kept))


def half_life_days(definition: ChurnDefinition, history_days: float) -> tuple[int, ...]:
    """Half-lives from an eighth of the horizon to twice the horizon, at most half the history, in round numbers."""
    wanted = [definition.horizon_days * m for m in (1 / 8, 1 / 4, 1 / 2, 1, 2)]
    longest = max(history_days / 2, definition.horizon_days / 2)
    rounded = {min(_ROUND_DAYS, key=lambda r: abs(r - w)) for w in wanted if w <= longest}
    return tuple(sorted(rounded))


def default_features(definition: ChurnDefinition, history_days: float) -> tuple[Feature, ...]:
    """The declarations, in column order, without repetition."""
    h = max(1, round(definition.horizon_days))
    windows = window_days(definition, history_days)
    lives = half_life_days(definition, history_days)
    few = tuple(d for d in windows if d in (h, 2 * h, 4 * h)) or windows[-1:]
    found: list[Feature] = []
    found += _outcome(h, windows, lives, history_days)
    found += _money("outcome", windows, few, lives, h)
    if definition.outcome != ("any",):
        found += _activity("any", few, lives[1::2], h)
    if definition.outcome != ("order",):
        found += _activity("order", few, lives[1::2], h)
        found += _money("order", few, few, lives[1::2], h)
    found += _browsing(few, lives[1::2], h)
    found += _items(few)
    found += _service(few)
    found += [Calendar("month_sin"), Calendar("month_cos"), Calendar("weekday"), Calendar("days_to_year_end")]
    return tuple(dict.fromkeys(found))


def _outcome(h: int, windows: tuple[int, ...], lives: tuple[int, ...], history_days: float) -> Iterable[Feature]:
    of = "outcome"
    yield from (Lifetime("repeat_days"), Lifetime("last_age_days"), Lifetime("age_days"))
    yield from (Recency(of), Tenure(of))
    yield from (GapQuantile(of, q) for q in (0.1, 0.25, 0.5, 0.75, 0.9))
    for stat in (
        "mean", "sd", "variation", "last", "longest", "last_over_mean", "recent_over_mean",
        "silence_over_median", "silence_over_longest", "silence_score", "silence_rank", "regularity",
    ):  # fmt: skip
        yield Gap(of, stat)
    yield Count(of)
    yield from (Count(of, d) for d in windows)
    yield from (ActiveDays(of, d) for d in windows if d > 1)
    yield from (Decayed(of, life) for life in lives)
    yield from (Trend(Count(of), d) for d in windows if 2 * d <= history_days and d > 1)
    blocks = range(1, min(8, int(history_days // h)))
    yield from (LagBlock(of, k, h) for k in blocks)
    if h > 14:
        yield from (LagBlock(of, k, 7) for k in range(4) if h < 60)
    if history_days >= 365 + h and h <= 180:
        yield from (LagBlock(of, k, h) for k in {round(365 / h) - 1})


def _money(
    of: str, windows: tuple[int, ...], few: tuple[int, ...], lives: tuple[int, ...], h: int
) -> Iterable[Feature]:
    yield from (Sum("value", of, d) for d in (*windows, None))
    yield from (PerOrder("value", of, d) for d in (*few, None))
    yield from (Decayed(of, life, "value") for life in lives[1::2])
    yield Trend(Sum("value", of), h)
    yield from (Sum("quantity", of, d) for d in (h, None))
    yield PerOrder("quantity", of, None)
    yield from (Mean("unit_price", of, d) for d in (h, None))
    yield from (Mean("discount", of, d) for d in (h, None))
    yield from (Share("order.discounted", "order", d) for d in (h, None))
    yield from (Share("order.coupon", "order", d) for d in (h, None))


def _activity(of: str, few: tuple[int, ...], lives: tuple[int, ...], h: int) -> Iterable[Feature]:
    yield from (Recency(of), Tenure(of), GapQuantile(of, 0.5), Gap(of, "silence_over_median"))
    yield from (Count(of, d) for d in (*few, None))
    yield from (ActiveDays(of, d) for d in few)
    yield from (Decayed(of, life) for life in lives)
    yield Trend(Count(of), h)


def _browsing(few: tuple[int, ...], lives: tuple[int, ...], h: int) -> Iterable[Feature]:
    for of in ("session_start", "product_view", "page_view", "search", "cart_add", "wishlist_add"):
        yield Recency(of)
        yield from (Count(of, d) for d in few)
        yield from (Decayed(of, life) for life in lives)
        yield Trend(Count(of), h)
    for d in (h, None):
        yield Share("order", "product_view", d)
        yield Share("cart_add", "product_view", d)
        yield Share("order", "cart_add", d)
        yield Share("cart_remove", "cart_add", d)
        yield Share("order", "checkout_start", d)
        yield Share("product_view", "search", d)
        yield Share("order", "search", d)
        yield Share("promo_click", "promo_view", d)
        yield Share("promo_click", "message", d)


def _items(few: tuple[int, ...]) -> Iterable[Feature]:
    for d in (*few, None):
        yield Distinct("outcome", "item_id", d)
        yield Distinct("outcome", "category", d)
        yield Distinct("any", "brand", d)


def _service(few: tuple[int, ...]) -> Iterable[Feature]:
    for d in (few[0], None):
        yield Share("refund", "order", d)
        yield Share("order_cancel", "order", d)
        yield Sum("value", "refund", d)
        yield Count("delivery.late", d)
        yield Mean("days_late", "delivery", d)
        yield Count("support", d)
        yield Mean("rating", "support", d)
        yield Count("review.low", d)
        yield Mean("rating", "review", d)
        yield Count("coupon", d)
        yield Count("promo_view", d)
        yield Count("message", d)
    yield from (Recency(of) for of in ("refund", "support", "delivery.late", "review", "message"))
