"""Which rows may enter the lake: the closed list of reasons against it, and each as SQL over a mapped row.

A row gets the first reason that holds, in the order of the list. The same codes stand in the quarantine, in the
output of `ingest` and in the documentation.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum

from ebbtide.core.language import Text
from ebbtide.core.windows import to_us

ID_LENGTH = 256
TEXT_LENGTH = 65_536
VECTOR_LENGTH = 262_144
FUTURE_TOLERANCE = timedelta(days=1)
_FIRST_REAL_US = 365 * 86_400_000_000
"""1971-01-01: what lies before is the default of some software (1970, 1900, 0001), not an event of a shop."""


class Reason(Enum):
    """Why a row was kept out of the lake."""

    BAD_ROW = "bad_row"
    BAD_JSON = "bad_json"
    MISSING_USER = "missing_user"
    MISSING_ITEM = "missing_item"
    MISSING_TIME = "missing_time"
    MISSING_VALUE = "missing_value"
    BAD_TIME = "bad_time"
    DEFAULT_TIME = "default_time"
    FUTURE_TIME = "future_time"
    BAD_NUMBER = "bad_number"
    BAD_VALUE = "bad_value"
    BAD_VECTOR = "bad_vector"
    NEGATIVE_PRICE = "negative_price"
    UNKNOWN_CURRENCY = "unknown_currency"
    TOO_LONG = "too_long"
    CONFLICTING_ID = "conflicting_id"
    UNKNOWN_FIELD = "unknown_field"

    @property
    def text(self) -> Text:
        """What the code means, in words."""
        return _TEXTS[self]


_TEXTS: dict[Reason, Text] = {
    Reason.BAD_ROW: Text(
        "the line cannot be split into the columns of the file (quotes, number of fields, encoding)",
        "该行无法按文件的列拆分（引号、字段数或编码有误）",
    ),
    Reason.BAD_JSON: Text("the text is no valid JSON", "文本不是有效的 JSON"),
    Reason.MISSING_USER: Text(
        "no user id: guests are normal, filter them with `where` if you do not want them here",
        "没有用户 ID：游客属正常情况，如不想列在此处，可用 `where` 过滤",
    ),
    Reason.MISSING_ITEM: Text("no item id", "没有商品 ID"),
    Reason.MISSING_TIME: Text("no time", "没有时间"),
    Reason.MISSING_VALUE: Text("a column that the table cannot do without is empty", "该表必需的列为空"),
    Reason.BAD_TIME: Text(
        "the time cannot be read: set `time_format` if the file has a format of its own",
        "时间无法识别：若文件使用特殊格式，请设置 `time_format`",
    ),
    Reason.DEFAULT_TIME: Text(
        "the time lies before 1971: a default of some software, not a real time",
        "时间早于 1971 年：是软件默认值，不是真实时间",
    ),
    Reason.FUTURE_TIME: Text(
        "the time lies more than a day in the future: a wrong clock, unit or time zone",
        "时间在一天以后的将来：时钟、单位或时区有误",
    ),
    Reason.BAD_NUMBER: Text("a number cannot be read or is infinite", "数字无法识别或为无穷大"),
    Reason.BAD_VALUE: Text(
        "a value is not of the type that its column has in the rest of the file", "值的类型与该列其余内容不符"
    ),
    Reason.BAD_VECTOR: Text(
        "the vector is no list of finite numbers, such as [0.1, -2, 3e-5]",
        "向量不是有限数值的列表，例如 [0.1, -2, 3e-5]",
    ),
    Reason.NEGATIVE_PRICE: Text(
        "the unit price is negative (refunds have a negative value or quantity, not a negative price)",
        "单价为负（退款应以负的金额或数量表示，而非负单价）",
    ),
    Reason.UNKNOWN_CURRENCY: Text(
        "the currency is not the shop's: amounts of two currencies are never added up",
        "货币与店铺货币不同：不同货币的金额不会相加",
    ),
    Reason.TOO_LONG: Text(
        f"an id or name is longer than {ID_LENGTH} characters, a text longer than {TEXT_LENGTH:,}, or a vector longer "
        f"than {VECTOR_LENGTH:,}",
        f"ID 或名称超过 {ID_LENGTH} 个字符，文本超过 {TEXT_LENGTH:,} 个字符，或向量超过 {VECTOR_LENGTH:,} 个字符",
    ),
    Reason.CONFLICTING_ID: Text(
        "the lake holds another event with the same event_id: ids must be unique over all sources",
        "数据湖中已有相同 event_id 的另一事件：ID 在所有来源中必须唯一",
    ),
    Reason.UNKNOWN_FIELD: Text(
        "an event sent live has a field that is not canonical: put it under `properties`",
        "实时事件含有非规范字段：请放入 `properties`",
    ),
}

_KEYS: dict[str, tuple[str, ...]] = {
    "events": ("user_id", "occurred_at"),
    "items": ("item_id",),
    "users": ("user_id",),
    "consents": ("user_id", "purpose", "granted"),
    "exposures": ("user_id", "occurred_at", "action"),
}
_MISSING = {"user_id": Reason.MISSING_USER, "item_id": Reason.MISSING_ITEM, "occurred_at": Reason.MISSING_TIME}


def required_columns(table: str) -> tuple[str, ...]:
    """The canonical columns that a row of the table cannot do without."""
    return _KEYS[table]


def latest_us(now: datetime) -> int:
    """The latest moment that an event may carry when it is read at `now`, UTC microseconds."""
    return to_us(now + FUTURE_TOLERANCE)


def reason_sql(table: str, kinds: dict[str, str], *, currency: str, latest: int, broken: bool) -> str:
    """SQL of a row's reason code, null for a good row.

    Over columns `v:NAME` (canonical value), `p:NAME` (the raw value was present) of the mapped canonical columns
    `kinds` (name -> text, number, time, flag, json, vector) and, if `broken`, the flag `broken`.
    """
    tests = [("broken", Reason.BAD_JSON)] if broken else []
    for name in required_columns(table):
        tests.append((f'not "p:{name}"' if name in kinds else "true", _MISSING.get(name, Reason.MISSING_VALUE)))
    times = [n for n, kind in kinds.items() if kind == "time"]
    tests += [(f'"p:{n}" and "v:{n}" is null', Reason.BAD_TIME) for n in times]
    tests += [(f'"v:{n}" < {_FIRST_REAL_US}', Reason.DEFAULT_TIME) for n in times if n == "occurred_at"]
    tests += [(f'"v:{n}" > {latest}', Reason.FUTURE_TIME) for n in times if n in ("occurred_at", "ingested_at")]
    tests += [(f'"p:{n}" and ("v:{n}" is null or isinf("v:{n}"))', Reason.BAD_NUMBER) for n in _of(kinds, "number")]
    tests += [(f'"p:{n}" and "v:{n}" is null', Reason.BAD_VALUE) for n in _of(kinds, "flag")]
    tests += [('"odd"', Reason.BAD_VALUE)]
    tests += [(f'"p:{n}" and not coalesce(json_valid("v:{n}"), false)', Reason.BAD_JSON) for n in _of(kinds, "json")]
    tests += [(f'"p:{n}" and {_is_no_vector(f"v:{n}")}', Reason.BAD_VECTOR) for n in _of(kinds, "vector")]
    tests += [('"v:unit_price" < 0', Reason.NEGATIVE_PRICE)] if "unit_price" in kinds else []
    if "currency" in kinds and currency:
        tests.append((f"upper(\"v:currency\") <> '{currency.upper()}'", Reason.UNKNOWN_CURRENCY))
    for n in (*_of(kinds, "text"), *_of(kinds, "json"), *_of(kinds, "vector")):
        tests.append((f'strlen("v:{n}") > {_limit(n)} and length("v:{n}") > {_limit(n)}', Reason.TOO_LONG))
    cases = " ".join(f"when {test} then '{reason.value}'" for test, reason in tests)
    return f"case {cases} end"


def _of(kinds: dict[str, str], kind: str) -> list[str]:
    return [name for name, found in kinds.items() if found == kind]


def _is_no_vector(column: str) -> str:
    """SQL: anything but a JSON list of one or more finite numbers. (DuckDB would read numbers in quotes, too.)"""
    numbers = f'try_cast("{column}" as double[])'
    bad = f"list_bool_or(list_transform({numbers}, lambda x: x is null or not isfinite(x)))"
    return f"""coalesce(contains("{column}", '"') or len({numbers}) = 0 or {bad}, true)"""


def _limit(name: str) -> int:
    if name == "vector":
        return VECTOR_LENGTH
    return TEXT_LENGTH if name in ("text", "query", "properties", "picture") else ID_LENGTH
