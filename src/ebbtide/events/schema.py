"""The canonical tables: column names, types and the closed list of event types.

An event frame has every column of `EVENT_COLUMNS`, nulls where the shop does not record it. `user_id`,
`occurred_at`, `ingested_at`, `type` and `event_id` are never null.
"""

from __future__ import annotations

import polars as pl

TIME = pl.Datetime("us", "UTC")

EVENT_TYPES: tuple[str, ...] = (
    "session_start",
    "page_view",
    "search",
    "list_view",
    "product_view",
    "cart_add",
    "cart_remove",
    "cart_view",
    "wishlist_add",
    "wishlist_remove",
    "checkout_start",
    "checkout_step",
    "order",
    "order_cancel",
    "refund",
    "delivery",
    "coupon",
    "review",
    "support",
    "promo_view",
    "promo_click",
    "message",
    "custom",
)

EVENT_COLUMNS: dict[str, pl.DataType] = {
    "event_id": pl.String(),
    "user_id": pl.String(),
    "occurred_at": TIME,
    "ingested_at": TIME,
    "type": pl.String(),
    "session_id": pl.String(),
    "order_id": pl.String(),
    "item_id": pl.String(),
    "category": pl.String(),
    "brand": pl.String(),
    "quantity": pl.Float64(),
    "unit_price": pl.Float64(),
    "value": pl.Float64(),
    "discount": pl.Float64(),
    "currency": pl.String(),
    "coupon": pl.String(),
    "campaign_id": pl.String(),
    "channel": pl.String(),
    "device": pl.String(),
    "country": pl.String(),
    "query": pl.String(),
    "text": pl.String(),
    "rating": pl.Float64(),
    "properties": pl.String(),
}
"""`value`: money after discount, before tax and shipping; refunds negative. `rating`: 1 to 5 on reviews, and on
support contacts the customer's satisfaction where known. `properties`: JSON text; a `delivery` event carries
`{"days_late": number}` (negative: early) where the shop knows the promise, a `custom` event its raw name as
`{"raw_type": text}`."""

ITEM_COLUMNS: dict[str, pl.DataType] = {
    "item_id": pl.String(),
    "valid_from": TIME,
    "category": pl.String(),
    "brand": pl.String(),
    "unit_price": pl.Float64(),
    "text": pl.String(),
    "picture": pl.String(),
    "vector": pl.String(),
    "properties": pl.String(),
}
"""`text`: name or description in any language. `picture`: path of an image file, relative to the workspace or
absolute. `vector`: a ready embedding as a JSON list of numbers, of one length in the whole table. A row counts from its
`valid_from` on, without one always."""
USER_COLUMNS: dict[str, pl.DataType] = {
    "user_id": pl.String(),
    "valid_from": TIME,
    "signed_up_at": TIME,
    "country": pl.String(),
    "channel": pl.String(),
    "properties": pl.String(),
}
CONSENT_COLUMNS: dict[str, pl.DataType] = {
    "user_id": pl.String(),
    "valid_from": TIME,
    "purpose": pl.String(),
    "granted": pl.Boolean(),
}
EXPOSURE_COLUMNS: dict[str, pl.DataType] = {
    "user_id": pl.String(),
    "occurred_at": TIME,
    "ingested_at": TIME,
    "campaign_id": pl.String(),
    "action": pl.String(),
    "propensity": pl.Float64(),
}
TABLE_COLUMNS: dict[str, dict[str, pl.DataType]] = {
    "events": EVENT_COLUMNS,
    "items": ITEM_COLUMNS,
    "users": USER_COLUMNS,
    "consents": CONSENT_COLUMNS,
    "exposures": EXPOSURE_COLUMNS,
}


_NO_EVENTS = pl.DataFrame(schema=EVENT_COLUMNS)


def empty_events() -> pl.DataFrame:
    """An event frame without rows."""
    return _NO_EVENTS.clone()
