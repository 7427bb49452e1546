"""API keys as the command line shows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ebbtide.core.language import Text
from ebbtide.core.sections import Readable, Section
from ebbtide.core.windows import from_us, to_us
from ebbtide.store.keys import Key, NewKey

_COLUMNS = (
    Text("key", "密钥"), Text("name", "名称"), Text("scopes", "权限范围"), Text("made", "创建"), Text("ends", "到期"),
    Text("state", "状态"),
)  # fmt: skip
_LIVE, _REVOKED, _EXPIRED = Text("live", "有效"), Text("revoked", "已吊销"), Text("expired", "已过期")


@dataclass(frozen=True)
class KeyList(Readable):
    """The keys of a shop at one moment; no secrets."""

    keys: tuple[Key, ...]
    now: datetime

    def sections(self) -> tuple[Section, ...]:
        """One row a key."""
        rows = tuple(
            (k.key_id, k.name, " ".join(k.scopes), _day(k.created_us), _day(k.expires_us), self._state(k))
            for k in self.keys
        )
        none = Text("no keys yet: `ebbtide keys create` makes one", "还没有密钥：`ebbtide keys create` 可创建")
        return (Section(columns=_COLUMNS, rows=rows) if rows else Section(lines=(none,)),)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {"keys": [_json(k) | {"state": self._state(k).en} for k in self.keys]}

    def _state(self, key: Key) -> Text:
        if key.is_live(to_us(self.now)):
            return _LIVE
        return _REVOKED if key.revoked_us is not None else _EXPIRED


@dataclass(frozen=True)
class MadeKey(Readable):
    """A key just made. Its secret is told here and nowhere else."""

    made: NewKey

    def sections(self) -> tuple[Section, ...]:
        """The secret, and what to do with it."""
        line = Text("keep it now, it is not shown again:", "请立即保存，之后不再显示：")
        return (Section(lines=(line, Text(self.made.secret, self.made.secret))),)

    def to_json(self) -> dict[str, Any]:
        """The secret as `key`, and what is known of it."""
        return {"key": self.made.secret} | _json(self.made.key)


def _json(key: Key) -> dict[str, Any]:
    return {
        "key_id": key.key_id, "name": key.name, "scopes": list(key.scopes), "shop_id": key.shop_id,
        "created_at": from_us(key.created_us).isoformat(),
        "expires_at": from_us(key.expires_us).isoformat() if key.expires_us is not None else None,
        "revoked_at": from_us(key.revoked_us).isoformat() if key.revoked_us is not None else None,
    }  # fmt: skip


def _day(us: int | None) -> str | None:
    return None if us is None else f"{from_us(us):%Y-%m-%d}"
