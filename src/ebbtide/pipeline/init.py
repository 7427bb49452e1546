"""Use case: look at raw files, guess their mapping, advise a churn definition, write a commented `ebbtide.toml`."""

from __future__ import annotations

import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from ebbtide.churn.advice import DefinitionAdvice, advise
from ebbtide.core.config import parse_config
from ebbtide.core.errors import InputError, SourceError
from ebbtide.core.language import Text, join_texts
from ebbtide.core.progress import Progress, silent
from ebbtide.core.sections import Readable, Section
from ebbtide.core.settings import ShopConfig, SourceConfig
from ebbtide.core.windows import DAY_US, from_us
from ebbtide.events.binding import bind_mapping
from ebbtide.events.day_order import decide_order, needs_order
from ebbtide.events.files import check_files, format_of
from ebbtide.events.guess import Guess, guess_mapping, guess_preset
from ebbtide.events.guess_currency import CurrencySign, guess_currency_sign
from ebbtide.events.guess_decimal import Decimal, guess_decimal
from ebbtide.events.mapping import mapped_query
from ebbtide.events.open_raw import RawInput, open_raw
from ebbtide.events.raw import RawTable
from ebbtide.events.source import Source, resolve_source
from ebbtide.events.text_files import guess_encoding
from ebbtide.events.times import DayOrder
from ebbtide.pipeline.init_text import SourceText, config_text

_ADVICE_ROWS = 3_000_000
"""About so many outcome days are looked at for advice; of a larger log, a sample of its users."""
_NO_MAPPING = SourceConfig(path="-", columns={"user_id": "-"})


_WRITTEN = Text(
    "{file} written: read it, correct what was guessed wrong, then run `ebbtide ingest`",
    "已写出 {file}：请阅读并改正猜错之处，然后运行 `ebbtide ingest`",
)

_UNREAD = Text(
    "{columns}: called like a number, but most values cannot be read as one, so it is not used: set `decimal` or "
    "`currency_sign`, or map it with SQL, for example `replace(COLUMN, 'from ', '')::double`",
    "{columns}：名称像数字，但多数值无法读作数字，故未使用：请设置 `decimal` 或 `currency_sign`，或用 SQL 映射，"
    "例如 `replace(列, 'from ', '')::double`",
)


@dataclass(frozen=True)
class InitReport(Readable):
    """What was written and why. `sources`: table, path and mapping of each; `definition`: the advised question in a
    sentence, None if none can be advised yet."""

    file: Path
    toml: str
    sources: tuple[SourceText, ...]
    advice: DefinitionAdvice | None
    notes: tuple[Text, ...] = field(default=())

    def sections(self) -> tuple[Section, ...]:
        """What was guessed for each source, what to look at, and the advised question."""
        written = _WRITTEN.format(file=self.file)
        advice = (self.advice.text,) if self.advice else ()
        return (*(s.section() for s in self.sources), Section(lines=(*self.notes, *advice, written)))

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {
            "file": str(self.file),
            "sources": [s.to_json() for s in self.sources],
            "advice": self.advice.to_json() if self.advice else None,
            "definition": self.advice.text.en if self.advice else None,
            "notes": [n.en for n in self.notes],
        }


@dataclass(frozen=True)
class _Looked:
    """One file, what was guessed of it, and the settings of its source."""

    file: Path
    names: tuple[str, ...]
    guess: Guess
    config: SourceConfig


def init(
    files: Sequence[Path],
    root: Path,
    *,
    force: bool = False,
    progress: Progress = silent,
    now: datetime | None = None,
) -> InitReport:
    """Write `ebbtide.toml` into `root` for these files.

    Raises InputError if there is one already and not `force`, or if no file has users and times (with the columns
    seen); SourceError for files that cannot be read.
    """
    target = root / "ebbtide.toml"
    if target.exists() and not force:
        raise InputError(
            "there is an `ebbtide.toml` already: edit it, or replace it with --force",
            "已有 `ebbtide.toml`：请直接编辑，或用 --force 替换",
        )
    if not files:
        raise InputError(
            "name the files to look at: `ebbtide init FILE...`", "请指明要查看的文件：`ebbtide init FILE...`"
        )
    with tempfile.TemporaryDirectory(prefix="ebbtide-init-") as scratch, duckdb.connect() as connection:
        connection.execute("set threads=2; set autoinstall_known_extensions=false").fetchall()
        connection.execute("set memory_limit='1GB'").fetchall()
        connection.execute("set disabled_optimizers='common_subexpressions'").fetchall()
        looked = []
        for number, file in enumerate(check_files(list(files))):
            progress(Text(f"looking at {file.name}", f"查看 {file.name}"), number, len(files))
            looked.append(_look(connection, file, Path(scratch) / str(number)))
        events = [one for one in looked if one.guess.table == "events" and not one.guess.missing]
        if not events:
            raise _no_events(looked)
        progress(Text("measuring the gaps between orders", "计算订单间隔"), 0, 0)
        advice = _advice(connection, events, Path(scratch), now or datetime.now(UTC))
    used = [one for one in looked if one.guess.table != "events" or not one.guess.missing]
    sources = tuple(_source_texts(used, root))
    notes = _notes(looked, used)
    toml = config_text(root.resolve().name, sources, advice)
    _write(target, toml)
    return InitReport(target, toml, sources, advice, notes)


def _look(connection: duckdb.DuckDBPyConnection, file: Path, scratch: Path) -> _Looked:
    encoding = guess_encoding(file)
    config = _NO_MAPPING.model_copy(update={"encoding": encoding})
    raw = _open(connection, file, resolve_source(config), scratch)
    currency, decimal = CurrencySign(), Decimal()
    if not guess_preset(raw) and format_of(file) == "csv":
        currency = guess_currency_sign(connection, raw)
        decimal = guess_decimal(connection, raw, currency.sign)
    if currency.sign or decimal.sign != config.decimal:
        config = config.model_copy(update={"decimal": decimal.sign, "currency_sign": currency.sign})
        raw = _open(connection, file, resolve_source(config), scratch)
    guess = guess_mapping(connection, raw)
    if guess.preset:
        raw = _open(connection, file, resolve_source(config.model_copy(update={"preset": guess.preset})), scratch)
    remarks = [*guess.remarks, *(r for r in (currency.remark, decimal.remark) if r)]
    if guess.unread and (currency.sign or not currency.remark):
        remarks.append(_UNREAD.format(columns=", ".join(f"`{name}`" for name in guess.unread).replace("\n", " ")))
    if encoding:
        remarks.append(
            Text(
                "the file is not UTF-8; `{name}` fits: check names with accents",
                "文件不是 UTF-8；`{name}` 合适：请检查特殊字符",
            ).format(name=encoding)
        )
    update: dict[str, Any] = {"preset": guess.preset, "where": guess.where, "table": guess.table}
    update["columns"] = {} if guess.preset else guess.columns
    config = config.model_copy(update=update)
    time_format = "" if guess.preset or guess.missing else _unclear_format(connection, raw, config)
    if time_format:
        config = config.model_copy(update={"time_format": time_format})
        remarks.append(
            Text(
                "no time tells whether the day or the month stands first; `time_format` says the day: CHECK it",
                "时间看不出日在前还是月在前；`time_format` 假定日在前：请检查",
            )
        )
    names = tuple(c.name for c in raw.columns)
    return _Looked(file, names, replace(guess, remarks=tuple(remarks)), config)


def _open(connection: duckdb.DuckDBPyConnection, file: Path, source: Source, scratch: Path) -> RawTable:
    return open_raw(connection, RawInput(file, "", 0), source, scratch)


def _unclear_format(connection: duckdb.DuckDBPyConnection, raw: RawTable, config: SourceConfig) -> str:
    """A time format to be checked by the user, where no time of the file tells day and month apart."""
    bound = bind_mapping(connection, raw, resolve_source(config))
    column = bound.get("occurred_at")
    if column is None or not needs_order(connection, raw, column):
        return ""
    try:
        decide_order(connection, raw, column, "occurred_at")
    except SourceError:
        return "%d/%m/%Y %H:%M" if _has_clock(connection, raw, config) else "%d/%m/%Y"
    return ""


def _has_clock(connection: duckdb.DuckDBPyConnection, raw: RawTable, config: SourceConfig) -> bool:
    column = raw.find(config.columns["occurred_at"].strip('"'))
    if column is None:
        return False
    sql = f"select bool_or(contains({column.text}, ':')) from (select * from {raw.relation} limit 1000)"
    return bool(connection.execute(sql).fetchall()[0][0])


def _advice(
    connection: duckdb.DuckDBPyConnection, events: list[_Looked], scratch: Path, now: datetime
) -> DefinitionAdvice | None:
    """Advice from the outcome days of the files: orders, or any event where there are none."""
    frames, last = [], 0
    share = min(1.0, _ADVICE_ROWS / max(1, sum(one.file.stat().st_size for one in events) // 20))
    for number, one in enumerate(events):
        source = resolve_source(one.config)
        raw = _open(connection, one.file, source, scratch / f"advice-{number}")
        bound = bind_mapping(connection, raw, source)
        orders: dict[str, DayOrder] = {}
        if not one.config.time_format and needs_order(connection, raw, bound["occurred_at"]):
            orders["occurred_at"] = decide_order(connection, raw, bound["occurred_at"], "occurred_at")
        mapped = mapped_query(raw, bound, source, ShopConfig(), now=now, orders=orders)
        sample = f"hash(user_id) % 1000000 < {int(share * 1_000_000)}"
        days = f"""select user_id, max(occurred_at) as us, type = 'order' as is_order from ({mapped})
            where kept and reason is null and {sample} group by user_id, occurred_at // {DAY_US}, type = 'order'"""
        frame = pl.DataFrame(connection.sql(days).to_arrow_table())
        frames.append(frame)
        last = max(last, int(frame["us"].max() or 0))  # type: ignore[arg-type]
    whole = pl.concat(frames)
    if whole.is_empty():
        return None
    outcome = "order" if whole["is_order"].any() else "any"
    chosen = whole.filter("is_order") if outcome == "order" else whole
    times = pl.from_epoch("us", time_unit="us").dt.replace_time_zone("UTC").alias("occurred_at")
    return advise(chosen.select("user_id", times), from_us(last), outcome=(outcome,))


def _source_texts(used: list[_Looked], root: Path) -> list[SourceText]:
    """One source for all files of the same columns and mapping, the events first."""
    groups: dict[Any, list[_Looked]] = {}
    for one in sorted(used, key=lambda o: o.guess.table != "events"):
        key = (
            one.names,
            one.guess.table,
            tuple(one.guess.columns.items()),
            one.config.encoding,
            one.config.decimal,
            one.config.currency_sign,
            one.config.time_format,
        )
        groups.setdefault(key, []).append(one)
    texts = []
    for group in groups.values():
        first = group[0]
        remarks = tuple(dict.fromkeys(r for one in group for r in one.guess.remarks))
        where = next((one.config.where for one in group if one.config.where), "")
        config = first.config.model_copy(update={"where": where})
        unused = tuple(n for n in first.names if not any(n in sql for sql in first.guess.columns.values()))
        for pattern in _patterns([one.file for one in group], root):
            update = {"path": pattern}
            texts.append(SourceText(config.model_copy(update=update), remarks, () if first.guess.preset else unused))
    return texts


def _patterns(files: list[Path], root: Path) -> list[str]:
    """One pattern that names exactly these files, else their paths; relative to `root` where they lie below it."""
    paths = [_relative(f, root) for f in files]
    if len(files) > 1 and len({f.parent for f in files}) == 1:
        folder = files[0].parent
        start = _common_start([f.name for f in files])
        end = _common_start([f.name[::-1] for f in files])[::-1]
        if {p.resolve() for p in folder.glob(f"{start}*{end}")} == {f.resolve() for f in files}:
            return [f"{paths[0].removesuffix(files[0].name)}{start}*{end}"]
    return paths


def _common_start(names: list[str]) -> str:
    first, last = min(names), max(names)
    return first[: next((i for i, c in enumerate(first) if last[i : i + 1] != c), len(first))]


def _relative(file: Path, root: Path) -> str:
    resolved = file.resolve()
    if resolved.is_relative_to(root.resolve()):
        return resolved.relative_to(root.resolve()).as_posix()
    return resolved.as_posix()


def _notes(looked: list[_Looked], used: list[_Looked]) -> tuple[Text, ...]:
    left = [one.file.name for one in looked if one not in used]
    notes = [r for one in used for r in one.guess.remarks]
    if left:
        notes.append(
            Text(
                "no users, items or times were found in {files}: left out",
                "未在 {files} 中找到用户、商品或时间：已略过",
            ).format(files=", ".join(left))
        )
    return tuple(dict.fromkeys(notes))


def _no_events(looked: list[_Looked]) -> InputError:
    words = {
        "user_id": Text("who (user_id)", "谁（user_id）"),
        "occurred_at": Text("when (occurred_at)", "何时（occurred_at）"),
    }
    problems = [
        Text(
            "{file}: no column tells {what}; its columns are {columns}", "{file}：没有列说明{what}；其列为 {columns}"
        ).format(
            file=one.file.name,
            what=join_texts([words[m] for m in one.guess.missing] or [words["user_id"]], Text(" or ", "或")),
            columns=", ".join(one.names[:40]),
        )
        + _doubt(one.guess)
        for one in looked
    ]
    return InputError(
        "the mapping cannot be guessed; write `ebbtide.toml` by hand:\n  - {problems}",
        "无法猜出映射；请手工编写 `ebbtide.toml`：\n  - {problems}",
        problems=join_texts(problems, Text("\n  - ", "\n  - ")),
    )


def _doubt(guess: Guess) -> Text:
    """Columns that are called like what is missing, but do not hold it."""
    if not guess.doubtful:
        return Text("", "")
    return Text(
        " (`{columns}` is called so, but its values cannot be read)", "（`{columns}` 名称相符，但其值无法识别）"
    ).format(columns="`, `".join(guess.doubtful))


def _write(target: Path, toml: str) -> None:
    parse_config(tomllib.loads(toml), environ={})
    partial = target.with_suffix(".part")
    partial.write_text(toml, encoding="utf-8")
    partial.replace(target)
