"""The ledger of a workspace: which files were read, under which mapping, and what became of their rows.

It makes a repeated ingest quick and counts exact. The truth stands in the lake: an entry counts only if the append
of its key was committed, and a lost ledger costs time, never rows.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ebbtide.events.files import content_hash


@dataclass
class Counts:
    """Where rows went: read = accepted + quarantined + filtered + duplicates, always."""

    read: int = 0
    accepted: int = 0
    quarantined: int = 0
    filtered: int = 0
    duplicates: int = 0

    def add(self, other: Counts) -> None:
        """Add another count to this one."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def balanced(self) -> bool:
        """Whether every row is accounted for."""
        return self.read == self.accepted + self.quarantined + self.filtered + self.duplicates

    def again(self) -> Counts:
        """The counts when the same rows are read once more: what was accepted is now a duplicate."""
        return Counts(self.read, 0, self.quarantined, self.filtered, self.duplicates + self.accepted)


@dataclass
class Entry:
    """One file read: counts, reasons of its quarantined rows, source, mapping and time zone-free currencies."""

    source: str
    mapping: str
    counts: Counts
    reasons: dict[str, int] = field(default_factory=dict)
    currencies: list[str] = field(default_factory=list)


class Ledger:
    """The ledger kept in `file`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.entries: dict[str, Entry] = {}
        self._hashes: dict[str, tuple[int, int, str]] = {}
        if file.is_file():
            self._load()

    def fingerprint(self, file: Path) -> str:
        """The hash of a file's content; not read again if size and time of change are those of the last time."""
        status = file.stat()
        name = str(file.resolve())
        size, changed, known = self._hashes.get(name, (-1, -1, ""))
        if (size, changed) == (status.st_size, status.st_mtime_ns):
            return known
        found = content_hash(file)
        self._hashes[name] = (status.st_size, status.st_mtime_ns, found)
        return found

    def save(self) -> None:
        """Write it, whole or not at all."""
        told = {"files": {k: asdict(e) for k, e in self.entries.items()}, "hashes": self._hashes}
        partial = self._file.with_suffix(".part")
        partial.write_text(json.dumps(told), encoding="utf-8")
        partial.replace(self._file)

    def keys_of_other_mappings(self, source: str, mapping: str) -> list[str]:
        """The keys of files of a source that gave rows under another mapping."""
        entries = self.entries.items()
        return [k for k, e in entries if e.source == source and e.mapping != mapping and e.counts.accepted]

    def currencies(self) -> set[str]:
        """The currencies met so far."""
        return {c for e in self.entries.values() for c in e.currencies}

    def _load(self) -> None:
        try:
            told = json.loads(self._file.read_text(encoding="utf-8"))
            self.entries = {k: Entry(**{**e, "counts": Counts(**e["counts"])}) for k, e in told["files"].items()}
            self._hashes = {k: (int(s), int(t), str(h)) for k, (s, t, h) in told["hashes"].items()}
        except (ValueError, KeyError, TypeError):
            self.entries, self._hashes = {}, {}
