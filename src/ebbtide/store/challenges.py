"""Challenges: the newest figures of a model that scores in the shadow of the one in service."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from ebbtide.store.database import Database, upserting
from ebbtide.store.tables import challenges


class Challenges:
    """The challenges of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, shop_id: str, serving: str, challenger: str, figures: Mapping[str, Any], at_us: int) -> None:
        """Write figures over the older ones of the same two models."""
        told = {"at_us": at_us, "figures": json.dumps(dict(figures))}
        with self._database.write() as connection:
            added = upserting(connection, challenges).values(
                shop_id=shop_id, serving=serving, challenger=challenger, **told
            )
            keys = ["shop_id", "serving", "challenger"]
            connection.execute(added.on_conflict_do_update(index_elements=keys, set_=told))

    def newest(self, shop_id: str, serving: str) -> dict[str, Any] | None:
        """The newest figures of any challenger of a model, None if there are none."""
        wanted = select(challenges).where(challenges.c.shop_id == shop_id, challenges.c.serving == serving)
        with self._database.read() as connection:
            row = connection.execute(wanted.order_by(challenges.c.at_us.desc()).limit(1)).first()
        return None if row is None else json.loads(row.figures)
