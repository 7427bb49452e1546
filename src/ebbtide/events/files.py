"""Finding and recognising raw files: patterns, formats, fingerprints."""

from __future__ import annotations

import glob
import hashlib
from pathlib import Path
from typing import Literal

from ebbtide.core.errors import SourceError

Format = Literal["parquet", "csv", "json"]
_HEAD_BYTES = 1 << 20


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


def format_of(file: Path) -> Format:
    """Parquet, delimited text or JSON lines, by suffix, else by content."""
    suffixes = [s.lower() for s in file.suffixes if s.lower() not in (".gz", ".zst")]
    last = suffixes[-1] if suffixes else ""
    if last in (".parquet", ".pq"):
        return "parquet"
    if last in (".json", ".jsonl", ".ndjson"):
        return "json"
    if last in (".csv", ".tsv", ".txt", ".dat"):
        return "csv"
    with file.open("rb") as handle:
        start = handle.read(64)
    return "parquet" if start.startswith(b"PAR1") else "json" if start.lstrip().startswith(b"{") else "csv"


def read_head(file: Path) -> str:
    """The first part of a text file, decoded."""
    with file.open("rb") as handle:
        return handle.read(_HEAD_BYTES).decode("utf-8-sig", errors="replace")


def fingerprint(file: Path) -> str:
    """A hash of the file's bytes."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:32]
