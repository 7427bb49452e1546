"""Names of raw columns and events, as shops write them."""

from __future__ import annotations

import pytest

from ebbtide.events.guess_names import COLUMN_NAMES, EVENT_NAMES, event_type_of, match
from ebbtide.events.schema import EVENT_COLUMNS, EVENT_TYPES, ITEM_COLUMNS


def best(name: str) -> str:
    scores = {canonical: match(name, names) for canonical, names in COLUMN_NAMES.items()}
    found = max(scores, key=lambda c: scores[c])
    return found if scores[found] else ""


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        ("CustomerID", "user_id"), ("customer_id", "user_id"), ("client.id", "user_id"), ("用户ID", "user_id"),
        ("user_pseudo_id", "user_id"), ("InvoiceDate", "occurred_at"), ("event_time", "occurred_at"),
        ("下单时间", "occurred_at"), ("InvoiceNo", "order_id"), ("orderNumber", "order_id"), ("订单号", "order_id"),
        ("StockCode", "item_id"), ("SKU", "item_id"), ("商品ID", "item_id"), ("Qty", "quantity"), ("数量", "quantity"),
        ("UnitPrice", "unit_price"), ("Total Amount", "value"), ("实付金额", "value"), ("eventType", "type"),
        ("utm_campaign", "campaign_id"), ("search_term", "query"), ("image_path", "picture"), ("embedding", "vector"), ("shoe_size", ""),
    ],
)  # fmt: skip
def test_columns_are_known_by_their_usual_names(raw, canonical):
    assert best(raw) == canonical


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ("pv", "product_view"), ("addToCart", "cart_add"), ("add_to_cart", "cart_add"), ("fav", "wishlist_add"),
        ("Purchase", "order"), ("transaction", "order"), ("加购", "cart_add"), ("remove_from_cart", "cart_remove"),
        ("退款", "refund"), ("teleport", ""),
    ],
)  # fmt: skip
def test_events_are_known_by_their_usual_names(raw, kind):
    assert event_type_of(raw) == kind


def test_every_canonical_type_knows_its_own_name():
    for kind in EVENT_NAMES:
        assert event_type_of(kind) == kind


def test_the_vocabulary_names_canonical_things_only():
    assert set(COLUMN_NAMES) <= {*EVENT_COLUMNS, *ITEM_COLUMNS}
    assert set(EVENT_NAMES) <= set(EVENT_TYPES)
