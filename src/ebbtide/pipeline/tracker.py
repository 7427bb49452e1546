"""What hears of a run: the shape of a tracker, which is W&B's: `init` once, `log` at will, `finish` once.

One more tracker costs one file; for W&B it would be

    class WandbTracker:
        def init(self, run: RunStart) -> None:
            self.run = wandb.init(project=run.shop, name=run.id, job_type=run.kind, config=run.parameters)

        def log(self, metrics: Mapping[str, Figure], step: int | None = None) -> None:
            self.run.log(flat_figures(metrics), step=step)

        def finish(self, record: Mapping[str, Any]) -> None:
            self.run.summary.update({"seconds": record["seconds"], "result": record["result"]})
            self.run.finish(exit_code=0 if record["state"] == "finished" else 1)

and a line in `tracking.trackers_for`. A tracker that fails raises an EbbtideError; the run goes on without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ebbtide.evaluation.intervals import Estimate

Figure = float | Estimate
"""A metric: a number, or one with its interval."""


@dataclass(frozen=True)
class RunStart:
    """What is known when a run begins. `kind` is the command; `parameters` are flat, `section.key` to value."""

    id: str
    kind: str
    shop: str
    started_at: str
    parameters: Mapping[str, Any]


class Tracker(Protocol):
    """Hears of one run. The record at the end holds everything that was told before: see `tracking.Run.record`."""

    def init(self, run: RunStart) -> None: ...

    def log(self, metrics: Mapping[str, Figure], step: int | None = None) -> None: ...

    def finish(self, record: Mapping[str, Any]) -> None: ...


def flat_figures(metrics: Mapping[str, Figure]) -> dict[str, float]:
    """Numbers alone: an interval's ends get names of their own; what is undefined is left out.

    >>> flat_figures({"auroc": Estimate(0.7, 0.6, 0.8), "rows": 3.0})
    {'auroc': 0.7, 'auroc_low': 0.6, 'auroc_high': 0.8, 'rows': 3.0}
    """
    flat: dict[str, float | None] = {}
    for name, figure in metrics.items():
        if isinstance(figure, Estimate):
            flat |= {name: figure.value, f"{name}_low": figure.low, f"{name}_high": figure.high}
        else:
            flat[name] = float(figure)
    return {name: value for name, value in flat.items() if value is not None}
