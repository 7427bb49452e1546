"""Event types as words in a sentence, in both languages."""

from __future__ import annotations

from collections.abc import Sequence

from ebbtide.core.language import Text, join_texts

EVENT_WORDS: dict[str, Text] = {
    "any": Text("event", "事件"),
    "session_start": Text("session", "访问"),
    "page_view": Text("page view", "页面浏览"),
    "search": Text("search", "搜索"),
    "list_view": Text("list view", "列表浏览"),
    "product_view": Text("product view", "商品浏览"),
    "cart_add": Text("cart addition", "加购"),
    "cart_remove": Text("cart removal", "移出购物车"),
    "cart_view": Text("cart view", "查看购物车"),
    "wishlist_add": Text("wishlist addition", "收藏"),
    "wishlist_remove": Text("wishlist removal", "取消收藏"),
    "checkout_start": Text("checkout start", "开始结算"),
    "checkout_step": Text("checkout step", "结算步骤"),
    "order": Text("order", "订单"),
    "order_cancel": Text("order cancellation", "取消订单"),
    "refund": Text("refund", "退款"),
    "delivery": Text("delivery", "送达"),
    "coupon": Text("coupon use", "用券"),
    "review": Text("review", "评价"),
    "support": Text("support contact", "客服联系"),
    "promo_view": Text("promotion view", "促销展示"),
    "promo_click": Text("promotion click", "促销点击"),
    "message": Text("message", "消息"),
    "custom": Text("custom event", "自定义事件"),
}


def name_events(types: Sequence[str]) -> Text:
    """The types joined by "or", without an article.

    >>> name_events(["order", "refund"]).en, name_events(["any"]).zh
    ('order or refund', '事件')
    """
    return join_texts([EVENT_WORDS[t] for t in types], Text(" or ", "或"))


def name_one_event(types: Sequence[str]) -> Text:
    """At least one event of the types, with its article.

    >>> name_one_event(["order", "refund"]).en, name_one_event(["any"]).en
    ('an order or a refund', 'an event')
    """
    words = [EVENT_WORDS[t] for t in types]
    articled = [Text(f"{'an' if w.en[0] in 'aeiou' else 'a'} {w.en}", w.zh) for w in words]
    return join_texts(articled, Text(" or ", "或"))
