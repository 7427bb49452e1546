"""The shipped templates, in English and Chinese."""

from __future__ import annotations

from typing import Any

SHIPPED: tuple[dict[str, Any], ...] = (
    {
        "kind": "win_back",
        "language": "en",
        "subject": "We have missed you at {shop}",
        "body": "Hello,\n\nit has been a while since your last order. We picked {items|a few things} with you in mind.\n\n"
        "See you soon,\n{shop}",
    },
    {
        "kind": "win_back",
        "language": "zh",
        "subject": "{shop} 想念您",
        "body": "您好：\n\n距您上次下单已有一段时间。我们为您挑选了{items|几件商品}。\n\n期待您的光临\n{shop}",
    },
    {
        "kind": "coupon",
        "language": "en",
        "subject": "{offer} for you at {shop}",
        "body": "Hello,\n\nhere is {offer} for your next order, valid until {until}. Perhaps for {item|something you like}?\n\n{shop}",
    },
    {
        "kind": "coupon",
        "language": "zh",
        "subject": "{shop} 送您{offer}",
        "body": "您好：\n\n送您{offer}，用于下一单，有效期至 {until}。不妨看看{item|您喜欢的商品}。\n\n{shop}",
    },
    {
        "kind": "recommendation",
        "language": "en",
        "subject": "Picked for you: {item}",
        "body": "Hello,\n\nwe thought of you: {items}.\n\n{shop}",
    },
    {
        "kind": "recommendation",
        "language": "zh",
        "subject": "为您挑选：{item}",
        "body": "您好：\n\n我们为您挑选了：{items}。\n\n{shop}",
    },
    {
        "kind": "apology",
        "language": "en",
        "subject": "Sorry that we were late",
        "body": "Hello,\n\nyour latest delivery came {days_late} day(s) later than promised. We are sorry, and are looking "
        "into the cause.\n\n{shop}",
    },
    {
        "kind": "apology",
        "language": "zh",
        "subject": "很抱歉配送延误",
        "body": "您好：\n\n您最近一次配送比承诺晚了 {days_late} 天。我们深表歉意，并正在查明原因。\n\n{shop}",
    },
    {
        "kind": "replenishment",
        "language": "en",
        "subject": "Time for more {item}?",
        "body": "Hello,\n\nyou may be running low on {item} ({reason}).\n\n{shop}",
    },
    {
        "kind": "replenishment",
        "language": "zh",
        "subject": "{item}该补货了吗？",
        "body": "您好：\n\n您的{item}可能快用完了（{reason}）。\n\n{shop}",
    },
)
