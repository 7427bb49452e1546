"""Which features a question gets by default: declarations with windows fitted to horizon and history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ebbtide.churn.definition import ANY, ChurnDefinition
from ebbtide.features.declarations import (
    ActiveBlocks,
    ActiveDays,
    Calendar,
    Count,
    Decayed,
    DiscountShare,
    Distinct,
    Entropy,
    FavouriteShare,
    Feature,
    Followed,
    Gap,
    GapQuantile,
    LagBlock,
    LastTone,
    LastValue,
    Lifetime,
    Mean,
    Novelty,
    OrderTrait,
    PerOrder,
    Rate,
    Ratio,
    Recency,
    RefundShare,
    Share,
    Shift,
    Sum,
    Tenure,
    Tone,
    Trend,
    VisitTrait,
)

_ROUND_DAYS = (1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 120, 180, 270, 365, 540, 730, 1095, 1460)
_LADDER_DAYS = (1, 3, 7, 14, 30, 60, 90, 180, 365, 730, 1460)
_GAP_STATS = (
    "mean", "sd", "variation", "last", "longest", "last_over_mean", "recent_over_mean",
    "silence_over_median", "silence_over_longest", "silence_score", "silence_rank", "regularity",
)  # fmt: skip
_ORDER_STATS = (
    "first_value", "first_lines", "first_discount_share", "first_coupon", "second_after_days",
    "last_value", "largest_value", "variation", "last_over_mean", "recent_over_mean",
)  # fmt: skip
_HALF_HOUR_DAYS = 1 / 48


@dataclass(frozen=True)
class _Span:
    """The windows of one question: all, a few around the horizon, the horizon itself; half-lives, all and a few."""

    horizon: int
    history: float
    windows: tuple[int, ...]
    few: tuple[int, ...]
    lives: tuple[int, ...]
    some_lives: tuple[int, ...]


def window_days(definition: ChurnDefinition, history_days: float) -> tuple[int, ...]:
    """The windows: a calendar ladder and multiples of horizon and eligibility, none finer than a fifteenth of the
    horizon or longer than the history, and no two within a fifth of each other.

    >>> window_days(ChurnDefinition(horizon_days=90), 400)
    (7, 14, 22, 30, 45, 60, 90, 180, 360)
    """
    h, e = definition.horizon_days, definition.eligible_days
    kept: list[int] = []
    for days in map(round, (h, 2 * h, h / 2, 4 * h, h / 4, e, *_LADDER_DAYS)):
        fits = max(1, h / 15) <= days <= max(history_days, h)
        if fits and all(abs(days - k) >= 0.2 * max(days, k) for k in kept):
            kept.append(days)
    return tuple(sorted(kept))


def half_life_days(definition: ChurnDefinition, history_days: float) -> tuple[int, ...]:
    """Half-lives from an eighth of the horizon to twice the horizon, at most half the history, in round numbers."""
    longest = max(history_days, definition.horizon_days) / 2
    wanted = [definition.horizon_days * m for m in (1 / 8, 1 / 4, 1 / 2, 1, 2)]
    return tuple(sorted({min(_ROUND_DAYS, key=lambda r: abs(r - w)) for w in wanted if w <= longest}))


def default_features(definition: ChurnDefinition, history_days: float) -> tuple[Feature, ...]:
    """The declarations, in column order, without repetition. What a log cannot tell is left out later, by capability."""
    span = _span(definition, history_days)
    found: list[Feature] = [*_lifetime(span), *_rhythm("outcome"), *_activity(span, definition.outcome)]
    if definition.outcome != ANY:
        found += _side_activity("any", span)
    if definition.outcome != ("order",):
        found += _side_activity("order", span)
    found += [*_money(span), *_prices(span), *_browsing(span), *_intent(span), *_variety(span), *_channels(span)]
    found += [*_delivery(span), *_service(span), *_tone(span), *_campaigns(span)]
    found += [Calendar(stat) for stat in ("month_sin", "month_cos", "weekday", "days_to_year_end")]
    return tuple(dict.fromkeys(found))


def item_features(definition: ChurnDefinition, history_days: float) -> tuple[Feature, ...]:
    """The declarations that need an item table."""
    span = _span(definition, history_days)
    found: list[Feature] = []
    for column in ("popularity", "popularity_change", "price_level"):
        found += [Mean(column, "order", span.few[-1]), Mean(column, "product_view", span.horizon)]
        found += [Shift(Mean(column, "product_view"), span.horizon)]
    return tuple(found)


def _span(definition: ChurnDefinition, history_days: float) -> _Span:
    h = max(1, round(definition.horizon_days))
    windows, lives = window_days(definition, history_days), half_life_days(definition, history_days)
    few = tuple(d for d in windows if d in (h, 2 * h, 4 * h)) or windows[-1:] or (h,)
    return _Span(h, history_days, windows, few, lives, lives[1::2] or lives)


def _lifetime(span: _Span) -> Iterator[Feature]:
    yield from (Lifetime(stat) for stat in ("repeat_days", "last_age_days", "age_days"))
    yield from (Recency("outcome"), Tenure("outcome"), Rate("outcome"), ActiveBlocks("outcome", span.horizon))


def _rhythm(of: str) -> Iterator[Feature]:
    yield from (GapQuantile(of, q) for q in (0.1, 0.25, 0.5, 0.75, 0.9))
    yield from (Gap(of, stat) for stat in _GAP_STATS)


def _activity(span: _Span, outcome: tuple[str, ...]) -> Iterator[Feature]:
    of, h = "outcome", span.horizon
    yield from (Count(of, d) for d in (*span.windows, None))
    # one order a day is the rule: active days say more only where the outcome is many small acts
    yield from (ActiveDays(of, d) for d in (span.few if outcome == ("order",) else span.windows) if d > 1)
    yield from (Decayed(of, life) for life in span.lives)
    yield from (Trend(Count(of), d) for d in span.windows if h / 4 <= d <= 4 * h and 2 * d <= span.history)
    yield from (LagBlock(of, k, h) for k in range(1, min(7, int(span.history // h))))
    if h < 60:
        yield from (LagBlock(of, k, 7) for k in range(4) if 7 * (k + 1) <= span.history)
    a_year_ago = round(365 / h) - 1
    if h <= 182 and span.history >= 365:
        yield LagBlock(of, a_year_ago, h)


def _side_activity(of: str, span: _Span) -> Iterator[Feature]:
    """Activity that is not the outcome itself."""
    yield from (Recency(of), Tenure(of), GapQuantile(of, 0.5), Gap(of, "silence_over_median"), Gap(of, "silence_rank"))
    yield from (Count(of, d) for d in (*span.few, None))
    yield ActiveDays(of, span.horizon)
    yield from (Decayed(of, life) for life in span.some_lives)
    yield Trend(Count(of), span.horizon)
    yield Trend(ActiveDays(of), span.horizon)


def _money(span: _Span) -> Iterator[Feature]:
    of, h = "order", span.horizon
    yield from (Sum("value", of, d) for d in (*span.windows[1::2], None))
    yield from (PerOrder("value", of, d) for d in (h, None))
    yield from (Decayed(of, life, "value") for life in span.some_lives)
    yield Trend(Sum("value", of), h)
    yield Shift(PerOrder("value", of), h)
    yield from (PerOrder("quantity", of, d) for d in (h, None))
    yield Sum("quantity", of, None)
    yield from (OrderTrait(stat) for stat in _ORDER_STATS)


def _prices(span: _Span) -> Iterator[Feature]:
    h, wide = span.horizon, span.few[-1]
    for of in ("order", "product_view"):
        yield from (Mean("unit_price", of, None), Shift(Mean("unit_price", of), h))
    yield from (Mean("price_change", "order", wide), Mean("price_change", "order", None))
    yield from (DiscountShare("order", wide), DiscountShare("order", None), Shift(DiscountShare("order"), wide))
    yield from (Share("order.discounted", "order", None), Shift(Share("order.discounted", "order"), wide))
    yield from (Share("order.coupon", "order", None), Recency("coupon"), Count("coupon", wide))
    yield Shift(Share("product_view.discounted", "product_view"), h)


def _browsing(span: _Span) -> Iterator[Feature]:
    h = span.horizon
    for of in ("session_start", "product_view", "page_view", "list_view", "search", "cart_add", "wishlist_add"):
        yield Recency(of)
        yield from (Count(of, d) for d in (h, span.few[-1]))
        yield from (Decayed(of, life) for life in span.some_lives[:1])
        yield Trend(Count(of), h)
    for stat in ("depth", "minutes", "bounces"):
        yield from (VisitTrait(stat, h), Shift(VisitTrait(stat), h))
    views_a_session = Ratio(Count("product_view"), Distinct("product_view", "session_id"))
    yield from (views_a_session.within(h), Shift(views_a_session, h))
    for part in ("night", "morning", "evening"):
        yield from (Share(f"any.{part}", "any", None), Shift(Share(f"any.{part}", "any"), h))
    yield from (Share("any.weekend", "any", None), Shift(Share("any.weekend", "any"), h))


def _intent(span: _Span) -> Iterator[Feature]:
    h, wide = span.horizon, span.few[-1]
    for of, among in (
        ("order", "product_view"), ("cart_add", "product_view"), ("order", "cart_add"), ("cart_remove", "cart_add"),
        ("order", "checkout_start"), ("order", "search"), ("order", "session_start"),
    ):  # fmt: skip
        yield from (Share(of, among, wide), Shift(Share(of, among), h))
    yield Followed("search", "product_view", _HALF_HOUR_DAYS, wide)
    yield Followed("search", "order", 1, wide)
    yield Followed("cart_add", "order", 7, wide)
    yield Followed("checkout_start", "order", 1, wide)


def _variety(span: _Span) -> Iterator[Feature]:
    h, wide = span.horizon, span.few[-1]
    for key in ("item_id", "category", "brand"):
        yield from (Distinct("order", key, d) for d in (h, None))
        yield from (Novelty("order", key, wide), FavouriteShare("order", key))
    yield from (Entropy("order", "category"), Shift(Entropy("order", "category"), wide))
    for key in ("item_id", "category"):
        yield from (Distinct("product_view", key, h), Novelty("product_view", key, h))
    yield from (Entropy("product_view", "category", h), Shift(Entropy("product_view", "category"), h))
    yield Shift(FavouriteShare("product_view", "category"), h)


def _channels(span: _Span) -> Iterator[Feature]:
    for key in ("channel", "device"):
        yield from (
            FavouriteShare("any", key),
            Distinct("any", key, None),
            Shift(FavouriteShare("any", key), span.horizon),
        )


def _delivery(span: _Span) -> Iterator[Feature]:
    wide = span.few[-1]
    yield from (Count("delivery.late", d) for d in (span.horizon, wide))
    yield from (Share("delivery.late", "delivery", None), Recency("delivery.late"), Recency("delivery"))
    yield from (Mean("days_late", "delivery", d) for d in (wide, None))
    yield LastValue("days_late", "delivery")
    yield from (Decayed("delivery.late", life, "days_late") for life in span.some_lives)


def _service(span: _Span) -> Iterator[Feature]:
    h, wide = span.horizon, span.few[-1]
    for of in ("refund", "order_cancel", "support"):
        yield from (Recency(of), Count(of, h), Share(of, "order", None))
    yield from (Decayed("support", life) for life in span.some_lives)
    yield from (RefundShare(wide), RefundShare())
    yield from (Mean("rating", "support", wide), LastValue("rating", "support"), Count("support.low", h))
    yield from (Mean("rating", "review", d) for d in (wide, None))
    yield from (LastValue("rating", "review"), Count("review.low", wide), Recency("review"))


def _tone(span: _Span) -> Iterator[Feature]:
    yield from (LastTone(), LastTone("mean", 3), LastTone("lowest", 3))
    yield from (Tone(span.few[-1]), Tone(), Shift(Tone(), span.few[-1]))


def _campaigns(span: _Span) -> Iterator[Feature]:
    wide = span.few[-1]
    yield from (Count("message", wide), Recency("message"), Recency("promo_click"))
    yield from (Share("promo_view", "message", wide), Share("promo_click", "message", wide))
    yield Shift(Share("promo_view", "message"), wide)
    yield from (Followed("message", "order", 7, wide), Followed("coupon", "order", 30, None))
