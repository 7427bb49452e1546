"""`backtest`: the same model policy at many past moments, each as if it were today.

`train` rehearses the newest few moments; this goes as far back as the history allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebbtide.core.config import Config
from ebbtide.core.errors import DataError
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.sections import Readable, Section
from ebbtide.models.registry import candidates
from ebbtide.pipeline.rehearsal import rehearse
from ebbtide.pipeline.train import prepare
from ebbtide.pipeline.verdict import PastMoment, judge_rehearsals, not_judged, past_section


@dataclass(frozen=True)
class BacktestReport(Readable):
    """The rehearsed moments, oldest first."""

    model: str
    moments: tuple[PastMoment, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {"model": self.model, "moments": [m.to_json() for m in self.moments]}

    def sections(self) -> tuple[Section, ...]:
        """The moments as a table."""
        return (past_section(self.moments),)

    def lines(self) -> list[Text]:
        """One line a moment."""
        return [
            Text(
                f"{m.as_of:%Y-%m-%d}: {m.users:,} users, {m.churn_rate:.1%} churned, {m.predicted_rate:.1%} predicted, "
                f"AUROC {_said(m)}",
                f"{m.as_of:%Y-%m-%d}：{m.users:,} 位用户，流失率 {m.churn_rate:.1%}，预测 {m.predicted_rate:.1%}，"
                f"AUROC {_said(m)}",
            )
            + (not_judged(m.treated) if m.treated else Text("", ""))
            for m in self.moments
        ]


def backtest(
    config: Config,
    root: Path,
    *,
    moments: int = 8,
    model: str | None = None,
    progress: Progress = silent,
) -> BacktestReport:
    """Rehearse up to `moments` past moments, one horizon apart. Raises DataError if the history allows none."""
    name = model or config.train.model
    entries = candidates(name)
    longer = replace_train(config, max_cutoffs=max(config.train.max_cutoffs, 3 * moments + 6))
    ready = prepare(longer, root, until=None, progress=progress, held_out=moments, entries=entries)
    settings = {m: ready.setting_at(m) for m in ready.people}
    past = rehearse(
        ready.rows, ready.held_out, entries, settings.__getitem__, seed=config.train.seed, progress=progress
    )
    if not past:
        raise DataError(
            "the history is too short for a backtest: two closed cutoffs, a horizon apart, are the least",
            "历史太短，无法回测：至少需要相隔一个周期的两个已结束时点",
        )
    return BacktestReport(name, judge_rehearsals(past, ready.rows, config).backtest)


def replace_train(config: Config, **changes: Any) -> Config:
    """The config with other training settings."""
    return config.model_copy(update={"train": config.train.model_copy(update=changes)})


def _said(moment: PastMoment) -> str:
    value, low, high = moment.auroc
    return "-" if value is None else f"{value:.3f} [{low or 0:.3f}, {high or 1:.3f}]"
