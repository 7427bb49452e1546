"""The live service's store, opened for one command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ebbtide.cli.wiring import Edge
from ebbtide.core.errors import MissingExtraError
from ebbtide.core.language import Text

if TYPE_CHECKING:
    from ebbtide.store.database import Database


@contextmanager
def opened_store(edge: Edge) -> Iterator[tuple[Database, str]]:
    """The store of the workspace, made if it is not there yet, and the id of its shop, which it knows."""
    if any(find_spec(name) is None for name in ("sqlalchemy", "alembic", "orjson", "fastapi")):
        raise MissingExtraError("serve", Text("the live service", "实时服务"))
    from ebbtide.pipeline.places import Places  # noqa: PLC0415 - needs the extra
    from ebbtide.store.database import Database  # noqa: PLC0415
    from ebbtide.store.shops import Shops  # noqa: PLC0415

    config = edge.workspace.config
    database = Database.open(Places(edge.workspace.path).store_url(config))
    try:
        Shops(database).register(config.serve.shop_id)
        yield database, config.serve.shop_id
    finally:
        database.close()
