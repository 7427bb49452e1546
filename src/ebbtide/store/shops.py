"""The shops that a service serves: each has a secret for keyed hashes of its users, and a clock that never runs back."""

from __future__ import annotations

import hmac
import re
import secrets

from sqlalchemy import insert, select

from ebbtide.core.errors import InputError
from ebbtide.store.database import Database
from ebbtide.store.tables import shops

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class Shops:
    """The shops of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._keyed: dict[str, hmac.HMAC] = {}

    def register(self, shop_id: str) -> None:
        """Make a shop known; one that is known stays as it is. Raises InputError for a bad name."""
        if not _NAME.fullmatch(shop_id):
            raise InputError(
                "a shop id has 1 to 64 lower-case letters, digits, `-` or `_`",
                "店铺 id 由 1 到 64 个小写字母、数字、`-` 或 `_` 组成",
            )
        with self._database.write(in_order=True) as connection:
            if connection.scalar(select(shops.c.shop_id).where(shops.c.shop_id == shop_id)) is None:
                connection.execute(insert(shops).values(shop_id=shop_id, salt=secrets.token_bytes(32), clock_us=0))

    def clock_us(self, shop_id: str) -> int:
        """The latest moment that was ever given to an event of the shop."""
        found = self._database.first("select clock_us from shops where shop_id = {}", (shop_id,))
        return int(found[0]) if found else 0

    def pseudonym(self, shop_id: str, user_id: str, *, purpose: str = "") -> str:
        """What stands for a user in the audit and in logs: 32 hex digits, the same each time, of no use without the store.

        `purpose`: another word gives another pseudonym, so that places that use different ones cannot be joined.
        """
        told = f"{purpose}\x1f{user_id}" if purpose else user_id
        keyed = (self._keyed.get(shop_id) or self._read_salt(shop_id)).copy()
        keyed.update(told.encode("utf-8", "surrogatepass"))
        return keyed.hexdigest()[:32]

    def _read_salt(self, shop_id: str) -> hmac.HMAC:
        """A keyed hash of nothing yet with the secret of a shop, remembered: the secret never changes.

        It is copied for each pseudonym: `hmac.digest` would give way to other threads each time, which costs more than it does.
        """
        with self._database.read() as connection:
            salt = connection.scalar(select(shops.c.salt).where(shops.c.shop_id == shop_id))
        keyed = hmac.new(bytes(salt or b""), digestmod="sha256")
        if salt:
            self._keyed[shop_id] = keyed
        return keyed
