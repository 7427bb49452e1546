"""One small simulated shop, trained once a session, and workspaces that hold its log in other shapes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ebbtide.core.config import Config, parse_config
from ebbtide.events.lake import Lake, lake_folder
from ebbtide.events.schema import EVENT_COLUMNS
from ebbtide.events.simulate import SimulationConfig, simulate
from ebbtide.models.bundle import Bundle
from ebbtide.models.shelf import Shelf
from ebbtide.pipeline.ingest import ingest
from ebbtide.pipeline.score import ScoreReport, score
from ebbtide.pipeline.train import train
from ebbtide.pipeline.train_report import TrainReport

START = datetime(2024, 1, 1, tzinfo=UTC)
UNTIL = START + timedelta(days=210)
END = START + timedelta(days=240)
"""The log covers [START, END); models are trained and users scored as of UNTIL, 30 days before it ends."""


@dataclass(frozen=True)
class SmallShop:
    """A workspace over the simulated log, or over a version of it. `until`: the usual moment of training and scoring."""

    root: Path
    config: Config
    until: datetime = UNTIL
    end: datetime = END

    @property
    def lake(self) -> Lake:
        return Lake.open(lake_folder(self.root))

    @property
    def shelf(self) -> Shelf:
        return Shelf(self.root / ".ebbtide" / "bundles")

    def with_train(self, **changes: Any) -> SmallShop:
        """The same workspace with other training settings."""
        train_config = self.config.train.model_copy(update=changes)
        return SmallShop(self.root, self.config.model_copy(update={"train": train_config}))

    def train(self, **options: Any) -> TrainReport:
        return train(self.config, self.root, **{"until": UNTIL, **options})

    def score(self, **options: Any) -> ScoreReport:
        return score(self.config, self.root, **{"as_of": UNTIL, "reasons": "all", **options})

    def borrow(self, other: SmallShop) -> SmallShop:
        """Take over the bundles of another workspace."""
        shutil.copytree(other.shelf.folder, self.shelf.folder, dirs_exist_ok=True)
        return self


@dataclass
class Trained:
    """The small shop with an `auto` bundle trained until UNTIL."""

    shop: SmallShop
    report: TrainReport
    bundle: Bundle = field(init=False)

    def __post_init__(self) -> None:
        self.bundle = self.shop.shelf.load(self.report.bundle)


OpenShop = Callable[..., SmallShop]


@pytest.fixture(scope="session")
def simulation() -> SimulationConfig:
    """A shop of 400 users over 240 days."""
    return SimulationConfig(users=400, days=240, seed=3)


@pytest.fixture(scope="session")
def sim_log(simulation: SimulationConfig) -> pl.DataFrame:
    """The canonical events of the simulated shop, some of them late, sorted as in the lake."""
    chunks = simulate(simulation)
    return pl.concat([chunk.events for chunk in chunks]).select(EVENT_COLUMNS.keys())


@pytest.fixture(scope="session")
def open_shop(tmp_path_factory: pytest.TempPathFactory) -> OpenShop:
    """`open_shop(events, ...)`: a workspace whose lake holds these events; a list of frames becomes several files."""

    def open_(
        events: pl.DataFrame | Sequence[pl.DataFrame], *, buckets: int = 2, churn: dict[str, Any] | None = None
    ) -> SmallShop:
        root = tmp_path_factory.mktemp("shop")
        (root / "data").mkdir()
        for number, part in enumerate([events] if isinstance(events, pl.DataFrame) else events):
            part.write_parquet(root / "data" / f"{number}.parquet")
        raw = {
            "shop": {"currency": "EUR"},
            "source": [{"path": "data/*.parquet", "columns": {c: c for c in EVENT_COLUMNS}}],
            "churn": {"outcome": "order", "horizon": "30d", "eligible": "order in 180d", **(churn or {})},
            "lake": {"buckets": buckets},
            "train": {"max_cutoffs": 8, "bootstrap": 50},
        }
        config = parse_config(raw, environ={})
        ingest(config, root, now=END)
        return SmallShop(root, config)

    return open_


@pytest.fixture(scope="session")
def small_shop(sim_log: pl.DataFrame, open_shop: OpenShop) -> SmallShop:
    """The whole log in two buckets, nothing trained. Read only."""
    return open_shop(sim_log)


@pytest.fixture(scope="session")
def trained(sim_log: pl.DataFrame, open_shop: OpenShop) -> Trained:
    """The whole log with an `auto` bundle. Read only: a test that trains or promotes opens its own shop."""
    shop = open_shop(sim_log)
    return Trained(shop, shop.train())
