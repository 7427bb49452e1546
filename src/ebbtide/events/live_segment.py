"""Segment `track` calls as live events: the mapping of the preset `segment`, for one message at a time.

A call about an order becomes one event a product. A test holds it equal to what the preset makes of a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TYPES: dict[str, str] = {
    "products searched": "search",
    "product list viewed": "list_view",
    "product list filtered": "list_view",
    "product clicked": "product_view",
    "product viewed": "product_view",
    "product added": "cart_add",
    "product removed": "cart_remove",
    "cart viewed": "cart_view",
    "product added to wishlist": "wishlist_add",
    "product removed from wishlist": "wishlist_remove",
    "checkout started": "checkout_start",
    "checkout step viewed": "checkout_step",
    "checkout step completed": "checkout_step",
    "payment info entered": "checkout_step",
    "order completed": "order",
    "order cancelled": "order_cancel",
    "order refunded": "refund",
    "coupon applied": "coupon",
    "promotion viewed": "promo_view",
    "promotion clicked": "promo_click",
    "product reviewed": "review",
}
_BY_PRODUCT = ("order completed", "order refunded", "order cancelled")


def segment_events(message: object) -> list[object]:
    """The native events of one message; none for a message other than `track`. What is no message is passed on as it is,
    to be refused with a reason."""
    if not isinstance(message, Mapping):
        return [message]
    if message.get("type", "track") != "track":
        return []
    named = str(message.get("event") or "").lower()
    products = _dict(message.get("properties")).get("products")
    if named in _BY_PRODUCT and isinstance(products, list) and products:
        return [_event(message, named, _dict(line), f"-{n}") for n, line in enumerate(products, 1)]
    return [_event(message, named, None, "")]


def _event(message: Mapping[str, Any], named: str, line: dict[str, Any] | None, suffix: str) -> dict[str, Any]:
    properties, context = _dict(message.get("properties")), _dict(message.get("context"))
    product, campaign = line or {}, _dict(context.get("campaign"))
    message_id = message.get("messageId")
    found = {
        "event_id": f"{message_id}{suffix}" if message_id else None,
        "user_id": message.get("userId") or message.get("anonymousId"),
        "occurred_at": _first(message, "timestamp", "originalTimestamp", "receivedAt"),
        "type": TYPES.get(named, message.get("event") or "custom"),
        "session_id": _text(context.get("sessionId") or properties.get("session_id")),
        "order_id": _text(_first(properties, "order_id", "checkout_id")),
        "item_id": _text(_first(product, "product_id", "sku") or _first(properties, "product_id", "sku")),
        "category": _text(product.get("category") or properties.get("category")),
        "brand": _text(product.get("brand") or properties.get("brand")),
        "quantity": _number(_known(product.get("quantity"), properties.get("quantity"))),
        "unit_price": _number(_known(product.get("price"), properties.get("price"))),
        "value": _value(named, line, properties),
        "currency": properties.get("currency"),
        "coupon": _text(product.get("coupon") or _first(properties, "coupon", "coupon_id")),
        "campaign_id": _text(campaign.get("name") or properties.get("promotion_id")),
        "channel": _text(campaign.get("medium") or message.get("channel")),
        "device": _text(_dict(context.get("device")).get("type") or _dict(context.get("os")).get("name")),
        "country": _country(context),
        "query": properties.get("query"),
        "text": _text(properties.get("review_body")),
        "rating": _number(properties.get("rating")),
    }
    return {name: value for name, value in found.items() if value is not None}


def _value(named: str, line: dict[str, Any] | None, properties: dict[str, Any]) -> object:
    """Money of an order or refund: price times quantity of a line, else the sum that the message tells."""
    if named not in ("order completed", "order refunded"):
        return None
    if line is not None:
        price, quantity = _number(line.get("price")), _number(_known(line.get("quantity"), 1))
        told: object = price * quantity if isinstance(price, float) and isinstance(quantity, float) else price
    elif named == "order completed":
        told = _number(_first(properties, "subtotal", "revenue", "total"))
    else:
        told = _number(_first(properties, "total", "revenue"))
    return -abs(told) if named == "order refunded" and isinstance(told, float) else told


def _number(value: object) -> object:
    """Numbers may come as texts; what is none stays as it is, and is refused later."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return float(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else value


def _country(context: dict[str, Any]) -> object:
    traits = _dict(_dict(context.get("traits")).get("address"))
    return _text(_dict(context.get("location")).get("country") or traits.get("country"))


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _first(fields: Mapping[str, Any], *names: str) -> object:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _known(*values: object) -> object:
    return next((value for value in values if value is not None), None)
