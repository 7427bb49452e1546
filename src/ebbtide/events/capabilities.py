"""What a log can tell: the capabilities that features, pages and models ask for before they switch on.

A capability is judged on what was known at a moment, never on the whole log, so that later events change nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

import polars as pl

from ebbtide.events.schema import EVENT_COLUMNS

FEEDBACK_TYPES = ("review", "support")
"""Events whose `text` is the customer's own; other texts may be names of products or what the shop wrote."""
_BY_TYPE: dict[str, tuple[str, ...]] = {
    "orders": ("order",),
    "sessions": ("session_start",),
    "browsing": ("product_view", "page_view", "list_view"),
    "search": ("search",),
    "carts": ("cart_add", "cart_remove", "cart_view"),
    "wishlists": ("wishlist_add", "wishlist_remove"),
    "checkouts": ("checkout_start", "checkout_step"),
    "refunds": ("refund",),
    "cancellations": ("order_cancel",),
    "deliveries": ("delivery",),
    "coupons": ("coupon",),
    "reviews": ("review",),
    "support": ("support",),
    "campaigns": ("promo_view", "promo_click", "message"),
    "custom": ("custom",),
}
_BY_COLUMN: dict[str, str] = {
    "money": "value",
    "quantities": "quantity",
    "prices": "unit_price",
    "order_lines": "order_id",
    "session_ids": "session_id",
    "items": "item_id",
    "categories": "category",
    "brands": "brand",
    "discounts": "discount",
    "channels": "channel",
    "devices": "device",
    "countries": "country",
    "ratings": "rating",
    "texts": "text",
    "queries": "query",
}
CAPABILITIES: tuple[str, ...] = (*_BY_TYPE, *_BY_COLUMN, "clock", "delays", "feedback")
"""All names. `clock`: events carry a time of day, not only a date. `delays`: deliveries carry `days_late`. `feedback`:
reviews or support contacts carry their text."""


def observed_facts(events: pl.DataFrame, known_until: datetime) -> Counter[str]:
    """Count, among the events known at `known_until`, each type and each filled column. Counters of shards add up."""
    known = events.filter((pl.col("occurred_at") <= known_until) & (pl.col("ingested_at") <= known_until))
    facts = Counter({f"type:{t}": n for t, n in known["type"].value_counts().iter_rows()})
    filled = known.select([pl.col(c).is_not_null().sum() for c in EVENT_COLUMNS if c in known.columns])
    facts.update({f"column:{c}": n for c, n in zip(filled.columns, filled.row(0), strict=True)})
    facts["clock"] = known.select((pl.col("occurred_at").dt.time() != pl.time(0, 0)).sum()).item()
    late = (pl.col("type") == "delivery") & pl.col("properties").str.contains("days_late", literal=True)
    facts["delays"] = known.select(late.sum()).item()
    facts["feedback"] = known.select((pl.col("type").is_in(FEEDBACK_TYPES) & pl.col("text").is_not_null()).sum()).item()
    return facts


def capabilities_of(facts: Counter[str]) -> frozenset[str]:
    """The capabilities that the facts support: at least one event of a type, one filled value of a column.

    >>> sorted(capabilities_of(Counter({"type:order": 3, "column:value": 2})))
    ['money', 'orders']
    """
    found = {name for name, types in _BY_TYPE.items() if _any(facts, "type", types)}
    found |= {name for name, column in _BY_COLUMN.items() if facts[f"column:{column}"] > 0}
    found |= {name for name in ("clock", "delays", "feedback") if facts[name] > 0}
    return frozenset(found)


def _any(facts: Counter[str], kind: str, names: Iterable[str]) -> bool:
    return any(facts[f"{kind}:{name}"] > 0 for name in names)
