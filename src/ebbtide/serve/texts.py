"""Texts of callers, of which every store can hold only some: PostgreSQL knows no NUL, UTF-8 no half characters."""

from __future__ import annotations

PLAIN = r"^[^\x00]*$"
"""Pattern of a text in an address: what was sent as bytes is never a half character."""


def is_plain(text: str) -> bool:
    r"""Whether a store can hold it.

    >>> is_plain("Zoë"), is_plain("a\x00"), is_plain("\ud800")
    (True, False, False)
    """
    return "\x00" not in text and not any("\ud800" <= c <= "\udfff" for c in text)
