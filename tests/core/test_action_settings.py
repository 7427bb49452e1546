"""The settings of actions: what is missing or contradicts is named, all at once, in both languages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ebbtide.core.config import load_config, parse_config
from ebbtide.core.errors import ConfigError

COUPON = {"name": "coupon", "kind": "coupon", "contact_cost": 0.1, "value": 5.0}


def problems(*actions: dict[str, Any], **settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config({"action": list(actions), "actions": settings})
    assert all(p.en and p.zh for p in caught.value.problems)
    return str(caught.value)


def test_actions_are_read_in_their_order() -> None:
    config = parse_config({"action": [COUPON, {"name": "letter", "contact_cost": 0, "deadline": {"high": "1d"}}]})
    assert [a.name for a in config.action] == ["coupon", "letter"]
    assert config.action[1].deadline == {"high": "1d"}


def test_the_settings_of_actions_come_from_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "ebbtide.toml"
    file.write_text('[[action]]\nname = "letter"\ncontact_cost = 0.2\n[actions]\nepsilon = 0.1\n')
    loaded = load_config(file, environ={"EBBTIDE_ACTIONS__EPSILON": "0.05", "EBBTIDE_ACTIONS__ALLOW": '["u1"]'})
    assert loaded.actions.epsilon == 0.05
    assert loaded.actions.allow == ["u1"]


def test_missing_costs_and_names_used_twice_are_all_named() -> None:
    said = problems({"name": "call", "kind": "call"}, COUPON, COUPON, {"name": "nothing", "contact_cost": 1})
    assert "3 problems" in said
    assert "action call: contact_cost is missing" in said
    assert "the name coupon is used twice" in said
    assert "only it is named `nothing`" in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kinds": "coupon"}, r"action\.0\.kinds: unknown key \(did you mean `kind`\?\)"),
        ({"quiet": "evening"}, "`evening` is no span of hours"),
        ({"quiet": "25:00-08:00"}, "action.0.quiet"),
        ({"cooldown": "soon"}, "`soon` is not a duration"),
        ({"deadline": {"hot": "1d"}}, "`hot` is no band"),
        ({"contact_cost": -1}, "greater than or equal to 0"),
        ({"name": ""}, "needs a name"),
    ],
)
def test_an_action_that_cannot_be_is_refused_by_name(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config({"action": [{**COUPON, **change}]})


def test_shares_must_not_contradict() -> None:
    assert "min_share must not exceed max_share" in problems(min_share=0.5, max_share=0.2)
