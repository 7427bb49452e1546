"""Numbers in text files as shops write them: `1.299,00`, `1 299.00`, `1'299.00`, `(12.50)`, `12.50-`, `12,50 €`.

Groups of three digits may be parted by the other of point and comma, by blanks or by apostrophes; brackets and a minus at
the end mean a negative number. A currency sign is read only where the source names it: amounts of two currencies must not
be added up, so that one with another sign is no number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ebbtide.events.expressions import literal

BLANK = r"[ \t\x{00a0}\x{202f}\x{2009}]"
"""A blank, also one that does not break, as a character class of RE2."""
_APOSTROPHE = r"['’]"
_MINUS = r"[-−]"
_YEN = "[¥￥]"


@dataclass(frozen=True)
class NumberStyle:
    """How a source writes numbers: the decimal sign, and the currency sign or code beside amounts ("" for none)."""

    decimal: str = "."
    currency_sign: str = ""


PLAIN = NumberStyle()


def number_sql(text: str, style: NumberStyle) -> str:
    """SQL that reads a text as DOUBLE, null if it is none."""
    return f"coalesce(try_cast({_usual(text, style)} as double), try_cast({_unusual(text, style)} as double))"


def number_or_fail_sql(text: str, style: NumberStyle) -> str:
    """The same, but SQL that fails where a text is no number."""
    return f"coalesce(try_cast({_usual(text, style)} as double), ({_unusual(text, style)})::double)"


def bare_sql(text: str, currency_sign: str) -> str:
    """SQL of a number's text without currency sign, blanks, apostrophes, brackets and minus: digits, points and commas; as
    it is if there is anything else."""
    own = _unsigned(text, currency_sign)
    shape = rf"(?:[-−+(]{BLANK}*)?[0-9.,]+(?:(?:{BLANK}|{_APOSTROPHE})[0-9]{{3}}[0-9.,]*)*(?:{BLANK}*[-−)])?"
    bare = f"regexp_replace({own}, '[^0-9.,]', '', 'g')"
    return f"(case when regexp_full_match({own}, {literal(shape)}) then {bare} else {text} end)"


def _usual(text: str, style: NumberStyle) -> str:
    """What most numbers are, found fast: digits with at most a decimal sign."""
    if style.decimal == ".":
        return text
    return f"(case when not contains({text}, '.') then replace({text}, ',', '.') end)"


def _unusual(text: str, style: NumberStyle) -> str:
    point, other = re.escape(style.decimal), re.escape("." if style.decimal == "," else ",")
    groups = "|".join(f"(?:{mark}[0-9]{{3}})+" for mark in (other, BLANK, _APOSTROPHE))
    body = f"(?:(?:[0-9]{{1,3}}(?:{groups})|[0-9]+)(?:{point}[0-9]*)?|{point}[0-9]+)"
    front, back = rf"(?:{_MINUS}|\+)?{BLANK}*{body}", rf"{body}{BLANK}*{_MINUS}"
    brackets = rf"\({BLANK}*{body}{BLANK}*\)"
    own = _unsigned(text, style.currency_sign)
    digits = f"replace(regexp_replace({own}, '[^0-9{style.decimal}]', '', 'g'), {literal(style.decimal)}, '.')"
    minus = f"case when regexp_matches({own}, '[-−(]') then '-' else '' end"
    whole = literal(f"{front}|{back}|{brackets}")
    strange = f"when {text} is not null then 'no number'"  # what is absent stays absent
    return f"(case when regexp_full_match({own}, {whole}) then ({minus}) || {digits} {strange} end)"


def _unsigned(text: str, sign: str) -> str:
    """The text without the currency sign at its start or end; a minus or bracket may stand outside of it."""
    trimmed = f"trim({text})"
    if not sign:
        return trimmed
    found = _YEN if sign in ("¥", "￥") else re.escape(sign)
    pattern = rf"^([-−+(]?){BLANK}*{found}{BLANK}*|{BLANK}*{found}{BLANK}*([-−)]?)$"
    return rf"regexp_replace({trimmed}, {literal(pattern)}, '\1\2')"
