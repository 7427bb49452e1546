"""From raw columns to canonical ones: the expressions of a source joined to one query.

The query has four layers, each a subquery of the next: the views of the raw columns (`RawColumn`), the expressions
(`e:NAME`) with a flag whether a raw value was there (`f:NAME`), the canonical values (`v:NAME`, `p:NAME`), and the
reason why the row is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from ebbtide.core.config import ShopConfig
from ebbtide.core.windows import parse_duration
from ebbtide.events.binding import WHERE, Bound, bound_names, kind_of, view_name
from ebbtide.events.expressions import quoted
from ebbtide.events.open_raw import QUARANTINE_ID
from ebbtide.events.raw import RawTable, is_number, number_sql, trimmed_sql
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
    first = [*carried.values(), *_view_list(bound)]
    second = [*carried, f"{_odd(bound, kinds)} as odd", f"{_kept(bound.get(WHERE))} as kept"]
    third = [*carried, "odd", "kept"]
    for name, kind in kinds.items():
        second.append(f"try({bound[name].sql}) as {_name('e', name)}")
        second.append(f"{_present(bound[name], kind)} as {_name('f', name)}")
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
    views = ", ".join(_view_list({"x": bound})) or "1"
    return f"select try({bound.sql}) as x from (select {views} from {raw.relation})"


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


def _view_list(bound: Mapping[str, Bound]) -> list[str]:
    views = {view_name(c.name, v): c.sql(v) for b in bound.values() for c, v in b.views}
    views |= {view_name(c.name, "present"): f"({c.present})" for b in bound.values() for c, _ in b.views}
    return [f"{sql} as {name}" for name, sql in views.items()]


def _name(layer: str, canonical: str) -> str:
    return quoted(f"{layer}:{canonical}")


def _present(b: Bound, kind: str) -> str:
    """Whether there was a raw value, readable or not."""
    if b.plain:
        return f"coalesce({view_name(b.views[0][0].name, 'present')}, false)"
    tests = [f"try({b.sql}) is not null", *(b.failed_sql() if kind in ("number", "time") else [])]
    return f"coalesce({' or '.join(tests)}, false)"


def _odd(bound: Mapping[str, Bound], kinds: Mapping[str, str]) -> str:
    """Whether an expression that has no reason of its own failed on the row."""
    tests = [t for n, b in bound.items() if kinds.get(n) not in ("number", "time") for t in b.failed_sql()]
    return f"coalesce({' or '.join(dict.fromkeys(tests))}, false)" if tests else "false"


def _kept(where: Bound | None) -> str:
    """A row whose filter cannot be evaluated is kept, and refused with a reason."""
    if where is None:
        return "true"
    return f"coalesce(try(({where.sql})::boolean), {' or '.join(where.failed_sql()) or 'false'}, false)"


def _canonical(name: str, kind: str, b: Bound, source: Source, shop: ShopConfig, order: DayOrder) -> list[str]:
    value, present = _name("e", name), _name("f", name)
    as_text = value if b.type == "VARCHAR" else f"({value}::varchar)"
    text = trimmed_sql(as_text) if b.type in ("VARCHAR", "JSON") and b.texts is None else as_text
    if kind == "time":
        plain_utc = shop.timezone in UTC_NAMES
        sql = microseconds_sql(value, b.type, time_format=source.config.time_format, order=order, utc=plain_utc)
    elif kind == "number":
        as_number = number_sql(text, source.config.decimal) if b.type == "VARCHAR" else f"try_cast({value} as double)"
        sql = f"nullif({as_number}, 'nan'::double)"
    elif kind == "flag":
        sql = f"({value} <> 0)" if is_number(b.type) else f"try_cast({text} as boolean)"
    elif kind == "json" and b.type not in ("VARCHAR", "JSON"):
        sql = f"to_json({value})::varchar"
    else:
        sql = text
    if kind in ("text", "type", "json"):
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
