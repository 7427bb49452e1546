"""Selectors: which events a feature speaks of, in a small text form, and how they are worded.

    selector  = types [ "." condition ]        "order", "order.coupon", "product_view+list_view", "any.night"
    types     = "any" | "outcome" | type { "+" type }

`any` is every event, `outcome` the events of the churn definition's outcome. An event's type and conditions are packed
into one number, its key; a selector is the set of keys that it accepts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.errors import InputError
from ebbtide.core.language import Text, join_texts
from ebbtide.events.schema import EVENT_TYPES

TYPE_CODES: dict[str, int] = {name: code for code, name in enumerate(EVENT_TYPES)}
CONDITIONS: dict[str, tuple[int, int]] = {
    # name: (mask, wanted bits). The lowest five bits hold the type, the next two the part of the day.
    "night": (3 << 5, 0 << 5),
    "morning": (3 << 5, 1 << 5),
    "afternoon": (3 << 5, 2 << 5),
    "evening": (3 << 5, 3 << 5),
    "weekend": (1 << 7, 1 << 7),
    "late": (1 << 8, 1 << 8),
    "low": (1 << 9, 1 << 9),
    "discounted": (1 << 10, 1 << 10),
    "coupon": (1 << 11, 1 << 11),
}
"""night 0-6, morning 6-12, afternoon 12-18, evening 18-24 h UTC; weekend: Saturday, Sunday UTC; late: a delivery after
its promise; low: a rating of 1 or 2; discounted: discount > 0; coupon: a coupon was used."""
KEY_COUNT = 1 << 12
TYPE_BITS = 31


@dataclass(frozen=True)
class TypeWords:
    """How one event type is named: plural noun, Chinese noun, Chinese count noun; its family and capability."""

    en: str
    zh: str
    zh_count: str
    family: str
    capability: str

    @property
    def noun(self) -> Text:
        """The plural noun."""
        return Text(self.en, self.zh)


TYPE_WORDS: dict[str, TypeWords] = {
    "session_start": TypeWords("sessions", "访问", "访问次数", "browsing", "sessions"),
    "page_view": TypeWords("page views", "页面浏览", "页面浏览次数", "browsing", "browsing"),
    "search": TypeWords("searches", "搜索", "搜索次数", "search", "search"),
    "list_view": TypeWords("list views", "列表浏览", "列表浏览次数", "browsing", "browsing"),
    "product_view": TypeWords("product views", "商品浏览", "商品浏览次数", "browsing", "browsing"),
    "cart_add": TypeWords("additions to the cart", "加入购物车", "加购次数", "cart", "carts"),
    "cart_remove": TypeWords("removals from the cart", "移出购物车", "移出购物车次数", "cart", "carts"),
    "cart_view": TypeWords("cart views", "查看购物车", "查看购物车次数", "cart", "carts"),
    "wishlist_add": TypeWords("additions to the wish list", "收藏", "收藏次数", "cart", "wishlists"),
    "wishlist_remove": TypeWords("removals from the wish list", "取消收藏", "取消收藏次数", "cart", "wishlists"),
    "checkout_start": TypeWords("started checkouts", "开始结算", "开始结算次数", "checkout", "checkouts"),
    "checkout_step": TypeWords("checkout steps", "结算步骤", "结算步骤数", "checkout", "checkouts"),
    "order": TypeWords("orders", "订单", "订单数", "activity", "orders"),
    "order_cancel": TypeWords("cancelled orders", "取消订单", "取消订单次数", "service", "cancellations"),
    "refund": TypeWords("refunds", "退款", "退款次数", "service", "refunds"),
    "delivery": TypeWords("deliveries", "配送", "配送次数", "delivery", "deliveries"),
    "coupon": TypeWords("coupons received", "领取优惠券", "领券次数", "price", "coupons"),
    "review": TypeWords("reviews", "评价", "评价次数", "service", "reviews"),
    "support": TypeWords("support contacts", "客服联系", "客服联系次数", "service", "support"),
    "promo_view": TypeWords("promotions seen", "促销展示", "看到促销的次数", "campaigns", "campaigns"),
    "promo_click": TypeWords("promotion clicks", "促销点击", "点击促销的次数", "campaigns", "campaigns"),
    "message": TypeWords("messages received", "收到的消息", "收到消息的次数", "campaigns", "campaigns"),
    "custom": TypeWords("other events", "其他事件", "其他事件次数", "activity", "custom"),
    "any": TypeWords("activities of any kind", "各类活动", "各类活动次数", "activity", ""),
    "outcome": TypeWords("outcome events", "目标行为", "目标行为次数", "activity", ""),
}
_CONDITION_WORDS: dict[str, Text] = {
    "night": Text("{noun} at night", "夜间{noun}"),
    "morning": Text("{noun} in the morning", "上午{noun}"),
    "afternoon": Text("{noun} in the afternoon", "下午{noun}"),
    "evening": Text("{noun} in the evening", "晚间{noun}"),
    "weekend": Text("{noun} at weekends", "周末{noun}"),
    "late": Text("late {noun}", "迟到的{noun}"),
    "low": Text("{noun} with a low rating", "低分{noun}"),
    "discounted": Text("{noun} with a discount", "有折扣的{noun}"),
    "coupon": Text("{noun} with a coupon", "用券的{noun}"),
}
_CONDITION_FAMILIES = {"late": "delivery", "low": "service", "discounted": "price", "coupon": "price"}
_CONDITION_CAPABILITIES = {"late": "delays", "low": "ratings", "discounted": "discounts", "coupon": "orders"}


@dataclass(frozen=True)
class Selector:
    """A parsed selector: its type names and its condition ("" for none)."""

    types: tuple[str, ...]
    condition: str

    @property
    def slug(self) -> str:
        """How the selector stands in a feature's name."""
        return "_or_".join(self.types) + (f"_{self.condition}" if self.condition else "")

    def noun(self, outcome: tuple[str, ...] = ()) -> Text:
        """The selector in words, plural; `outcome` says what the word `outcome` stands for."""
        return self._worded([TYPE_WORDS[t].noun for t in self._named(outcome)])

    def count_noun(self, outcome: tuple[str, ...] = ()) -> Text:
        """The selector in words as a thing that is counted."""
        words = [TYPE_WORDS[t] for t in self._named(outcome)]
        return self._worded([Text(w.en, w.zh_count) for w in words])

    @property
    def family(self) -> str:
        """The family of the events themselves."""
        return _CONDITION_FAMILIES.get(self.condition, TYPE_WORDS[self.types[0]].family)

    @property
    def requires(self) -> frozenset[str]:
        """Capabilities without which the selector finds nothing by nature."""
        needed = {TYPE_WORDS[t].capability for t in self.types[:1]}
        needed.add(_CONDITION_CAPABILITIES.get(self.condition, "clock" if self._needs_clock else ""))
        return frozenset(needed - {""})

    def accepts(self, outcome: tuple[str, ...]) -> NDArray[np.bool_]:
        """Which keys the selector accepts, (KEY_COUNT,)."""
        keys = np.arange(KEY_COUNT)
        wanted = set(outcome) if self.types == ("outcome",) else set(self.types)
        found = np.ones(KEY_COUNT, np.bool_)
        if "any" not in wanted:
            found = np.isin(keys & 31, [TYPE_CODES[t] for t in sorted(wanted)])
        if self.condition:
            mask, bits = CONDITIONS[self.condition]
            found &= (keys & mask) == bits
        return found

    def counts_orders(self, outcome: tuple[str, ...]) -> bool:
        """Whether order lines of one order count once: yes wherever orders are meant, not for `any`."""
        wanted = outcome if self.types == ("outcome",) else self.types
        return "order" in wanted and "any" not in wanted

    @property
    def _needs_clock(self) -> bool:
        return self.condition in ("night", "morning", "afternoon", "evening")

    def _named(self, outcome: tuple[str, ...]) -> tuple[str, ...]:
        return outcome if self.types == ("outcome",) and outcome else self.types

    def _worded(self, nouns: list[Text]) -> Text:
        noun = join_texts(nouns, Text(" or ", "或"))
        return _CONDITION_WORDS[self.condition].format(noun=noun) if self.condition else noun


@lru_cache(maxsize=1024)
def parse_selector(text: str) -> Selector:
    """Read a selector.

    >>> parse_selector("order.coupon").noun().en
    'orders with a coupon'

    Raises InputError if a type or the condition is unknown.
    """
    names, _, condition = text.partition(".")
    types = tuple(names.split("+"))
    unknown = [t for t in types if t not in TYPE_WORDS] + [c for c in [condition] if c and c not in CONDITIONS]
    if unknown or (len(types) > 1 and {"any", "outcome"} & set(types)):
        raise InputError(
            "`{text}` selects no events: write a type ({types}), several joined by +, and optionally one of .{conditions}",
            "`{text}` 不是有效的事件选择：请写类型（{types}），多个用 + 连接，可再加条件之一 .{conditions}",
            text=text,
            types=", ".join(TYPE_WORDS),
            conditions=", .".join(CONDITIONS),
        )
    return Selector(types, condition)
