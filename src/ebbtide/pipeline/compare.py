"""`compare`: chosen models trained on one workspace under one protocol, judged on the same customers, with their cost.

Every model is rehearsed as `train --model NAME` would: same rows, same held-out moments, weighed and calibrated with
what was known then, so that its figures are those that `train` prints. Nothing is kept: no bundle is written.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ebbtide.core.config import Config
from ebbtide.core.errors import DataError, MissingExtraError
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.windows import from_us
from ebbtide.evaluation.intervals import Estimate
from ebbtide.evaluation.paired import paired_difference
from ebbtide.evaluation.ranking import auroc
from ebbtide.evaluation.summary import Evaluation, evaluate
from ebbtide.models.auto import HeldOut, choose, fit_chosen, together
from ebbtide.models.base import Rows, Vector, sigmoid
from ebbtide.models.columns import ColumnMaker, rows_with_model_columns
from ebbtide.models.makers import all_columns, save_makers
from ebbtide.models.registry import AUTO, MODELS, Setting, candidates
from ebbtide.models.stack import StackModel
from ebbtide.models.undone import learnable
from ebbtide.pipeline.comparison import ModelComparison, ModelFigures
from ebbtide.pipeline.rehearsal import choose_in_turn, predict_past
from ebbtide.pipeline.train import Prepared, prepare

_STAGE = Text("training and judging each model", "逐个训练并检验模型")
_TIMED_SECONDS = 0.2
_EQUAL = Estimate(0.0, 0.0, 0.0)


def compare(
    config: Config,
    root: Path,
    *,
    models: Sequence[str] | None = None,
    until: datetime | None = None,
    progress: Progress = silent,
) -> ModelComparison:
    """Compare `models` (default: `auto` and all others that can run here) on what was known at `until`.

    By default a model that cannot run here, or cannot learn from this log, is left out with the reason.
    Raises InputError for an unknown model, MissingExtraError or DataError where a model that was asked for by name
    cannot run, DataError if the history allows no rehearsal, SufficiencyError.
    """
    names = list(dict.fromkeys(models)) if models else [*MODELS, AUTO]
    entries = {k: entry for name in names for k, entry in candidates(name).items()}
    bench = _Bench(config, prepare(config, root, until=until, progress=progress, entries=entries))
    judged: list[_Judged] = []
    left_out: dict[str, Text] = {}
    for done, name in enumerate(names):
        progress(_STAGE, done, len(names))
        try:
            judged.append(bench.judge(name))
        except (MissingExtraError, DataError) as fault:
            if models:
                raise
            left_out[name] = fault.text
    progress(_STAGE, len(names), len(names))
    return _compared(judged, left_out, config)


@dataclass(frozen=True)
class _Judged:
    """A model at the test moment: probabilities, figures, cost."""

    name: str
    held: HeldOut
    p: Vector
    found: Evaluation
    moments: dict[str, float | None]
    training_seconds: float
    microseconds: float
    size_bytes: int


class _Bench:
    """The rows and moments that all models share; each candidate predicts a held-out moment once, also for `auto`."""

    def __init__(self, config: Config, ready: Prepared) -> None:
        self.config, self.ready = config, ready
        self.settings: dict[int, Setting] = {m: ready.setting_at(m) for m in ready.people}
        now = ready.until_us
        rows = rows_with_model_columns(ready.rows, self.settings[now])
        self.rows = learnable(rows, now, seed=config.train.seed)
        self._held: dict[str, list[HeldOut]] = {}

    def judge(self, name: str) -> _Judged:
        """Rehearse, judge at the newest held-out moment, then fit on all closed moments and weigh the result."""
        entries, train = candidates(name), self.config.train
        held = self._held_of(list(entries))
        if not held:
            raise _too_short()
        past = [r for r in choose_in_turn(held, entries) if len(r.judged.y)]
        if not past:
            raise _too_short()
        judged = [r.judged for r in past]
        probabilities = [sigmoid(r.choice.apply(h)) for r, h in zip(past, judged, strict=True)]
        test, p = judged[-1], probabilities[-1]
        found = evaluate(test.y, p, user=test.user, profit=self.config.profit, draws=train.bootstrap, seed=train.seed)
        start = time.perf_counter()
        now = self.ready.until_us
        choice = choose(held, entries, known_us=now)
        stack, makers = fit_chosen(self.rows, choice, entries, self.settings[now], seed=train.seed)
        seconds = time.perf_counter() - start
        return _Judged(
            name=name,
            held=test,
            p=p,
            found=found,
            moments={
                f"{from_us(h.moment_us):%Y-%m-%d}": _auroc(h.y, q) for h, q in zip(judged, probabilities, strict=True)
            },
            training_seconds=seconds,
            microseconds=microseconds_a_row(stack, makers, self.rows.at(int(self.rows.moments()[-1]))),
            size_bytes=saved_bytes(stack, makers),
        )

    def _held_of(self, names: list[str]) -> list[HeldOut]:
        """The held-out moments with the margins of these candidates, oldest first."""
        for name in names:
            if name not in self._held:
                self._held[name] = predict_past(
                    self.ready.rows,
                    self.ready.held_out,
                    candidates(name),
                    self.settings.__getitem__,
                    seed=self.config.train.seed,
                    progress=silent,
                )
        moments = zip(*(self._held[name] for name in names), strict=True)
        return [together(same) for same in moments]


def _compared(judged: Sequence[_Judged], left_out: dict[str, Text], config: Config) -> ModelComparison:
    if not judged:
        raise _too_short()
    ranked = sorted(judged, key=lambda j: -(j.found.metrics["auroc"].value or 0.0))
    best = ranked[0]
    return ModelComparison(
        as_of=from_us(best.held.moment_us),
        users=len(best.held.y),
        churned=int(best.held.y.sum()),
        models=tuple(_figures(j, best, config) for j in ranked),
        left_out=left_out,
    )


def _figures(j: _Judged, best: _Judged, config: Config) -> ModelFigures:
    draws, seed = config.train.bootstrap, config.train.seed
    behind = _EQUAL if j is best else paired_difference(j.held.y, j.p, best.p, user=j.held.user, draws=draws, seed=seed)
    metrics = ("auroc", "average_precision", "log_loss", "ece")
    return ModelFigures(
        name=j.name,
        **{metric: j.found.metrics[metric] for metric in metrics},
        empc=j.found.profit.expected,
        behind=behind,
        moments=j.moments,
        training_seconds=j.training_seconds,
        microseconds=j.microseconds,
        size_bytes=j.size_bytes,
    )


def microseconds_a_row(stack: StackModel, makers: Sequence[ColumnMaker], rows: Rows) -> float:
    """The least time that scoring one of `rows` took, from its base columns and events, in a few tries of all together."""

    def score() -> Vector:
        return stack.margin(all_columns(makers, rows.X, rows.sequences))

    score()  # compiled and loaded now, not while the clock runs
    least, spent = np.inf, 0.0
    while spent < _TIMED_SECONDS:
        start = time.perf_counter()
        score()
        taken = time.perf_counter() - start
        least, spent = min(least, taken), spent + taken
    return float(1e6 * least / max(len(rows), 1))


def saved_bytes(stack: StackModel, makers: Sequence[ColumnMaker]) -> int:
    """How much room the saved model takes."""
    with TemporaryDirectory(prefix="ebbtide-") as folder:
        stack.save(Path(folder) / "models")
        save_makers(Path(folder) / "makers", makers)
        return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())


def _auroc(y: Vector, p: Vector) -> float | None:
    return auroc(y, p) if 0 < y.sum() < len(y) else None


def _too_short() -> DataError:
    return DataError(
        "the history is too short to compare models: two closed cutoffs, a horizon apart, are the least",
        "历史太短，无法比较模型：至少需要相隔一个周期的两个已结束时点",
    )
