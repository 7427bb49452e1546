"""Shared by all tests: real services, the folder of real logs, and a small shop to ingest into."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import settings

from ebbtide.core.config import Config, parse_config
from ebbtide.events.lake import Lake, lake_folder
from ebbtide.pipeline.ingest import IngestReport, ingest

settings.register_profile("untimed", settings.default, deadline=None)  # a busy machine is no defect
settings.load_profile("untimed")

NOW = datetime(2024, 6, 1, tzinfo=UTC)
COLUMNS = {"user_id": "user", "occurred_at": "time", "type": "'order'", "value": "amount"}


def _without(service: str, why: str) -> None:
    """Skip for want of a service, unless this run must have all of them."""
    if os.environ.get("EBBTIDE_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{service} is required here: {why}")
    pytest.skip(f"no {service}: {why}")


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """A PostgreSQL URL whose search path is a schema of this test alone, dropped afterwards.

    The server: `EBBTIDE_TEST_POSTGRES`, else database `test` of user `postgres` on this machine.
    """
    sqlalchemy = pytest.importorskip("sqlalchemy", reason="the extra `sql` is not installed")
    base = os.environ.get("EBBTIDE_TEST_POSTGRES", "postgresql+psycopg://postgres@127.0.0.1:5432/test")
    engine = sqlalchemy.create_engine(base, connect_args={"connect_timeout": 3})
    schema = f"ebbtide_{uuid.uuid4().hex[:12]}"
    try:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(f"create schema {schema}"))
    except sqlalchemy.exc.OperationalError as fault:
        _without("PostgreSQL", str(fault.orig).strip().splitlines()[0])
    yield f"{base}?options=-csearch_path%3D{schema}"
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"drop schema {schema} cascade"))
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The url of an empty operational store, once embedded and once on a real PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/service.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of public logs: `EBBTIDE_TEST_DATA`, else `../shared/data` beside the repository."""
    folder = Path(os.environ.get("EBBTIDE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real logs: set EBBTIDE_TEST_DATA to their folder")
    return folder


@dataclass
class Shop:
    """A workspace in a temporary folder, with one events source unless told otherwise."""

    root: Path
    config: Config

    def write(self, name: str, content: str | bytes) -> Path:
        file = self.root / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def ingest(self, *files: Path, **options: Any) -> IngestReport:
        return ingest(self.config, self.root, list(files) or None, **{"now": NOW, **options})

    def events(self) -> pl.DataFrame:
        lake = Lake.open(lake_folder(self.root))
        frames = [lake.read_bucket(b) for b in lake.buckets()]
        return pl.concat(frames).sort("user_id", "occurred_at", "event_id") if frames else lake.read_bucket(0)


@pytest.fixture
def make_shop(tmp_path: Path) -> Callable[..., Shop]:
    """`make_shop(columns=..., path=..., shop={...}, lake={...}, **source)`; `sources=[...]` replaces the one source."""
    count = 0

    def make(
        columns: dict[str, str] | None = None,
        *,
        shop: dict[str, Any] | None = None,
        lake: dict[str, Any] | None = None,
        sources: list[dict[str, Any]] | None = None,
        **source: Any,
    ) -> Shop:
        nonlocal count
        count += 1
        root = tmp_path / f"shop{count}"
        root.mkdir()
        one = {"path": "*.csv", "columns": COLUMNS if columns is None else columns, **source}
        if "url" in source:
            del one["path"]
        raw = {"shop": shop or {}, "lake": lake or {}, "source": sources or [one]}
        return Shop(root, parse_config(raw, environ={}))

    return make
