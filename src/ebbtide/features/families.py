"""The families of features: what kind of evidence a column is. Reasons are merged by family."""

from __future__ import annotations

from ebbtide.core.language import Text

FAMILIES: dict[str, Text] = {
    "rhythm": Text("buying rhythm", "购买节奏"),
    "activity": Text("level of activity", "活跃程度"),
    "browsing": Text("browsing", "浏览行为"),
    "search": Text("searching", "搜索行为"),
    "cart": Text("shopping cart", "购物车"),
    "checkout": Text("checkout", "结算"),
    "price": Text("prices and discounts", "价格与折扣"),
    "value": Text("money spent", "消费金额"),
    "delivery": Text("deliveries", "配送"),
    "service": Text("service and satisfaction", "服务与满意度"),
    "sentiment": Text("tone of reviews and messages", "评价与留言的语气"),
    "variety": Text("variety of purchases", "购买的多样性"),
    "campaigns": Text("response to campaigns", "营销活动响应"),
    "channels": Text("channels and devices", "渠道与设备"),
    "tenure": Text("time as a customer", "客户年限"),
    "sequence": Text("recent sequence of activity", "近期行为序列"),
    "profile": Text("overall profile", "整体画像"),
    "calendar": Text("time of the year", "时令"),
}
