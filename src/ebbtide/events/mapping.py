"""From raw columns to canonical ones: the expressions of a source joined to one query.

The query has four layers, each a subquery of the next: the expressions inside `try` (`s:NAME`), their values (`e:NAME`)
with a flag whether a raw value was there (`f:NAME`), the canonical values (`v:NAME`, `p:NAME`), and the reason why the
row is refused. An expression that fails on one row gives null there, never an error of the whole file.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from ebbtide.core.settings import ShopConfig
from ebbtide.core.windows import parse_duration
from ebbtide.events.binding import WHERE, Bound, bound_names, kind_of
from ebbtide.events.expressions import quoted
from ebbtide.events.numbers import number_sql
from ebbtide.events.open_raw import QUARANTINE_ID
from ebbtide.events.raw import RawTable, is_number, trimmed_sql
from ebbtide.events.schema import EVENT_TYPES, TABLE_COLUMNS
from ebbtide.events.source import Source
from ebbtide.events.times import UTC_NAMES, DayOrder, microseconds_sql
from ebbtide.events.validate import latest_us, reason_sql

_LISTED_TYPES = ", ".join(f"'{t}'" for t in EVENT_TYPES)
_US_A_SECOND = 1_000_000


def mapped_query(
    raw: RawTable,
    bound: Mapping[str, Bound],
    source: Source,
    shop: ShopConfig,
    *,
    now: datetime,
    orders: Mapping[str, DayOrder],
) -> str:
    """The SQL that turns the raw table into canonical rows, in the order of the file.

    Columns out: `kept` (the filter holds), `reason` (null: good), then, where they apply, `copy` (hash of the whole
    raw row), `number` (row number) and `_quarantine_id`; then the canonical columns, times as BIGINT UTC microseconds.
    """
    kinds = {name: kind_of(source.table, name) for name in bound_names(bound)}
    carried = _carried(raw, source)
    first = [*carried.values(), *(part for name, b in bound.items() for part in _evaluated(name, b))]
    second = [*carried, f"{_odd(bound, kinds)} as odd", f"{_kept(bound.get(WHERE))} as kept"]
    third = [*carried, "odd", "kept"]
    for name, kind in kinds.items():
        second += _value_and_presence(name, kind, bound[name])
        third += _canonical(name, kind, bound[name], source, shop, orders.get(name, ""))
    checked = {n: "text" if k == "type" else k for n, k in kinds.items() if n != "type" or bound[n].texts is None}
    reason = reason_sql(
        source.table, checked, currency=shop.currency, latest=latest_us(now), broken="broken" in carried
    )
    known = bound["type"].texts if "type" in bound else None
    types_known = known is not None and known <= set(EVENT_TYPES)
    fourth = [
        "kept",
        f"{reason} as reason",
        *(n for n in carried if n != "broken"),
        *_output(source.table, kinds, shop, types_known=types_known),
    ]
    return f"""select {", ".join(fourth)} from (select {", ".join(third)} from
        (select {", ".join(second)} from (select {", ".join(first) or "1"} from {raw.relation})))"""


def values_sql(raw: RawTable, bound: Bound) -> str:
    """SQL of a bound expression alone, as column `x`."""
    return f"select try({bound.sql}) as x from {raw.relation}"


def _carried(raw: RawTable, source: Source) -> dict[str, str]:
    """Columns beside the canonical ones that pass through all layers: name -> SQL of the first layer."""
    carried = {"broken": f"{raw.broken} as broken"} if raw.broken else {}
    if source.config.drop_exact_duplicates:
        carried["copy"] = f"hash({', '.join(c.text for c in raw.columns)}) as copy"
    if raw.numbered:
        carried["number"] = f"{quoted('#number')} as number"
    given = raw.find(QUARANTINE_ID)
    if given is not None:
        carried[QUARANTINE_ID] = f"nullif(trim({given.text}), '') as {QUARANTINE_ID}"
    return carried


def _name(layer: str, canonical: str) -> str:
    return quoted(f"{layer}:{canonical}")


def _evaluated(name: str, b: Bound) -> list[str]:
    """First layer. A bare column: its value and whether there is one. Else a struct around the value, which is null
    only where the expression failed."""
    if b.column is not None and name != WHERE:
        return [f"try({b.sql}) as {_name('e', name)}", f"({b.column.present}) as {_name('f', name)}"]
    return [f"try(struct_pack(v := {b.sql})) as {_name('s', name)}"]


def _value_and_presence(name: str, kind: str, b: Bound) -> list[str]:
    """Second layer: the value, and whether there was a raw one, readable or not."""
    if b.column is not None:
        return [_name("e", name), _name("f", name)]
    value, failed = f"{_name('s', name)}.v", f"{_name('s', name)} is null"
    present = f"{value} is not null or {failed}" if kind in ("number", "time") else f"{value} is not null"
    return [f"{value} as {_name('e', name)}", f"({present}) as {_name('f', name)}"]


def _odd(bound: Mapping[str, Bound], kinds: Mapping[str, str]) -> str:
    """Whether an expression that has no reason of its own failed on the row."""
    asked = [n for n, b in bound.items() if n == WHERE or (b.column is None and kinds[n] not in ("number", "time"))]
    failed = " or ".join(_name("s", n) + " is null" for n in asked)
    return f"({failed})" if failed else "false"


def _kept(where: Bound | None) -> str:
    """A row whose filter cannot be evaluated is kept, and refused with a reason."""
    if where is None:
        return "true"
    struct = _name("s", WHERE)
    return f"({struct} is null or coalesce({struct}.v::boolean, false))"


def _canonical(name: str, kind: str, b: Bound, source: Source, shop: ShopConfig, order: DayOrder) -> list[str]:
    value, present = _name("e", name), _name("f", name)
    as_text = value if b.type == "VARCHAR" else f"({value}::varchar)"
    text = trimmed_sql(as_text) if b.type in ("VARCHAR", "JSON") and b.texts is None else as_text
    if kind == "time":
        plain_utc = shop.timezone in UTC_NAMES
        sql = microseconds_sql(value, b.type, time_format=source.config.time_format, order=order, utc=plain_utc)
    elif kind == "number":
        as_number = number_sql(text, source.numbers) if b.type == "VARCHAR" else f"try_cast({value} as double)"
        sql = f"nullif({as_number}, 'nan'::double)"
    elif kind == "flag":
        sql = f"({value} <> 0)" if is_number(b.type) else f"try_cast({text} as boolean)"
    elif kind in ("json", "vector") and b.type not in ("VARCHAR", "JSON"):
        sql = f"to_json({value})::varchar"
    else:
        sql = text
    if kind in ("text", "type", "json", "vector"):
        present = f"({sql} is not null)"
    return [f"{sql} as {_name('v', name)}", f"{present} as {_name('p', name)}"]


def _output(table: str, kinds: Mapping[str, str], shop: ShopConfig, *, types_known: bool) -> list[str]:
    """The canonical columns of the result, in the order of the schema. `types_known`: no type needs translation."""
    out = {name: _name("v", name) for name in TABLE_COLUMNS[table] if name in kinds}
    if table == "events" and not types_known:
        out |= _typed(out.get("properties", ""))
    if "ingested_at" in TABLE_COLUMNS[table]:
        lag = int(parse_duration(shop.arrival_lag).total_seconds() * _US_A_SECOND)
        late = f"{_name('v', 'occurred_at')} + {lag}"
        out["ingested_at"] = f"coalesce({out['ingested_at']}, {late})" if "ingested_at" in out else late
    if "currency" in out:
        out["currency"] = f"upper({out['currency']})"
    return [f"{sql} as {quoted(name)}" for name, sql in out.items()]


def _typed(properties: str) -> dict[str, str]:
    """The event type; an unknown one becomes `custom` and its raw name goes to the properties."""
    kind = f"lower({_name('v', 'type')})"
    known = f"coalesce({kind} in ({_LISTED_TYPES}), false)"
    raw_name = f"case when {_name('v', 'type')} is not null then json_object('raw_type', {_name('v', 'type')}) end"
    merged = (
        f"coalesce(json_merge_patch({properties}, {raw_name}), {raw_name}, {properties})" if properties else raw_name
    )
    return {
        "type": f"case when {known} then {kind} else 'custom' end",
        "properties": f"(case when {known} then {properties or 'null'} else {merged} end)::varchar",
    }
