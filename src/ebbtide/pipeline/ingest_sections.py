"""Where the rows went, as tables and sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict

from ebbtide.core.language import Text
from ebbtide.core.sections import Section
from ebbtide.events.ledger import Counts
from ebbtide.events.validate import Reason

_COUNTS = (
    Text("source", "来源"),
    Text("read", "读取"),
    Text("accepted", "接受"),
    Text("quarantined", "隔离"),
    Text("filtered", "过滤"),
    Text("duplicates", "重复"),
)
_SUM = Text(
    "{read:,} rows read = {accepted:,} accepted + {quarantined:,} quarantined + {filtered:,} filtered "
    "+ {duplicates:,} duplicates",
    "读取 {read:,} 行 = 接受 {accepted:,} + 隔离 {quarantined:,} + 过滤 {filtered:,} + 重复 {duplicates:,}",
)
_REASONS = (Text("why", "原因"), Text("code", "代码"), Text("rows", "行数"))
_IN_QUARANTINE = Text(
    "In quarantine (`ebbtide quarantine list` shows where)", "隔离区（`ebbtide quarantine list` 查看位置）"
)


def account_sections(
    sources: Mapping[str, Counts], total: Counts, rejected: Counter[str], notes: tuple[Text, ...]
) -> tuple[Section, ...]:
    """The counts by source where there are several, their sum, the reasons for quarantine, what else to know."""
    table = tuple((name, *asdict(counts).values()) for name, counts in sources.items())
    reasons = tuple((r.text, r.value, rejected[r.value]) for r in Reason if rejected[r.value])
    found = [Section(columns=_COUNTS, rows=table)] if len(table) > 1 else []
    found.append(Section(lines=(_SUM.format(**asdict(total)),)))
    if reasons:
        found.append(Section(_IN_QUARANTINE, columns=_REASONS, rows=reasons))
    if notes:
        found.append(Section(lines=notes))
    return tuple(found)
