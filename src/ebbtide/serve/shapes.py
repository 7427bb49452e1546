"""What is wrong with the shape of a call, in words: the place and what was expected, never the value that was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ebbtide.core.language import Text, join_texts

_MOST = 10
_EXPECTED: dict[str, Text] = {
    "missing": Text("it must be given", "必须提供"),
    "greater_than_equal": Text("{ge} or more was expected", "应不小于 {ge}"),
    "less_than_equal": Text("{le} or less was expected", "应不大于 {le}"),
    "finite_number": Text("a finite number was expected", "应为有限数"),
    "float_parsing": Text("a number was expected", "应为数字"),
    "int_parsing": Text("a whole number was expected", "应为整数"),
    "int_parsing_size": Text("a whole number of a usual size was expected", "应为大小正常的整数"),
    "bool_parsing": Text("true or false was expected", "应为 true 或 false"),
    "literal_error": Text("one of these was expected: {expected}", "应为以下之一：{expected}"),
    "string_too_short": Text("{min_length} or more characters were expected", "应不少于 {min_length} 个字符"),
    "string_too_long": Text("at most {max_length} characters were expected", "应不超过 {max_length} 个字符"),
    "string_pattern_mismatch": Text("a text of the form {pattern} was expected", "应符合格式 {pattern}"),
}
"""Type of pydantic's error -> what was expected; fields are those of its context, which come from our declarations."""
_OTHER = Text("it has the wrong form", "格式有误")
_CONTEXT = ("ge", "le", "expected", "min_length", "max_length", "pattern")


def wrong_places(errors: Sequence[Mapping[str, Any]]) -> Text:
    """The first places that are wrong, each with what was expected there.

    >>> wrong_places([{"type": "less_than_equal", "loc": ("query", "limit"), "ctx": {"le": 1000}}]).en
    'query.limit: 1000 or less was expected'
    """
    return join_texts([_told(error) for error in errors[:_MOST]], Text("; ", "；"))


def _told(error: Mapping[str, Any]) -> Text:
    where = ".".join(str(part) for part in error["loc"] if isinstance(part, int) or str(part).isidentifier())[:80]
    context = {
        name: str(value).replace(" or ", ", ") for name, value in error.get("ctx", {}).items() if name in _CONTEXT
    }
    expected = _EXPECTED.get(str(error["type"]), _OTHER).format(**context)
    return Text(f"{where}: {expected.en}", f"{where}：{expected.zh}")
