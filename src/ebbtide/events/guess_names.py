"""What raw columns and raw event types are usually called: the vocabulary of the guesses of `init`."""

from __future__ import annotations

import re

COLUMN_NAMES: dict[str, tuple[str, ...]] = {
    "user_id": (
        "user id", "user", "uid", "customer id", "customer", "customer no", "customer number", "client id", "client",
        "cust id", "cust", "member id", "member", "visitor id", "visitor", "buyer id", "buyer", "shopper id",
        "account id", "household id", "household key", "user pseudo id", "anonymous id", "user name", "reviewer id",
        "kunde", "kunden id", "kundennummer", "kundennr", "kunden nr", "cliente", "id cliente", "client number",
        "用户id", "用户", "用户编号", "客户id", "客户", "客户编号", "会员id", "会员", "会员号", "买家id", "买家", "顾客id", "顾客",
    ),
    "occurred_at": (
        "occurred at", "event time", "event timestamp", "event date", "timestamp", "datetime", "date time", "time",
        "date", "ts", "created at", "created", "order date", "order time", "order timestamp", "order purchase timestamp",
        "purchase date", "purchase time", "date of purchase", "invoice date", "transaction date", "transaction time",
        "transaction timestamp", "visit datetime", "visit date", "paid at", "payment date", "placed at", "datum", "bestelldatum", "kaufdatum", "rechnungsdatum", "fecha",
        "时间", "日期", "下单时间", "下单日期", "订单时间", "订单日期", "交易时间", "交易日期", "购买时间", "购买日期", "支付时间",
        "创建时间", "行为时间", "发生时间",
    ),
    "ingested_at": ("ingested at", "received at", "loaded at", "arrived at", "入库时间", "接收时间"),
    "type": (
        "event type", "event name", "event", "type", "action", "action type", "behavior", "behavior type",
        "behaviour", "behaviour type", "activity", "事件", "事件类型", "行为", "行为类型", "类型",
    ),
    "session_id": ("session id", "session", "user session", "visit id", "ga session id", "会话id", "会话"),
    "order_id": (
        "order id", "order", "order no", "order number", "invoice no", "invoice id", "invoice", "invoice number",
        "transaction id", "transaction", "transaction no", "basket id", "basket", "receipt id", "receipt", "bill no",
        "purchase id", "bestellnummer", "bestellnr", "bestellung", "bestell id", "auftragsnummer", "rechnungsnummer", "belegnummer", "订单id", "订单", "订单号", "订单编号", "单号", "发票号", "交易号",
    ),
    "item_id": (
        "item id", "item", "product id", "product", "product code", "sku", "stock code", "article id", "article", "asin",
        "upc", "goods id", "item sku", "ean", "artikel", "artikelnummer", "artikelnr", "商品id", "商品", "商品编号", "货号", "产品id", "产品",
    ),
    "category": ("category", "category code", "category id", "product category", "department", "类目", "品类", "分类", "类目id"),
    "brand": ("brand", "brand id", "brand name", "manufacturer", "品牌", "品牌id"),
    "quantity": (
        "quantity", "qty", "units", "number of items", "item count", "pieces", "number of cds", "number of units", "menge", "anzahl",
        "数量", "件数", "购买数量",
    ),
    "unit_price": ("unit price", "price", "item price", "price per unit", "preis", "einzelpreis", "stückpreis", "单价", "价格", "售价"),
    "value": (
        "value", "amount", "total", "total amount", "total price", "revenue", "sales", "sales value", "net amount",
        "order value", "order amount", "purchase amount", "dollar value", "payment", "payment value", "paid", "spend",
        "gross", "subtotal", "turnover", "betrag", "umsatz", "gesamtbetrag", "gesamtpreis", "summe", "金额", "总额", "总价", "实付", "实付金额", "订单金额", "支付金额", "消费金额", "销售额",
    ),
    "discount": ("discount", "discount amount", "rebate", "rabatt", "折扣", "优惠", "优惠金额"),
    "currency": ("currency", "currency code", "币种", "货币"),
    "coupon": ("coupon", "coupon code", "voucher", "voucher code", "promo code", "优惠券", "券码"),
    "campaign_id": ("campaign id", "campaign", "utm campaign", "活动id", "活动", "营销活动"),
    "channel": ("channel", "sales channel", "utm medium", "medium", "渠道", "来源渠道"),
    "device": ("device", "device type", "platform", "设备", "终端"),
    "country": ("country", "country code", "land", "region", "国家", "地区"),
    "query": ("query", "search query", "search term", "search terms", "keyword", "keywords", "搜索词", "关键词"),
    "text": ("description", "product name", "item name", "title", "review text", "review", "comment", "描述", "商品名称", "评价", "评论"),
    "picture": ("picture", "picture path", "picture file", "image", "image path", "image file", "photo", "图片", "图片路径", "商品图片"),
    "vector": ("vector", "embedding", "item vector", "item embedding", "向量", "商品向量"),
    "rating": ("rating", "score", "stars", "overall", "评分", "星级"),
}  # fmt: skip
"""Canonical column -> names, the more telling ones first."""

EVENT_NAMES: dict[str, tuple[str, ...]] = {
    "product_view": (
        "product view", "view", "pv", "click", "view item", "item view", "product viewed", "detail", "view product", "浏览", "点击",
    ),
    "page_view": ("page view", "pageview", "screen view"),
    "list_view": ("list view", "view item list", "product list viewed", "view category"),
    "search": ("search", "view search results", "products searched", "搜索"),
    "cart_add": (
        "cart add", "add to cart", "addtocart", "cart", "add cart", "product added", "basket add", "add", "加购", "加入购物车", "购物车",
    ),
    "cart_remove": ("cart remove", "remove from cart", "product removed", "移出购物车"),
    "wishlist_add": ("wishlist add", "add to wishlist", "wishlist", "fav", "favorite", "favourite", "like", "collect", "收藏"),
    "checkout_start": ("checkout start", "begin checkout", "checkout", "checkout started", "结算"),
    "order": (
        "order", "orders", "purchase", "buy", "bought", "transaction", "sale", "paid", "payment", "order completed",
        "checkout completed", "购买", "下单", "订单", "支付", "成交",
    ),
    "order_cancel": ("order cancel", "cancel", "cancelled", "canceled", "order cancelled", "取消", "取消订单"),
    "refund": ("refund", "return", "returned", "refunded", "chargeback", "退款", "退货"),
    "delivery": ("delivery", "delivered", "shipped", "配送", "签收"),
    "review": ("review", "rating", "rate", "评价", "评论"),
    "support": ("support", "ticket", "complaint", "客服", "投诉"),
    "coupon": ("coupon", "coupon used", "voucher", "优惠券", "领券"),
    "session_start": ("session start", "login", "visit", "session", "app open", "open", "登录", "访问"),
    "promo_click": ("promo click", "campaign click", "email click", "banner click"),
    "promo_view": ("promo view", "email open", "impression", "banner view", "曝光"),
    "message": ("message", "email sent", "push sent", "sms", "消息"),
}  # fmt: skip


def words(name: str) -> str:
    """A name as lower-case words: camel case, underscores and dots are cut.

    >>> words("InvoiceNo"), words("user_pseudo_id"), words("用户ID")
    ('invoice no', 'user pseudo id', '用户id')
    """
    cut = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    cut = re.sub(r"[\s_.\-/]+", " ", cut).strip().lower()
    return re.sub(r"(?<=[\u4e00-\u9fff]) (?=\w)", "", cut)


def match(name: str, known: tuple[str, ...]) -> float:
    """How well a raw name fits a list of names, from 0 (not at all) to 1 (it is the first of them).

    >>> match("Customer ID", COLUMN_NAMES["user_id"]) > match("customer_city", COLUMN_NAMES["user_id"])
    True
    """
    found = words(name)
    glued = found.replace(" ", "")
    for place, candidate in enumerate(known):
        if found == candidate or glued == candidate.replace(" ", ""):
            return 1.0 - place / 1000
    ends = [c for c in known if len(c) > 3 and (found.endswith(" " + c) or (not c.isascii() and c in found))]
    return 0.5 + len(max(ends, key=len)) / 1000 if ends else 0.0


def event_type_of(raw: str) -> str:
    """The canonical type of a raw event name; "" if it is not known.

    >>> event_type_of("addToCart"), event_type_of("spin_wheel")
    ('cart_add', '')
    """
    found = words(raw)
    glued = found.replace(" ", "")
    for kind, names in EVENT_NAMES.items():
        if any(found == n or glued == n.replace(" ", "") for n in names):
            return kind
    return ""
