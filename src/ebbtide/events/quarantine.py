"""The quarantine: every row that may not enter the lake, with the reason and the raw row, ready to be corrected.

One Parquet file a raw file, named by the raw file's content, so that a repeated run overwrites instead of adding.
A corrected row comes back with its `_quarantine_id`; its entry then counts as resolved, and is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import polars as pl

from ebbtide.events.expressions import literal, quoted
from ebbtide.events.open_raw import QUARANTINE_ID
from ebbtide.events.raw import RawTable
from ebbtide.events.validate import Reason

SCHEMA: dict[str, pl.DataType] = {
    "quarantine_id": pl.String(),
    "source": pl.String(),
    "file": pl.String(),
    "row_number": pl.Int64(),
    "reason": pl.String(),
    "raw": pl.String(),
}
"""`row_number`: 1 = the first row below the header; `raw`: the raw row as JSON, `{"_line": text}` where it could not
be split."""
REASON = "_reason"
LINE = "_line"


class Quarantine:
    """The quarantine in `folder`. `is_committed` tells whether an append to the lake took place."""

    def __init__(self, folder: Path, is_committed: Callable[[str], bool]) -> None:
        self._folder = folder
        self._is_committed = is_committed

    def read(self, *, source: str | None = None, reason: str | None = None, resolved: bool = False) -> pl.DataFrame:
        """The entries, columns as in SCHEMA, ordered by source, file and row; resolved ones only if asked for."""
        files = sorted(self._folder.glob("rows-*.parquet"))
        if not files:
            return pl.DataFrame(schema=SCHEMA)
        entries = pl.scan_parquet(files)
        if source is not None:
            entries = entries.filter(pl.col("source") == source)
        if reason is not None:
            entries = entries.filter(pl.col("reason") == reason)
        done = self.resolved()
        if not resolved and done.len():
            entries = entries.filter(~pl.col("quarantine_id").is_in(done.implode()))
        found = entries.collect().unique("quarantine_id", keep="first", maintain_order=True)
        return found.sort("source", "file", "row_number")

    def resolved(self) -> pl.Series:
        """Ids of the entries whose corrected row is in the lake."""
        files = sorted(self._folder.glob("resolved-*.parquet"))
        ids = [pl.read_parquet(f)["quarantine_id"] for f in files if self._is_committed(_key_of(f))]
        return pl.concat(ids).unique() if ids else pl.Series("quarantine_id", [], pl.String)

    def export(self, out: Path, *, source: str | None = None, reason: str | None = None) -> int:
        """Write the open entries to correct them: CSV or, by the suffix, JSON lines. Returns their number.

        Columns: the raw ones, then `_quarantine_id` and `_reason`, which must stay for `ingest` to know the row.
        """
        entries = self.read(source=source, reason=reason)
        rows = [
            {**json.loads(raw), QUARANTINE_ID: key, REASON: why}
            for key, why, raw in entries.select("quarantine_id", "reason", "raw").iter_rows()
        ]
        if out.suffix.lower() in (".jsonl", ".ndjson", ".json"):
            out.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), encoding="utf-8")
            return len(rows)
        names = [n for n in dict.fromkeys(k for r in rows for k in r) if n not in (QUARANTINE_ID, REASON)]
        columns = {n: [_cell(r.get(n)) for r in rows] for n in (*names, QUARANTINE_ID, REASON)}
        pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)).write_csv(out)
        return len(rows)

    def write(
        self,
        connection: duckdb.DuckDBPyConnection,
        raw: RawTable,
        refused: Sequence[Path],
        *,
        source: str,
        fingerprint: str,
    ) -> None:
        """Put down the refused rows of one raw file and its broken lines. Nothing refused: the file is removed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        target = self._folder / f"rows-{source}-{fingerprint}.parquet"
        parts = [_refused_sql(raw, refused)] if refused else []
        broken = raw.screened.broken_file if raw.screened else None
        if broken is not None:
            first = 0 if raw.header else 1
            parts.append(
                f"select position + {first} as row_number, {literal(Reason.BAD_ROW.value)} as reason, "
                f"json_object({literal(LINE)}, raw)::varchar as raw from read_parquet({literal(str(broken))})"
            )
        if not parts:
            target.unlink(missing_ok=True)
            return
        rows = " union all ".join(parts)
        twin = "row_number() over (partition by raw order by row_number)"
        sql = f"""select md5({literal(source)} || chr(31) || raw || chr(31) || {twin}) as quarantine_id,
            {literal(source)} as source, {literal(raw.file.name)} as file, row_number, reason, raw from ({rows})
            order by row_number"""
        partial = target.with_suffix(".part")
        connection.execute(f"copy ({sql}) to {literal(str(partial))} (format parquet, compression zstd)").fetchall()
        partial.replace(target)

    def write_resolved(self, key: str, ids: pl.Series) -> None:
        """Note, before the append `key` is committed, which entries it resolves; void if the commit never comes."""
        if ids.len():
            self._folder.mkdir(parents=True, exist_ok=True)
            target = self._folder / f"resolved-{key.encode().hex()}.parquet"
            pl.DataFrame({"quarantine_id": ids}).write_parquet(target.with_suffix(".part"))
            target.with_suffix(".part").replace(target)


def _refused_sql(raw: RawTable, refused: Sequence[Path]) -> str:
    """SQL of row number, reason and raw row of the refused rows; corrected rows that failed again keep their entry."""
    listed = ", ".join(literal(str(f)) for f in refused)
    whole = raw.kept_row or raw.row
    again = raw.find(QUARANTINE_ID)
    fresh = f" where nullif(trim({again.text}), '') is null" if again is not None else ""
    place = quoted("#position")
    rows = f"select *, row_number() over () - 1 as {place} from {raw.relation}"
    return f"""select r.number as row_number, r.reason, ({whole})::varchar as raw from ({rows}) t
        join read_parquet([{listed}]) r on t.{place} = r.position{fresh}"""


def _key_of(file: Path) -> str:
    return bytes.fromhex(file.stem.removeprefix("resolved-")).decode()


def _cell(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
