"""The alerts of a shop in service: delivery and timers run together, and a new service knows whom to look at again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.serve.alerts.test_delivery import put, wait_for

from ebbtide.core.config import parse_config
from ebbtide.core.windows import to_us
from ebbtide.pipeline.live_shop import LiveShop
from ebbtide.serve.alerts import AlertWork
from ebbtide.store.database import Database
from ebbtide.store.inbox import Incoming
from ebbtide.store.timers import Timers

RULE = {"name": "silent", "when": "silent", "within": "3d"}


def test_messages_go_out_and_timers_of_known_histories_are_set_once(tmp_path: Path) -> None:
    config = parse_config({"alert": [RULE], "channel": [{"name": "log", "kind": "log"}]})
    database, now = Database.open(f"sqlite:///{tmp_path}/service.db"), datetime.now(UTC)
    shop = LiveShop(config, tmp_path, "shop", database)
    for user, days in (("lately", 1), ("long ago", 9)):
        at = to_us(now - timedelta(days=days))
        shop.inbox.add(
            [Incoming("shop", user, user, {"user_id": user, "type": "order", "occurred_at": at})], to_us(now)
        )
    work, outbox = AlertWork(shop, {}), put(database, "a", channel="log")
    work.start()
    assert work.fire() is False
    assert Timers(database).next_due_us("shop") == to_us(now - timedelta(days=1)) + 3 * 86_400_000_000
    wait_for(lambda: outbox.counts() == {("log", "sent"): 1})
    assert work.tidy() is False
    work.wake()
    work.stop()
    database.close()
