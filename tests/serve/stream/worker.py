"""A stream worker in a process of its own, for the tests that kill it: `worker.py CONFIG STORE SHOP`, config as JSON."""

from __future__ import annotations

import asyncio
import sys

from ebbtide.core.settings import ShopConfig
from ebbtide.core.stream_settings import StreamConfig
from ebbtide.serve.stream import Stream
from ebbtide.store.database import Database


async def work(config: str, store: str, shop: str) -> None:
    worker = Stream(StreamConfig.model_validate_json(config), ShopConfig(), shop, Database.open(store, migrate=False))
    await worker.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
