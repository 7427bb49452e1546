"""Where a workspace keeps its things."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ebbtide.core.config import Config
from ebbtide.events.lake import Lake
from ebbtide.models.shelf import Shelf


@dataclass(frozen=True)
class Places:
    """The folders of the workspace at `root`."""

    root: Path

    @property
    def config(self) -> Path:
        """The file that describes the shop and the question."""
        return self.root / "ebbtide.toml"

    @property
    def home(self) -> Path:
        """All that Ebbtide keeps."""
        return self.root / ".ebbtide"

    def lake(self) -> Lake:
        """The lake of events. Raises MissingError if nothing was ingested yet."""
        return Lake.open(self.home / "lake")

    def shelf(self) -> Shelf:
        """The trained bundles."""
        return Shelf(self.home / "bundles")

    def store_url(self, config: Config) -> str:
        """Where the operational store of the service is: what the config names, else a file in the workspace."""
        return config.serve.store or f"sqlite:///{(self.home / 'service.db').resolve()}"

    @property
    def tuning(self) -> Path:
        """Studies of settings, and what they found."""
        return self.home / "tuning"

    @property
    def recommender(self) -> Path:
        """The fitted recommender."""
        return self.home / "recommender"

    @property
    def runs(self) -> Path:
        """A record of every run."""
        return self.home / "runs"

    @property
    def uplift(self) -> Path:
        """What the shop's own campaigns taught of their effects."""
        return self.home / "uplift"
