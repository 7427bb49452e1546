"""An alert as it goes out, the same for every channel: JSON with a type, a moment and what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from ebbtide.core.windows import from_us
from ebbtide.store.alerts import Alert

OPENED = "alert.opened"


@dataclass(frozen=True)
class AlertMessage:
    """`kind`: `alert.opened`; `at`: ISO moment of the alert; `data`: the alert."""

    kind: str
    at: str
    data: Mapping[str, Any]

    def to_bytes(self) -> bytes:
        """The JSON that goes out; the same alert gives the same bytes."""
        return orjson.dumps({"type": self.kind, "timestamp": self.at, "data": dict(self.data)})

    @classmethod
    def read(cls, body: bytes) -> AlertMessage:
        """The inverse of `to_bytes`."""
        told = orjson.loads(body)
        return cls(told["type"], told["timestamp"], told["data"])


def alert_json(alert: Alert) -> dict[str, Any]:
    """An alert for people and machines; moments are ISO times, `suppressed` is None where it was not."""
    return {
        "alert_id": alert.alert_id,
        "rule": alert.rule,
        "user_id": alert.user_id,
        "at": from_us(alert.at_us).isoformat(),
        "state": alert.state,
        "suppressed": alert.suppressed or None,
        "owner": alert.owner or None,
        "expires_at": from_us(alert.expires_us).isoformat(),
        "changed_at": from_us(alert.changed_us or alert.at_us).isoformat(),
        **alert.detail,
    }


def opened(alert: Alert) -> AlertMessage:
    """The message that an alert was opened."""
    left_out = ("state", "suppressed", "owner", "changed_at")
    told = {name: value for name, value in alert_json(alert).items() if name not in left_out}
    return AlertMessage(OPENED, told["at"], {**told, "shop_id": alert.shop_id})
