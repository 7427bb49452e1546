"""The run manifest: what was asked, of which data, by which versions."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np

from ebbtide.core.windows import from_us
from ebbtide.events.lake import Lake
from ebbtide.models.base import Rows
from ebbtide.pipeline.dataset import Survey

_LIBRARIES = ("ebbtide", "numpy", "polars", "duckdb", "deltalake", "lightgbm", "numba", "scikit-learn", "scipy")


def describe_run(
    lake: Lake, seen: Survey, rows: Rows, moments: Sequence[int], *, model: str, sampled: float, seed: int
) -> dict[str, Any]:
    """The manifest's facts about a run. The id sorts by time of making; `data` says what was known at `until`."""
    return {
        **name_run(model),
        "model": model,
        "seed": seed,
        "until": from_us(seen.until_us).isoformat(),
        "cutoffs": [from_us(m).isoformat() for m in moments],
        "rows": len(rows),
        "users": len(np.unique(rows.user)),
        "sampled": sampled,
        "data": data_facts(lake, seen),
        "versions": library_versions(),
    }


def name_run(model: str) -> dict[str, str]:
    """An id that sorts by time of making, and that time."""
    now = datetime.now(UTC)
    return {
        "id": f"{now:%Y%m%dT%H%M%S}-{now.microsecond:06d}-{model}",
        "created_at": now.isoformat(timespec="seconds"),
    }


def data_facts(lake: Lake, seen: Survey) -> dict[str, Any]:
    """Which data a run saw."""
    return {
        "fingerprint": lake.fingerprint(),
        "events": seen.events,
        "users": seen.users,
        "first": from_us(seen.first_us).isoformat(),
        "last": from_us(seen.last_us).isoformat(),
        "capabilities": sorted(seen.capabilities),
    }


def library_versions() -> dict[str, str]:
    """What it ran with."""
    return {"python": platform.python_version()} | {name: version(name) for name in _LIBRARIES}
