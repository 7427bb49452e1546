"""Messages: templates with merge fields, filled with facts about one customer, and refused where a fact is missing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from html import escape

from ebbtide.actions.message_defaults import SHIPPED
from ebbtide.core.errors import ConfigError, InputError
from ebbtide.core.language import Language, Text
from ebbtide.core.outreach_settings import MessageConfig
from ebbtide.core.settings import did_you_mean

FIELDS: dict[str, Text] = {
    "shop": Text("name of the shop", "店铺名称"),
    "item": Text("the first recommended item", "首个推荐商品"),
    "items": Text("the recommended items, joined", "推荐商品，以顿号或逗号连接"),
    "reason": Text("why the first item is recommended", "推荐首个商品的理由"),
    "last_item": Text("an item of the latest order", "最近一单中的商品"),
    "category": Text("the category bought most", "购买最多的类目"),
    "days_silent": Text("whole days since the latest order", "距最近一单的整天数"),
    "orders": Text("number of orders", "订单数"),
    "days_late": Text("days by which the latest delivery was late", "最近一次配送延误的天数"),
    "offer": Text("what is offered, given by the shop", "店铺给出的优惠"),
    "until": Text("until when the offer holds, given by the shop", "优惠有效期，由店铺给出"),
}
"""The merge fields; all that a message may say of a customer."""
LONGEST_SUBJECT, LONGEST_BODY, LONGEST_VALUE = 150, 4000, 300
_FIELD = re.compile(r"\{(\w+)(?:\|([^{}]*))?\}")


@dataclass(frozen=True)
class Message:
    """One message to one customer, plain text. `source`: `template` or `draft`."""

    kind: str
    language: Language
    subject: str
    body: str
    source: str = "template"

    def html(self) -> str:
        """The body as HTML, everything escaped.

        >>> Message("x", "en", "", "a < b").html()
        '<p>a &lt; b</p>'
        """
        return "".join(f"<p>{escape(part)}</p>" for part in self.body.split("\n") if part.strip())

    def to_json(self) -> dict[str, str]:
        """JSON-safe fields."""
        return asdict(self)


def templates_of(own: Iterable[MessageConfig]) -> dict[tuple[str, Language], MessageConfig]:
    """The shipped templates and the shop's own, by kind and language; the own ones win.

    Raises ConfigError with every unknown field, lone brace and double declaration.
    """
    found = {(t.kind, t.language): t for t in (MessageConfig(**told) for told in SHIPPED)}
    problems, seen = list[Text](), set[tuple[str, Language]]()
    for template in own:
        key = (template.kind, template.language)
        where = f"message {template.kind} ({template.language})"
        if key in seen:
            problems.append(Text(f"{where} is declared twice", f"{where} 重复声明"))
        seen.add(key)
        problems += [_unknown(where, name) for name in _names(template) if name not in FIELDS]
        if any(sign in _FIELD.sub("", part) for part in (template.subject, template.body) for sign in "{}"):
            problems.append(
                Text(f"{where}: a brace that belongs to no {{field}}", f"{where}：存在不属于任何 {{字段}} 的花括号")
            )
        found[key] = template
    if problems:
        raise ConfigError(problems)
    return found


def template_for(
    templates: Mapping[tuple[str, Language], MessageConfig], kind: str, language: Language
) -> MessageConfig:
    """The template of a kind and language. Raises InputError if there is none."""
    if (kind, language) in templates:
        return templates[kind, language]
    known = ", ".join(sorted({k for k, spoken in templates if spoken == language}))
    raise InputError(
        "no template of kind `{kind}` in {language}{hint}; the kinds are {known}",
        "没有种类为 `{kind}` 的 {language} 模板{hint}；可用种类：{known}",
        kind=kind,
        language=language,
        hint=did_you_mean(kind, known.split(", ")),
        known=known,
    )


def fill(template: MessageConfig, facts: Mapping[str, str]) -> Message:
    """The template with its fields filled; values lose control characters and are cut to 300 characters.

    >>> t = MessageConfig(kind="hello", body="{shop}: {item|our best} for you")
    >>> fill(t, {"shop": "Mug & Co"}).body
    'Mug & Co: our best for you'

    Raises InputError naming every field that has neither a value nor a fallback, or for a text that is too long.
    """
    held = {name: clean(value) for name, value in facts.items()}
    missing = [name for name, fallback in _parts(template) if fallback is None and not held.get(name)]
    if missing:
        listed = ", ".join(f"{{{name}}}" for name in dict.fromkeys(missing))
        raise InputError(
            f"message {template.kind} ({template.language}): nothing is known for {listed}; write {{field|fallback}} in "
            "the template, give it with --fact, or choose another kind",
            f"消息 {template.kind}（{template.language}）：{listed} 没有值；请在模板中写 {{字段|替代文字}}、用 --fact 给出，或选择其他种类",
        )

    def value(match: re.Match[str]) -> str:
        return held.get(match[1]) or match[2] or ""

    subject, body = _FIELD.sub(value, template.subject), _FIELD.sub(value, template.body)
    if len(subject) > LONGEST_SUBJECT or len(body) > LONGEST_BODY:
        raise InputError(
            f"message {template.kind} ({template.language}) is too long: at most {LONGEST_SUBJECT} characters of subject "
            f"and {LONGEST_BODY} of body; shorten the template",
            f"消息 {template.kind}（{template.language}）过长：主题至多 {LONGEST_SUBJECT} 字，正文至多 {LONGEST_BODY} 字；请缩短模板",
        )
    return Message(template.kind, template.language, " ".join(subject.split()), body.strip())


def clean(value: str) -> str:
    """A value in one line: no control characters (which could start a mail header), at most 300 characters.

    >>> clean("mug\\r\\nBcc: x")
    'mug Bcc: x'
    """
    plain = "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") else c for c in value)
    return " ".join(plain.split())[:LONGEST_VALUE]


def _names(template: MessageConfig) -> list[str]:
    return list(dict.fromkeys(name for name, _ in _parts(template)))


def _parts(template: MessageConfig) -> list[tuple[str, str | None]]:
    found = _FIELD.finditer(f"{template.subject}\n{template.body}")
    return [(match[1], match[2]) for match in found]


def _unknown(where: str, name: str) -> Text:
    hint, known = did_you_mean(name, FIELDS), ", ".join(FIELDS)
    return Text(
        f"{where}: no merge field {{{name}}}{hint}; the fields are {known}",
        f"{where}：没有合并字段 {{{name}}}{hint}；可用字段：{known}",
    )
