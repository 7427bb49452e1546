"""An open store of each kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ebbtide.store.database import Database
from ebbtide.store.shops import Shops


@pytest.fixture
def database(store_url: str) -> Iterator[Database]:
    """A migrated store that knows the shops `a` and `b`."""
    opened = Database.open(store_url)
    for shop in ("a", "b"):
        Shops(opened).register(shop)
    yield opened
    opened.close()
