"""Whether a drafted text says only what the facts say: no number, amount, discount, link or product of its own."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from typing import Literal

Problem = Literal["too_long", "empty", "number", "link", "discount", "product", "markup"]
LONGEST = 1500
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_LINK = re.compile(r"https?:|www\.|\S+@\S+|\b[\w-]+\.(?:com|net|org|io|cn|shop|co|ru|info|xyz|de|uk)\b", re.I)
_DISCOUNT = re.compile(
    r"\b(?:discount\w*|coupons?|vouchers?|sale|free|gratis|gifts?|cash\s?back|refund\w*|percent|half[- ]price|save|promo\w*"
    r"|deals?|bonus\w*|rebate\w*|complimentary|per\s?cent|off|guarantee\w*|cheaper|bargains?)\b"
    r"|[%％€£$¥￥]|折|优惠|免费|赠|券|返现|退款|特价|半价|促销|减免|立减|红包|包邮|降价|保证|满减",
    re.I,
)
_WORDED = re.compile(
    r"\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty|fifty|sixty|seventy"
    r"|eighty|ninety|hundred|thousand|half|double|twice)\b|[二两三四五六七八九十百千万]",
    re.I,
)
_QUOTED = re.compile(r"[\"“「『《]([^\"”」』》]{2,80})[\"”」』》]")
_MARKUP = re.compile(r"[<>{}\[\]`|]")


def problems_of(text: str, facts: Mapping[str, str], products: Collection[str] = ()) -> tuple[Problem, ...]:
    """What a draft says beyond the facts; empty if nothing. `products`: names of the shop's items.

    Words are judged after the facts themselves are taken out of the text, so that an offer may be named as it is given
    and only so. Written numbers count as numbers. Unknown products are found among the shop's names and in quotes; a
    name that stands nowhere and in no quotes cannot be recognised.

    >>> problems_of("Take 20% off!", {"shop": "Mug & Co"})
    ('number', 'discount')
    >>> problems_of("Take 20% off!", {"offer": "20% off"})
    ()
    """
    plain = _plain(text)
    if not plain:
        return ("empty",)
    rest = _without(plain, facts.values())
    found: list[Problem] = ["too_long"] if len(text) > LONGEST else []
    checks: tuple[tuple[Problem, bool], ...] = (
        ("number", bool(_NUMBER.search(rest) or _WORDED.search(rest))),
        ("link", bool(_LINK.search(rest))),
        ("discount", bool(_DISCOUNT.search(rest))),
        ("product", _names_a_product(rest, products)),
        ("markup", bool(_MARKUP.search(rest))),
    )
    return (*found, *(problem for problem, holds in checks if holds))


def _plain(text: str) -> str:
    """One spelling for full-width digits and signs, without invisible characters, lower case."""
    seen = "".join(
        c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) not in ("Cf", "Cc") or c.isspace()
    )
    return " ".join(seen.casefold().split())


def _without(text: str, values: Collection[str]) -> str:
    """The text without the facts' values, longest first; a value counts as a whole, not as a part of a number or word."""
    for value in sorted(map(_plain, values), key=len, reverse=True):
        if value:
            text = re.sub(rf"(?<![a-z0-9.,]){re.escape(value)}(?![a-z0-9]|[.,]\d|\s?%)", " ", text)
    return text


def _names_a_product(rest: str, products: Collection[str]) -> bool:
    if _QUOTED.search(rest):
        return True
    return any(len(name) > 2 and _plain(name) in rest for name in products)
