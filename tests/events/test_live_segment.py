"""The live mapping of Segment's messages is that of the preset for files, message by message."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ebbtide.core.config import parse_config
from ebbtide.core.windows import to_us
from ebbtide.events.lake import Lake, lake_folder
from ebbtide.events.live_event import EventRules, LiveEvent, event_frame, read_events
from ebbtide.events.live_segment import TYPES, segment_events
from ebbtide.pipeline.ingest import ingest

NOW = datetime(2026, 6, 1, tzinfo=UTC)
BASE = {"type": "track", "userId": "u1", "timestamp": "2026-05-01T10:00:00.250Z", "receivedAt": "2026-05-01T10:00:01Z"}
MESSAGES: list[dict[str, Any]] = [
    {**BASE, "messageId": f"m{n}", "event": named.title(), "properties": {"product_id": "p", "price": 3.5, "category": "c"}}
    for n, named in enumerate(TYPES)
] + [
    {**BASE, "messageId": "o1", "event": "Order Completed", "properties": {
        "order_id": "o", "currency": "EUR", "products": [{"product_id": "a", "price": 10, "quantity": 2, "brand": "b"}, {"sku": "s", "price": 4}]}},
    {**BASE, "messageId": "o2", "event": "Order Refunded", "properties": {"order_id": "o", "total": 12.5}},
    {**BASE, "messageId": "s1", "event": "Products Searched", "properties": {"query": "shoes"},
     "context": {"campaign": {"name": "spring", "medium": "email"}, "device": {"type": "mobile"}, "location": {"country": "DE"}}},
    {**BASE, "messageId": "r1", "event": "Product Reviewed", "properties": {"product_id": "a", "rating": 4, "review_body": "good"}},
    {**BASE, "messageId": "x1", "event": "Loyalty Joined", "userId": "", "anonymousId": "anon-1"},
]  # fmt: skip
COMPARED = ["user_id", "occurred_at", "type", "session_id", "order_id", "item_id", "category", "brand", "quantity",
            "unit_price", "value", "currency", "coupon", "campaign_id", "channel", "device", "country", "query", "text", "rating"]  # fmt: skip


def test_a_message_sent_live_is_the_event_that_a_file_gives(tmp_path: Path) -> None:
    file = tmp_path / "segment.jsonl"
    file.write_text("\n".join(json.dumps(m) for m in MESSAGES), encoding="utf-8")
    config = parse_config({"shop": {"currency": "EUR"}, "source": [{"path": "segment.jsonl", "preset": "segment"}]})
    ingest(config, tmp_path, now=NOW)
    from_file = pl.concat(
        [Lake.open(lake_folder(tmp_path)).read_bucket(b) for b in Lake.open(lake_folder(tmp_path)).buckets()]
    )
    found = read_events([e for m in MESSAGES for e in segment_events(m)], EventRules(to_us(NOW), currency="EUR"))
    assert all(isinstance(e, LiveEvent) for e in found)
    live = event_frame(
        [{**e.fields, "event_id": e.event_id, "ingested_at": 0} for e in found if isinstance(e, LiveEvent)]
    )
    order = ["occurred_at", "type", "item_id", "order_id", "query", "user_id", "value"]
    assert live.select(COMPARED).sort(order).equals(from_file.select(COMPARED).sort(order))


@pytest.mark.parametrize("message", [{"type": "identify", "userId": "u"}, {"type": "page"}])
def test_other_kinds_of_messages_are_left_aside(message: dict[str, Any]) -> None:
    assert segment_events(message) == []


def test_what_is_no_message_is_refused_with_a_reason() -> None:
    assert [r.reason.value for r in read_events(segment_events("text"), EventRules(0))] == ["bad_row"]  # type: ignore[union-attr]
