"""Templates: every shipped one is sound, missing facts are named, values cannot break a message."""

from __future__ import annotations

import re

import pytest

from ebbtide.actions.message_defaults import SHIPPED
from ebbtide.actions.messages import FIELDS, Message, clean, fill, template_for, templates_of
from ebbtide.core.errors import ConfigError, InputError
from ebbtide.core.language import LANGUAGES
from ebbtide.core.outreach_settings import MessageConfig

KINDS = {"win_back", "coupon", "recommendation", "apology", "replenishment"}
EVERYTHING = dict.fromkeys(FIELDS, "X")


def test_every_kind_is_shipped_in_both_languages() -> None:
    assert set(templates_of([])) == {(kind, language) for kind in KINDS for language in LANGUAGES}
    for told in SHIPPED:
        assert bool(re.search("[一-鿿]", told["body"])) == (told["language"] == "zh")


@pytest.mark.parametrize("key", sorted(templates_of([])), ids=str)
def test_a_shipped_template_is_filled_whole(key: tuple[str, str]) -> None:
    message = fill(templates_of([])[key], EVERYTHING)  # type: ignore[index]
    assert not re.search(r"[{}]", message.subject + message.body)


def test_missing_facts_are_all_named_with_the_template() -> None:
    with pytest.raises(InputError, match=r"message coupon \(en\): nothing is known for \{offer\}, \{until\}") as caught:
        fill(templates_of([])["coupon", "en"], {"shop": "S"})
    assert "没有值" in caught.value.text.zh


def test_an_empty_fact_is_a_missing_one() -> None:
    with pytest.raises(InputError, match=r"\{item\}"):
        fill(MessageConfig(kind="k", body="{item}"), {"item": " \n"})


def test_the_shops_own_template_wins() -> None:
    own = MessageConfig(kind="coupon", body="{shop} gives {offer}")
    assert fill(templates_of([own])["coupon", "en"], EVERYTHING).body == "X gives X"


def test_all_faults_of_templates_are_told_at_once() -> None:
    faulty = [
        MessageConfig(kind="a", body="{itm} {user_id}"),
        MessageConfig(kind="a", body="x"),
        MessageConfig(kind="b", body="{shop"),
    ]
    with pytest.raises(ConfigError) as caught:
        templates_of(faulty)
    assert len(caught.value.problems) == 4
    assert "did you mean `item`?" in str(caught.value)


def test_a_value_is_not_read_as_a_template_nor_starts_a_header() -> None:
    template = MessageConfig(kind="k", subject="{item}", body="{item}")
    message = fill(template, {"item": "{shop}\r\nBcc: everybody\u202e", "shop": "S"})
    assert message.subject == message.body == "{shop} Bcc: everybody"


def test_a_long_value_is_cut_and_a_long_message_refused() -> None:
    assert len(clean("x" * 1000)) == 300
    with pytest.raises(InputError, match="too long"):
        fill(MessageConfig(kind="k", subject="{item}", body="b"), {"item": "x" * 200})


def test_html_is_escaped() -> None:
    assert Message("k", "en", "", "<script>\n\nb").html() == "<p>&lt;script&gt;</p><p>b</p>"


def test_an_unknown_kind_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean `coupon`"):
        template_for(templates_of([]), "cupon", "en")
