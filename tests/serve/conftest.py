"""A service over a small trained shop, and a client with a key of every kind."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient
from tests.pipeline.conftest import UNTIL, SmallShop, Trained, open_shop, sim_log, simulation, small_shop, trained

from ebbtide.core.serve_settings import ServeConfig
from ebbtide.core.windows import to_us
from ebbtide.pipeline.live_shop import LiveShop
from ebbtide.serve.app import make_app
from ebbtide.serve.service import Service, make_service
from ebbtide.store.database import Database
from ebbtide.store.keys import Keys

__all__ = ["open_shop", "sim_log", "simulation", "small_shop", "trained"]


@dataclass
class Site:
    """A running service, its clock, and how to call it."""

    service: Service
    client: TestClient
    shop: SmallShop
    now: datetime
    access_log: io.BytesIO
    keys: dict[str, str] = field(default_factory=dict)

    def key(self, *scopes: str, shop: str = "shop", **options: Any) -> str:
        """A key with these scopes."""
        made = Keys(self.service.database).create(shop, "test", scopes, now_us=to_us(self.now), **options)
        return made.secret

    def call(self, method: str, path: str, *, scope: str = "admin", **options: Any) -> Any:
        """Call with a key of one scope."""
        secret = self.keys.get(scope) or self.keys.setdefault(scope, self.key(scope))
        headers = {"Authorization": f"Bearer {secret}", **options.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **options)

    def lines(self) -> list[dict[str, Any]]:
        """The lines of the access log, which is closed by that."""
        assert self.service.access_log is not None
        self.service.access_log.close()
        return [json.loads(line) for line in self.access_log.getvalue().splitlines()]

    def send(self, *events: dict[str, Any], **options: Any) -> Any:
        """Send events."""
        return self.call("POST", "/v1/events", json={"events": list(events)}, **options)


@pytest.fixture
def site(trained: Trained, sim_log: pl.DataFrame, open_shop: Any, tmp_path: Path) -> Iterator[Site]:
    """The whole log until UNTIL in the lake, a bundle, an empty store, the clock at UNTIL."""
    shop = open_shop(sim_log.filter(pl.col("ingested_at") <= UNTIL)).borrow(trained.shop)
    database = Database.open(f"sqlite:///{tmp_path}/service.db")
    holder: list[Site] = []
    lines = io.BytesIO()

    def clock() -> datetime:
        return holder[0].now if holder else UNTIL

    shops = {"shop": LiveShop(shop.config, shop.root, "shop", database, clock=clock)}
    service = make_service(ServeConfig(), database, shops, clock=clock, access_log=lines)
    with TestClient(make_app(service), raise_server_exceptions=False) as client:
        holder.append(Site(service, client, shop, UNTIL, lines))
        yield holder[0]
    service.close()
