"""Actions as a catalogue would hold them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ebbtide.actions.catalogue import Action, catalogue_of
from ebbtide.core.config import parse_config

MakeActions = Callable[..., tuple[Action, ...]]


@pytest.fixture
def make_actions() -> MakeActions:
    """`make_actions({"name": ...}, ..., cooldown="7d")`: catalogue of these actions; keywords are `[actions]`."""

    def make(*actions: dict[str, Any], **shared: Any) -> tuple[Action, ...]:
        rows = [{"contact_cost": 1.0, **a} for a in actions]
        return catalogue_of(parse_config({"action": rows, "actions": shared}))

    return make
