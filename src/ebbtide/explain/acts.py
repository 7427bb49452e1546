"""One single act of a kind of event: "order with a coupon", in Chinese what was done."""

from __future__ import annotations

from ebbtide.core.language import Text
from ebbtide.features.selectors import TYPE_WORDS, Selector

_SINGULARS = {
    "session_start": "session",
    "page_view": "page view",
    "search": "search",
    "list_view": "list view",
    "product_view": "product view",
    "cart_add": "addition to the cart",
    "cart_remove": "removal from the cart",
    "cart_view": "cart view",
    "wishlist_add": "addition to the wish list",
    "wishlist_remove": "removal from the wish list",
    "checkout_start": "started checkout",
    "checkout_step": "checkout step",
    "order": "order",
    "order_cancel": "cancelled order",
    "refund": "refund",
    "delivery": "delivery",
    "coupon": "coupon received",
    "review": "review",
    "support": "support contact",
    "promo_view": "promotion seen",
    "promo_click": "promotion click",
    "message": "message received",
    "custom": "other event",
    "any": "activity of any kind",
    "outcome": "outcome event",
}
_ACTS = {"order": "下单", "any": "活动", "message": "收到消息", "promo_view": "看到促销", "promo_click": "点击促销"}


def single(selector: Selector, outcome: tuple[str, ...]) -> Text:
    """The events of a selector as one act; `outcome` says what the word "outcome" stands for.

    >>> from ebbtide.features.selectors import parse_selector
    >>> single(parse_selector("delivery.late"), ()).en, single(parse_selector("outcome"), ("order",)).zh
    ('late delivery', '下单')
    """
    noun = selector.noun(outcome)
    en, zh = noun.en, noun.zh
    for kind in outcome if selector.types == ("outcome",) and outcome else selector.types:
        words = TYPE_WORDS[kind]
        en = en.replace(words.en, _SINGULARS[kind])
        zh = zh if selector.condition else zh.replace(words.zh, _ACTS.get(kind, words.zh))
    return Text(en, zh)
