"""The Python API: one class whose methods are the commands.

Every method loads the config of the workspace, calls one function of `pipeline/` and returns its result, which can
say itself as JSON, and shows itself in a notebook.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from ebbtide.core.config import Config, load_config
from ebbtide.core.language import Language
from ebbtide.core.progress import Progress, silent
from ebbtide.pipeline.check import CheckReport, check
from ebbtide.pipeline.ingest import IngestReport, ingest


class Workspace:
    """A folder with `ebbtide.toml` and all that Ebbtide keeps for one shop.

    `language` is that of texts in results, by default the shop's; `progress` hears about long work.
    """

    def __init__(
        self, path: str | Path = ".", *, language: Language | None = None, progress: Progress = silent
    ) -> None:
        self.path = Path(path)
        self._language = language
        self._progress = progress

    def __repr__(self) -> str:
        return f"Workspace({str(self.path)!r})"

    @cached_property
    def config(self) -> Config:
        """What `ebbtide.toml` says, read once. Raises ConfigError, InputError."""
        return load_config(self.path / "ebbtide.toml")

    @property
    def language(self) -> Language:
        """The language of texts."""
        return self._language or self.config.shop.language

    def ingest(self, files: Sequence[str | Path] | None = None, *, source: str | None = None) -> IngestReport:
        """Raw files into the lake; bad rows into the quarantine. The same file twice adds nothing."""
        paths = [Path(file) for file in files] if files else None
        return ingest(self.config, self.path, paths, source=source, progress=self._progress)

    def check(self) -> CheckReport:
        """What the log holds, what looks odd, and whether it can answer the churn question."""
        return check(self.config, self.path, progress=self._progress)
