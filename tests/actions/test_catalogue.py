"""The catalogue: what an action costs, and what is said where there is none."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from ebbtide.actions.catalogue import EXAMPLE, KINDS, catalogue_of
from ebbtide.core.config import Config, parse_config
from ebbtide.core.errors import InputError
from ebbtide.events.simulator.files import workspace_text
from ebbtide.events.simulator.settings import ACTIONS, SimulationConfig

Make = Callable[..., Any]


def test_expected_costs_weigh_the_offer_by_its_acceptance(make_actions: Make) -> None:
    """0.1 + 0.25 x (2 + 6) = 2.1; if accepted 0.1 + 8."""
    (coupon,) = make_actions(
        {"name": "coupon", "contact_cost": 0.1, "acceptance_cost": 2, "value": 6, "acceptance": 0.25}
    )
    assert coupon.expected_cost == pytest.approx(2.1)
    assert coupon.worst_cost == pytest.approx(8.1)


def test_an_acceptance_that_is_not_told_is_the_mean_of_the_prior(make_actions: Make) -> None:
    (coupon,) = make_actions({"name": "coupon", "value": 10, "contact_cost": 0})
    assert coupon.expected_cost == pytest.approx(10 * 6 / 20)


def test_what_an_action_leaves_open_is_that_of_all_actions(make_actions: Make) -> None:
    first, second = make_actions({"name": "a"}, {"name": "b", "cooldown": "2d"}, cooldown="7d", quiet="21:00-08:00")
    assert (first.cooldown, second.cooldown) == (timedelta(days=7), timedelta(days=2))
    assert first.quiet is not None
    (receipt,) = make_actions({"name": "receipt", "transactional": True}, cooldown="7d", quiet="21:00-08:00")
    assert receipt.cooldown == timedelta()
    assert receipt.quiet is None


def test_without_actions_an_example_is_shown_that_works() -> None:
    for config in (Config(), parse_config({"action": [{"name": "nothing", "kind": "nothing"}]})):
        with pytest.raises(InputError, match="no action is declared") as caught:
            catalogue_of(config)
        assert EXAMPLE in caught.value.text.zh
    assert [a.name for a in catalogue_of(parse_config(tomllib.loads(EXAMPLE)))] == ["coupon", "call"]


def test_every_kind_has_its_words() -> None:
    assert all(text.en and text.zh for text in KINDS.values())


def test_the_simulated_shop_declares_the_arms_of_its_campaigns() -> None:
    """So that `ebbtide plan` works in the demo shop right away."""
    config = parse_config(tomllib.loads(workspace_text(SimulationConfig())))
    assert {a.name for a in catalogue_of(config)} == set(ACTIONS) - {"nothing"}
    assert all(a.assumed_effect for a in catalogue_of(config))
