"""What a dead letter says about itself: headers beside those that the message came with."""

from __future__ import annotations

from collections.abc import Mapping

_OURS = "ebbtide-"
REASON, FIELD, TOPIC, REFUSED_AT = (f"{_OURS}{name}" for name in ("reason", "field", "topic", "refused-at"))


def original_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that a message came with, without those of a dead letter."""
    return {name: value for name, value in headers.items() if not name.startswith(_OURS)}
