"""Tracking: every run leaves a record under `.ebbtide/runs`, and with the extra `mlflow` MLflow gets the same.

A failing tracker never costs a result: the run goes on without it, and its report says so.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ebbtide.core.config import Config
from ebbtide.core.errors import EbbtideError, RetryError
from ebbtide.core.json_file import write_json_file
from ebbtide.core.language import Text
from ebbtide.evaluation.intervals import Estimate
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.tracker import Figure, RunStart, Tracker
from ebbtide.pipeline.tracking_mlflow import MlflowTracker


@dataclass
class Run:
    """One run in progress. What `log` and `note` are told ends up in the record and with every tracker.

    `problems` are the failures of trackers, to be told in the report; a tracker that failed is told nothing more.
    """

    start: RunStart
    trackers: list[Tracker]
    problems: list[Text] = field(default_factory=list)
    _metrics: dict[str, Any] = field(default_factory=dict)
    _steps: list[dict[str, Any]] = field(default_factory=list)
    _facts: dict[str, Any] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    def log(self, metrics: Mapping[str, Figure], step: int | None = None) -> None:
        """Tell metrics; with `step`, one point of a curve."""
        told = {name: _told(figure) for name, figure in metrics.items()}
        if step is None:
            self._metrics |= told
        else:
            self._steps.append({"step": step, **told})
        self.tell_all(lambda tracker: tracker.log(metrics, step))

    def note(self, **facts: Any) -> None:
        """Tell what the run is about: `result` (the name of what it made), `data`, `versions`, whatever else."""
        self._facts |= facts

    def record(self, state: str, error: str | None = None) -> dict[str, Any]:
        """Everything known of the run. `state`: running, finished or failed; `error`: the code of what went wrong, "stopped" if it is
        none of ours.

        `peak_memory_mb` is the most that the process has held so far.
        """
        return {
            **vars(self.start),
            "state": state,
            "error": error,
            "result": None,
            "data": {},
            "versions": {},
            "seconds": round(time.monotonic() - self._began, 3),
            "peak_memory_mb": round(peak_memory_mb(), 1),
            "metrics": self._metrics,
            "steps": self._steps,
            **self._facts,
        }

    def tell_all(self, tell: Callable[[Tracker], None]) -> None:
        """Tell every tracker; one that fails is dropped, and its failure noted among the problems."""
        for tracker in list(self.trackers):
            try:
                tell(tracker)
            except EbbtideError as fault:
                self.trackers.remove(tracker)
                self.problems.append(
                    Text("this run is not fully tracked: {why}", "本次运行未能完整记录：{why}").format(why=fault.text)
                )


@dataclass(frozen=True)
class JsonTracker:
    """The record as `folder/<id>.json`: there from the start, so that a killed run is seen as one that never ended."""

    folder: Path

    def init(self, run: RunStart) -> None:
        """Write what is known at the start."""
        self._write({**vars(run), "state": "running"})

    def log(self, metrics: Mapping[str, Figure], step: int | None = None) -> None:
        """Nothing yet: the record at the end holds all metrics."""

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write the whole record."""
        self._write(record)

    def _write(self, record: Mapping[str, Any]) -> None:
        try:
            write_json_file(self.folder / f"{record['id']}.json", record)
        except OSError as fault:
            raise RetryError(
                "the record of the run could not be written ({reason})",
                "无法写入运行记录（{reason}）",
                reason=fault.strerror or "disk",
            ) from None


@contextmanager
def track(config: Config, root: Path, kind: str, **parameters: Any) -> Iterator[Run]:
    """Track what happens inside: the record says finished, or failed and why, and how long it took.

    Raises MissingExtraError before any work if the config wants MLflow and it is not installed.
    """
    now = datetime.now(UTC)
    start = RunStart(
        id=f"{now:%Y%m%dT%H%M%S}-{now.microsecond:06d}-{kind}",
        kind=kind,
        shop=config.shop.name,
        started_at=now.isoformat(timespec="seconds"),
        parameters=_flat(config) | {k: v for k, v in parameters.items() if v is not None},
    )
    run = Run(start, list(trackers_for(config, root)))
    run.tell_all(lambda tracker: tracker.init(start))
    state, error = "failed", "stopped"
    try:
        yield run
        state, error = "finished", ""
    except EbbtideError as fault:
        error = fault.code
        raise
    finally:
        record = run.record(state, error or None)
        run.tell_all(lambda tracker: tracker.finish(record))


def trackers_for(config: Config, root: Path) -> Sequence[Tracker]:
    """The trackers that the config asks for; the JSON record always."""
    trackers: list[Tracker] = [JsonTracker(Places(root).runs)]
    if config.tracking.mlflow:
        trackers.append(MlflowTracker.open(config.tracking.mlflow, root))
    return trackers


def peak_memory_mb() -> float:
    """The most memory this process has held, in megabytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _told(figure: Figure) -> Any:
    return figure.to_json() if isinstance(figure, Estimate) else {"value": float(figure), "low": None, "high": None}


def _flat(config: Config) -> dict[str, Any]:
    """The settings that say what was asked; sources may hold addresses and passwords and are left out."""
    asked = {name: getattr(config, name) for name in ("churn", "features", "train")}
    return {f"{name}.{key}": value for name, stage in asked.items() for key, value in stage.model_dump().items()}
