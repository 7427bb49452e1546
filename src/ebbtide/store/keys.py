"""API keys: made with a random secret that is shown once, kept as a hash, bound to one shop and to scopes.

A key reads `ebb_<key_id>_<secret>`. The id is public: it names the key in lists and in the audit.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select, update

from ebbtide.core.errors import InputError
from ebbtide.store.database import Database
from ebbtide.store.tables import keys

SCOPES: tuple[str, ...] = (
    "events:write",
    "risk:read",
    "alerts:read",
    "alerts:write",
    "campaigns:read",
    "campaigns:write",
    "admin",
)
"""What a key may do. `alerts:*` stands for both of alerts, `campaigns:*` for both of campaigns; `admin` for everything in
its shop."""

_FORM = re.compile(r"ebb_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_NOBODY = bytes(32)


@dataclass(frozen=True)
class Key:
    """What is known of a key; never its secret."""

    key_id: str
    shop_id: str
    name: str
    scopes: tuple[str, ...]
    created_us: int
    expires_us: int | None
    revoked_us: int | None

    def allows(self, scope: str) -> bool:
        """Whether it may do what the scope stands for."""
        return scope in self.scopes or "admin" in self.scopes

    def is_live(self, now_us: int) -> bool:
        """Whether it is neither revoked nor expired; a key ends at the moment of its expiry."""
        return (self.revoked_us is None or now_us < self.revoked_us) and (
            self.expires_us is None or now_us < self.expires_us
        )


@dataclass(frozen=True)
class NewKey:
    """A key just made: `secret` is what the caller sends, and is nowhere else."""

    key: Key
    secret: str

    def __repr__(self) -> str:
        return f"NewKey({self.key!r}, secret=***)"


class Keys:
    """The keys of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, shop_id: str, name: str, scopes: Sequence[str], *, now_us: int, expires_us: int | None = None
    ) -> NewKey:
        """Make a key. Raises InputError for an unknown scope, no scope, no name, or an expiry that has passed."""
        wanted = _scopes(scopes)
        if not name.strip() or len(name) > 256:
            raise InputError("a key needs a name of at most 256 characters", "密钥需要不超过 256 个字符的名称")
        if expires_us is not None and expires_us <= now_us:
            raise InputError("the key would expire before it is made", "密钥在创建前就会过期")
        made = Key(secrets.token_hex(8), shop_id, name.strip(), wanted, now_us, expires_us, None)
        secret = f"ebb_{made.key_id}_{secrets.token_urlsafe(32)}"
        row = {**{n: getattr(made, n) for n in _PLAIN}, "scopes": " ".join(wanted), "digest": _digest(secret)}
        with self._database.write() as connection:
            connection.execute(insert(keys).values(row))
        return NewKey(made, secret)

    def find(self, secret: str, *, now_us: int) -> Key | None:
        """The live key that this is, or None; takes as long for a wrong secret as for a right one."""
        match = _FORM.fullmatch(secret)
        with self._database.read() as connection:
            row = connection.execute(select(keys).where(keys.c.key_id == (match[1] if match else ""))).first()
        same = hmac.compare_digest(row.digest if row else _NOBODY, _digest(secret))
        return found if same and row and (found := _key(row)).is_live(now_us) else None

    def listed(self, shop_id: str) -> list[Key]:
        """The keys of a shop, the oldest first, revoked ones too."""
        wanted = select(keys).where(keys.c.shop_id == shop_id).order_by(keys.c.created_us, keys.c.key_id)
        with self._database.read() as connection:
            return [_key(row) for row in connection.execute(wanted)]

    def revoke(self, shop_id: str, key_id: str, *, now_us: int) -> None:
        """End a key now; one that has ended stays as it is. Raises InputError if the shop has no such key."""
        this = (keys.c.shop_id == shop_id) & (keys.c.key_id == key_id)
        with self._database.write() as connection:
            if not connection.scalar(select(keys.c.key_id).where(this)):
                raise InputError(
                    "no key `{key_id}` here: `ebbtide keys list` shows them",
                    "没有密钥 `{key_id}`：`ebbtide keys list` 可列出",
                    key_id=key_id,
                )
            connection.execute(update(keys).where(this, keys.c.revoked_us.is_(None)).values(revoked_us=now_us))


_PLAIN = ("key_id", "shop_id", "name", "created_us", "expires_us", "revoked_us")


def _scopes(asked: Sequence[str]) -> tuple[str, ...]:
    wide = {f"{name}:*": [s for s in SCOPES if s.startswith(f"{name}:")] for name in ("alerts", "campaigns")}
    wanted = [narrow for scope in asked for narrow in wide.get(scope, [scope])]
    unknown = sorted(set(wanted) - set(SCOPES))
    if unknown or not wanted:
        raise InputError(
            "a key needs one or more of these scopes: {scopes}",
            "密钥需要以下一个或多个权限范围：{scopes}",
            scopes=", ".join([*SCOPES, *wide]),
        )
    return tuple(scope for scope in SCOPES if scope in wanted)


def _digest(secret: str) -> bytes:
    """The secret has 256 random bits, so one plain hash is enough."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _key(row: Row[Any]) -> Key:
    return Key(
        row.key_id, row.shop_id, row.name, tuple(row.scopes.split()), row.created_us, row.expires_us, row.revoked_us
    )
