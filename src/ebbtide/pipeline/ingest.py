"""Use case: raw logs into the lake and the quarantine. Incremental, idempotent, every row accounted for."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from ebbtide.core.config import Config, check_variables
from ebbtide.core.errors import DefectError, InputError, MissingError, SourceError
from ebbtide.core.language import Text, join_texts
from ebbtide.core.progress import Progress, silent
from ebbtide.core.sections import Readable, Section
from ebbtide.core.settings import SourceConfig
from ebbtide.events.files import check_files, content_hash, find_files, format_of
from ebbtide.events.lake import Lake, lake_folder, landing_key
from ebbtide.events.ledger import Counts, Entry, Ledger
from ebbtide.events.loader import Loader
from ebbtide.events.open_raw import RawInput
from ebbtide.events.parquet_files import parquet_rows
from ebbtide.events.quarantine import Quarantine
from ebbtide.events.raw import nearest
from ebbtide.events.source import Source, resolve_source
from ebbtide.events.sql_source import fetch_query
from ebbtide.events.surroundings import one_writer, steady_disk
from ebbtide.events.tables import is_committed
from ebbtide.events.text_files import estimated_lines
from ebbtide.pipeline.ingest_sections import account_sections

UNIT_BYTES = 64 << 20
"""Small files are committed together up to this size."""
COMPACT_AT = 12
"""Files of one bucket from which on they are joined."""
_FORGET_AFTER_SECONDS = 3600

__all__ = ["Counts", "IngestReport", "ingest", "ingested", "open_quarantine"]


@dataclass
class IngestReport(Readable):
    """Counts by source, how often each reason for quarantine occurred, and what else the user should know."""

    sources: dict[str, Counts] = field(default_factory=dict)
    reasons: dict[str, Counter[str]] = field(default_factory=dict)
    notes: list[Text] = field(default_factory=list)

    @property
    def total(self) -> Counts:
        """The sum over the sources."""
        total = Counts()
        for counts in self.sources.values():
            total.add(counts)
        return total

    def add(self, source: str, entry: Entry, *, again: bool = False) -> None:
        """Count one file; `again`: it was read before, so that nothing of it is new."""
        self.sources.setdefault(source, Counts()).add(entry.counts.again() if again else entry.counts)
        self.reasons.setdefault(source, Counter()).update(entry.reasons)

    def sections(self) -> tuple[Section, ...]:
        """Where the rows went, in words."""
        rejected = sum((Counter(reasons) for reasons in self.reasons.values()), Counter[str]())
        return account_sections(self.sources, self.total, rejected, tuple(self.notes))

    def to_json(self) -> dict[str, Any]:
        """The five counts in `total` and, with the `reasons`, for each of `sources`; `notes` in English."""
        sources = {n: {**asdict(c), "reasons": dict(self.reasons.get(n, {}))} for n, c in self.sources.items()}
        return {"total": asdict(self.total), "sources": sources, "notes": [n.en for n in self.notes]}


def ingest(
    config: Config,
    root: Path,
    files: Sequence[Path] | None = None,
    *,
    source: str | None = None,
    progress: Progress = silent,
    now: datetime | None = None,
    rebuild: bool = False,
) -> IngestReport:
    """Read the sources of the config, or `files` with the mapping of `source`, into the lake of workspace `root`.

    Files read before under the same mapping are not read again. `now` is the clock against which times in the future
    are judged. `rebuild` throws the lake away first.
    Raises ConfigError for a `${VARIABLE}` of a source to be read that is not set; SourceError, after all other files
    were taken, with every file that could not be read.
    """
    home = root / ".ebbtide"
    with steady_disk(), one_writer(home):
        if rebuild:
            _check_no_live_events(config, root)
            shutil.rmtree(home / "lake", ignore_errors=True)
        return _Run(config, root, progress, now or datetime.now(UTC)).run(_chosen(config, source, files), files)


def _check_no_live_events(config: Config, root: Path) -> None:
    """Raise InputError if events came in live: they are in no file that a rebuild could read them from."""
    try:
        landed = Lake.open(lake_folder(root)).position(landing_key(config.serve.shop_id))
    except MissingError:
        return
    if landed:
        raise InputError(
            "this lake holds events that came in through the live service and are in no file: a rebuild would lose them; "
            "bring the lake back from a backup, or move `.ebbtide/lake` away yourself if they are not wanted",
            "数据湖中含有经实时服务接收、不在任何文件中的事件：重建会丢失它们；请从备份恢复数据湖，"
            "若确不需要，请自行移走 `.ebbtide/lake`",
        )


def ingested(root: Path) -> IngestReport:
    """What all ingests of a workspace so far did together, by source; empty before the first one."""
    report = IngestReport()
    for entry in Ledger(root / ".ebbtide" / "ledger.json").entries.values():
        report.add(entry.source, entry)
    return report


def open_quarantine(root: Path) -> Quarantine:
    """The quarantine of a workspace.

    Raises MissingError if nothing was ingested yet.
    """
    lake = Lake.open(lake_folder(root))
    return Quarantine(root / ".ebbtide" / "quarantine", lambda key: _committed(lake, key))


class _Run:
    """One run of ingest: holds what the steps share."""

    def __init__(self, config: Config, root: Path, progress: Progress, now: datetime) -> None:
        self.config, self.root, self.progress, self.now = config, root, progress, now
        self.home = root / ".ebbtide"
        self.scratch = self.home / "staging"
        self.ledger = Ledger(self.home / "ledger.json")
        self.report = IngestReport()
        self.errors: list[SourceError] = []
        self.done = self.whole = 0

    def run(self, sources: list[Source], files: Sequence[Path] | None) -> IngestReport:
        _clean(self.home)
        self.scratch.mkdir(parents=True)
        try:
            with _connect(self.config, self.scratch) as connection:
                work = [(s, self._inputs(s, files)) for s in sources]
                self.whole = sum(i.size for _, inputs in work for i in inputs)
                lake = self._lake(connection, work)
                for source, inputs in work:
                    self._load_source(connection, lake, source, inputs)
                self._compact(lake)
        finally:
            _clean(self.home)
        if self.errors:
            raise self._joined_error()
        return self.report

    def _inputs(self, source: Source, files: Sequence[Path] | None) -> list[RawInput]:
        try:
            if source.config.url and files is None:
                return self._fetched(source)
            pattern = source.config.path
            found = check_files(list(files)) if files is not None else find_files(pattern, self.root)
        except SourceError as fault:
            self.errors.append(fault)
            return []
        inputs = []
        for file in found:
            try:
                inputs.append(RawInput(file, self.ledger.fingerprint(file), file.stat().st_size))
            except SourceError as fault:
                self.errors.append(fault)
        return inputs

    def _fetched(self, source: Source) -> list[RawInput]:
        self.progress(Text(f"querying {source.name}", f"查询 {source.name}"), 0, 0)
        folder = self.scratch / f"query-{source.name}"
        parts = fetch_query(source.config.url, source.config.query, folder, source.name, self.root)
        size = sum(p.stat().st_size for p in parts)
        fingerprint = content_hash(parts[0]) if len(parts) == 1 else _joint_hash(parts)
        return [RawInput(Path(source.name), fingerprint, size, tuple(parts))] if parts else []

    def _lake(self, connection: duckdb.DuckDBPyConnection, work: list[tuple[Source, list[RawInput]]]) -> Lake:
        folder = lake_folder(self.root)
        if (folder / "events" / "_delta_log").exists():
            return Lake.open(folder)
        inputs = [i for source, inputs in work if source.table == "events" for i in inputs]
        rows = sum(_estimated_rows(connection, i) for i in inputs)
        aimed = max(1, -(-rows // self.config.lake.rows_per_bucket))
        return Lake.create(folder, self.config.lake.buckets or aimed)

    def _load_source(
        self, connection: duckdb.DuckDBPyConnection, lake: Lake, source: Source, inputs: list[RawInput]
    ) -> None:
        mapping = source.mapping_hash(self.config.shop)
        self.report.sources.setdefault(source.name, Counts())
        self.report.reasons.setdefault(source.name, Counter())
        self._warn_of_change(lake, source, mapping)
        waiting: list[RawInput] = []
        for given in inputs:
            key = f"{source.name}:{given.fingerprint}:{mapping}"
            entry = self.ledger.entries.get(key)
            if entry is not None and _committed(lake, f"{source.table}/{key}"):
                self.report.add(source.name, entry, again=True)
                self.done += given.size
            else:
                waiting.append(given)
        for unit in _units(waiting):
            self._load_unit(connection, lake, source, unit)
        if not self.report.sources[source.name].balanced:
            raise DefectError("rows do not add up", "行数不符")

    def _load_unit(
        self, connection: duckdb.DuckDBPyConnection, lake: Lake, source: Source, unit: list[RawInput]
    ) -> None:
        def report(file: Path, rows: int) -> None:
            stage = Text("reading {file}: {rows:,} rows", "读取 {file}：{rows:,} 行").format(file=file.name, rows=rows)
            self.progress(stage, self.done, self.whole)

        seen = frozenset(self.ledger.currencies())
        quarantine = Quarantine(self.home / "quarantine", lambda key: _committed(lake, key))
        loader = Loader(connection, lake, quarantine, self.config.shop, self.scratch, self.now, report, seen)
        result = loader.load(source, unit)
        self.errors += result.errors
        for key, entry in result.entries:
            self.report.add(source.name, entry)
            self.ledger.entries.setdefault(key, entry)
        self.ledger.save()
        self.done += sum(i.size for i in unit)

    def _warn_of_change(self, lake: Lake, source: Source, mapping: str) -> None:
        others = self.ledger.keys_of_other_mappings(source.name, mapping)
        if any(_committed(lake, f"{source.table}/{key}") for key in others):
            self.report.notes.append(
                Text(
                    "the mapping of {source} has changed: rows that are in the lake already stay as the old mapping "
                    "made them; to read everything anew, run `ebbtide ingest --rebuild`",
                    "来源 {source} 的映射已改变：已在数据湖中的行保持旧映射的结果；如需全部重新读取，"
                    "请运行 `ebbtide ingest --rebuild`",
                ).format(source=source.name)
            )

    def _compact(self, lake: Lake) -> None:
        for bucket in lake.buckets():
            if len(lake.files(bucket)) >= COMPACT_AT:
                self.progress(Text("joining small files", "合并小文件"), 0, 0)
                lake.compact(bucket, f"compacted{time.time_ns():x}")

    def _joined_error(self) -> SourceError:
        texts = list(dict.fromkeys(e.text for e in self.errors))
        if len(texts) == 1:
            return next(e for e in self.errors if e.text == texts[0])
        listed = join_texts(texts, Text("\n  - ", "\n  - "))
        total = self.report.total
        return SourceError(
            "{count} files could not be read (all others were taken, {accepted:,} rows accepted):\n  - {listed}",
            "{count} 个文件无法读取（其余均已导入，接受 {accepted:,} 行）：\n  - {listed}",
            count=len(self.errors),
            accepted=total.accepted,
            listed=listed,
        )


def _chosen(config: Config, name: str | None, files: Sequence[Path] | None) -> list[Source]:
    sources = config.sources()
    if not sources:
        raise InputError(
            "ebbtide.toml names no [[source]]: run `ebbtide init FILE...`",
            "ebbtide.toml 中没有 [[source]]：请运行 `ebbtide init FILE...`",
        )
    names = [s.name for s in sources]
    if name is not None and name not in names:
        close = nearest(name, names)
        raise InputError(
            "there is no source `{name}`; the sources are {names}{hint}",
            "没有来源 `{name}`；已有来源：{names}{hint}",
            name=name,
            names=", ".join(names),
            hint=Text(f" (did you mean `{close}`?)", f"（是否想写 `{close}`？）") if close else Text("", ""),
        )
    chosen: list[SourceConfig] = [s for s in sources if name in (None, s.name)]
    if files is not None and len(chosen) > 1:
        raise InputError(
            "several sources: say whose mapping the files follow, `--source NAME` with one of {names}",
            "有多个来源：请用 `--source 名称` 指明文件使用哪个映射：{names}",
            names=", ".join(names),
        )
    if files is None:
        check_variables(chosen)
    return [resolve_source(s) for s in chosen]


def _connect(config: Config, scratch: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    settings = {
        "memory_limit": config.lake.memory_limit,
        "threads": "2",
        "temp_directory": str(scratch / "spill"),
        "TimeZone": config.shop.timezone,
        "autoinstall_known_extensions": "false",
        "streaming_buffer_size": "64MB",
        "disabled_optimizers": "common_subexpressions",  # it takes what can fail out of `try`
    }
    for name, value in settings.items():
        connection.execute(f"set {name}='{value}'").fetchall()
    return connection


def _committed(lake: Lake, key: str) -> bool:
    """Whether the append of `table/key` took place."""
    table, _, rest = key.partition("/")
    return lake.has_transaction(rest) if table == "events" else is_committed(lake, table, rest)


def _units(inputs: Iterable[RawInput]) -> Iterator[list[RawInput]]:
    """Runs of files whose sizes add up to UNIT_BYTES at most; a larger file stands alone."""
    unit: list[RawInput] = []
    for given in inputs:
        if unit and sum(i.size for i in unit) + given.size > UNIT_BYTES:
            yield unit
            unit = []
        unit.append(given)
    if unit:
        yield unit


def _estimated_rows(connection: duckdb.DuckDBPyConnection, given: RawInput) -> int:
    """Rows of a file: exact for Parquet, by its size and first lines for text; a damaged file counts nothing here."""
    try:
        if given.parts or format_of(given.file) == "parquet":
            return sum(parquet_rows(connection, p) for p in given.parts or [given.file])
        return estimated_lines(given.file)
    except SourceError:
        return 0


def _joint_hash(parts: Sequence[Path]) -> str:
    return hashlib.sha256("".join(content_hash(p) for p in parts).encode()).hexdigest()[:32]


def _clean(home: Path) -> None:
    """Remove what a broken run left behind, and data files that have been out of use for an hour."""
    runs = {p.name for p in (home / "staging").glob("*")}
    shutil.rmtree(home / "staging", ignore_errors=True)
    if not (home / "lake" / "events" / "_delta_log").exists():
        return
    limit = time.time() - _FORGET_AFTER_SECONDS
    for file in Lake.open(home / "lake").unused_files():
        if file.name.rsplit("-", 1)[0] in runs or file.stat().st_mtime < limit:
            file.unlink()
