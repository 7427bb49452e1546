"""Finding and recognising raw files: patterns, formats, content hashes."""

from __future__ import annotations

import glob
import hashlib
from pathlib import Path
from typing import Literal

from ebbtide.core.errors import SourceError

Format = Literal["parquet", "csv", "json"]


def find_files(pattern: str, root: Path) -> list[Path]:
    """The files that a path or pattern names, sorted; relative to `root`.

    Raises SourceError if it names none, or a folder.
    """
    found = sorted(Path(p) for p in glob.glob(str(root / pattern), recursive=True))
    if len(found) == 1 and found[0].is_dir():
        raise SourceError(
            "{pattern} is a folder: name its files, for example {pattern}/*.parquet",
            "{pattern} 是文件夹：请指明其中的文件，例如 {pattern}/*.parquet",
            pattern=pattern.rstrip("/"),
        )
    files = [p for p in found if p.is_file()]
    if not files:
        raise SourceError("no file matches {pattern}", "没有文件匹配 {pattern}", pattern=pattern)
    return files


def check_files(files: list[Path]) -> list[Path]:
    """The files themselves, if each of them is one.

    Raises SourceError for a folder, or a path where there is nothing.
    """
    for file in files:
        if file.is_dir():
            raise SourceError(
                "{file} is a folder: name its files, for example {file}/*.parquet",
                "{file} 是文件夹：请指明其中的文件，例如 {file}/*.parquet",
                file=str(file),
            )
        if not file.is_file():
            raise SourceError("there is no file {file}", "没有文件 {file}", file=str(file))
    return files


def format_of(file: Path) -> Format:
    """Parquet, delimited text or JSON lines, by suffix, else by content.

    Raises SourceError for a format that is none of these, or a file that cannot be opened.
    """
    suffixes = [s.lower() for s in file.suffixes if s.lower() not in (".gz", ".zst")]
    last = suffixes[-1] if suffixes else ""
    if last in (".xlsx", ".xls", ".xml", ".zip", ".bz2", ".xz", ".7z", ".orc", ".avro"):
        raise SourceError(
            "{file}: {suffix} is not read; export it as CSV, Parquet or JSON lines (also .gz or .zst)",
            "{file}：不支持 {suffix}；请导出为 CSV、Parquet 或 JSON 行格式（也可 .gz 或 .zst）",
            file=file.name,
            suffix=last,
        )
    start = _start(file)
    if last in (".parquet", ".pq") or start.startswith(b"PAR1"):
        return "parquet"
    if last in (".json", ".jsonl", ".ndjson"):
        return "json"
    if last in (".csv", ".tsv", ".txt", ".dat"):
        return "csv"
    return "json" if start.lstrip().startswith(b"{") else "csv"


def content_hash(file: Path) -> str:
    """A hash of the file's bytes.

    Raises SourceError if it cannot be opened.
    """
    try:
        with file.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()[:32]
    except OSError as fault:
        raise _closed(file, fault) from None


def _start(file: Path) -> bytes:
    try:
        with file.open("rb") as handle:
            return handle.read(64)
    except OSError as fault:
        raise _closed(file, fault) from None


def _closed(file: Path, fault: OSError) -> SourceError:
    return SourceError(
        "{file} cannot be opened: {why}", "无法打开 {file}：{why}", file=file.name, why=fault.strerror or "I/O error"
    )
