"""`quarantine`: the rows that were not accepted, counted by file and reason, and written out to be corrected."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from ebbtide.core.errors import InputError, RetryError
from ebbtide.core.language import Text
from ebbtide.core.sections import Readable, Section
from ebbtide.events.open_raw import QUARANTINE_ID
from ebbtide.events.validate import Reason
from ebbtide.pipeline.ingest import open_quarantine

_COLUMNS = (
    Text("source", "来源"),
    Text("file", "文件"),
    Text("code", "代码"),
    Text("why", "原因"),
    Text("rows", "行数"),
    Text("first row", "首行"),
)
_EMPTY = Text("the quarantine is empty", "隔离区为空")
_NEXT = Text(
    "write them to a file with `ebbtide quarantine export FILE`, correct it, then `ebbtide ingest FILE`",
    "用 `ebbtide quarantine export 文件` 写出，改正后再运行 `ebbtide ingest 文件`",
)
_EXPORTED = Text("{rows:,} rows written to {out}; keep the column {key}", "已将 {rows:,} 行写入 {out}；请保留列 {key}")


@dataclass(frozen=True)
class RefusedRows:
    """The open rows of one raw file that were refused for one reason; `first_row` 1 is the first below the header."""

    source: str
    file: str
    reason: str
    rows: int
    first_row: int


@dataclass(frozen=True)
class QuarantineList(Readable):
    """The open rows by source, file and reason."""

    groups: tuple[RefusedRows, ...]

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(group.rows for group in self.groups)

    def sections(self) -> tuple[Section, ...]:
        """The groups as a table, and what to do with them."""
        if not self.groups:
            return (Section(lines=(_EMPTY,)),)
        rows = tuple((g.source, g.file, g.reason, Reason(g.reason).text, g.rows, g.first_row) for g in self.groups)
        return (Section(columns=_COLUMNS, rows=rows), Section(lines=(_NEXT,)))

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {"rows": self.rows, "groups": [asdict(group) for group in self.groups]}


@dataclass(frozen=True)
class QuarantineExport(Readable):
    """Rows that were written to a file."""

    out: Path
    rows: int

    def sections(self) -> tuple[Section, ...]:
        """Where they are."""
        return (Section(lines=(_EXPORTED.format(rows=self.rows, out=self.out, key=QUARANTINE_ID),)),)

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {"rows": self.rows, "out": str(self.out)}


def list_quarantine(root: Path, *, source: str | None = None, reason: str | None = None) -> QuarantineList:
    """Count the open rows. Raises MissingError before the first ingest, InputError for a reason that does not exist."""
    entries = open_quarantine(root).read(source=source, reason=_known(reason))
    grouped = entries.group_by("source", "file", "reason").agg(rows=pl.len(), first_row=pl.col("row_number").min())
    return QuarantineList(tuple(RefusedRows(**row) for row in grouped.sort("source", "file", "first_row").to_dicts()))


def export_quarantine(
    root: Path, out: Path, *, source: str | None = None, reason: str | None = None
) -> QuarantineExport:
    """Write the open rows to `out`: CSV or, by the suffix, JSON lines. Raises RetryError if the disk refuses."""
    try:
        rows = open_quarantine(root).export(out, source=source, reason=_known(reason))
    except OSError as fault:
        why = fault.strerror or "disk"
        raise RetryError("the rows could not be written: {why}", "无法写出这些行：{why}", why=why) from None
    return QuarantineExport(out, rows)


def _known(reason: str | None) -> str | None:
    codes = [r.value for r in Reason]
    if reason is not None and reason not in codes:
        listed = ", ".join(codes)
        raise InputError(
            f"no reason code `{reason}`; the codes are {listed}", f"没有原因代码 `{reason}`；可用代码：{listed}"
        )
    return reason
