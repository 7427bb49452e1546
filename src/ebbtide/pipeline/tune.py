"""`tune`: better settings for one model, found on past moments and judged at the newest one, which the search never sees.

The held-out moments of the rehearsal are the folds, except the newest, which is the test. The search gets the rows whose
labels were known at the test moment and nothing else, so it cannot look. Its loss is the mean over the folds of the log
loss after calibration, with the best number of rounds, as training would choose it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ebbtide.core.config import Config
from ebbtide.core.errors import DataError, InputError
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.sections import Readable, Section
from ebbtide.core.windows import from_us
from ebbtide.evaluation.intervals import Estimate
from ebbtide.evaluation.paired import paired_difference
from ebbtide.evaluation.summary import evaluate
from ebbtide.models.auto import HeldOut, choose, hold_out
from ebbtide.models.base import Rows, Vector, sigmoid
from ebbtide.models.calibration import AffineCalibration
from ebbtide.models.columns import rows_with_model_columns
from ebbtide.models.registry import AUTO, AUTO_DEEP, MODELS, Entry, Setting, candidates
from ebbtide.models.space import Value, Values, usual_values
from ebbtide.pipeline.manifest import data_facts, library_versions
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.rehearsal import MOST_HELD_OUT
from ebbtide.pipeline.study import Plan, Sampler, StudyFolder, Tried, best_of, search
from ebbtide.pipeline.tracking import Run, track
from ebbtide.pipeline.train import Prepared, prepare
from ebbtide.pipeline.tuned import Tuned

_SLOPE_SPREAD = 3.0
_BEST_SHOWN = 5
_METRICS = ("auroc", "log_loss")


@dataclass(frozen=True)
class Figures:
    """One metric at the test moment: with the usual settings, with the tuned ones, and the difference on the same users."""

    before: Estimate
    after: Estimate
    difference: Estimate


@dataclass(frozen=True)
class TuneReport(Readable):
    """What `tune` found. `usual_loss` and `loss`: over the folds, on which was chosen; `figures`: at `tested_at`, which
    was not looked at before. `usual_loss` is None if that trial was killed again and again."""

    model: str
    settings: dict[str, Value]
    usual: dict[str, Value]
    folds: tuple[datetime, ...]
    tested_at: datetime
    users: int
    usual_loss: float | None
    loss: float
    figures: dict[str, Figures]
    trials: tuple[Tried, ...]
    problems: tuple[Text, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return asdict(self) | {
            "folds": [f.isoformat() for f in self.folds],
            "tested_at": self.tested_at.isoformat(),
            "trials": [asdict(t) for t in self.trials],
            "pruned": sum(t.pruned for t in self.trials),
            "problems": [p.en for p in self.problems],
        }

    def sections(self) -> tuple[Section, ...]:
        """The sentences, and the best trials as a table."""
        best = sorted((t for t in self.trials if not t.pruned), key=lambda t: (t.loss, t.number))[:_BEST_SHOWN]
        rows = tuple((t.number, f"{t.loss:.5f}", _said(t.values)) for t in best)
        return (Section(lines=tuple(self.lines())), Section(_BEST, columns=_COLUMNS, rows=rows))

    def lines(self) -> list[Text]:
        """The result in a few sentences."""
        changed = {k: v for k, v in self.settings.items() if v != self.usual[k]}
        return [
            Text(
                "{model}: {trials} trials, {pruned} of them given up early, on {folds} past moments; "
                "log loss {usual:.5f} with the usual settings, {loss:.5f} with the best ones: {said}",
                "{model}：{trials} 次试验（{pruned} 次提前放弃），基于 {folds} 个历史时点；"
                "常用参数的对数损失 {usual:.5f}，最佳参数 {loss:.5f}：{said}",
            ).format(
                model=self.model,
                trials=len(self.trials),
                pruned=sum(t.pruned for t in self.trials),
                folds=len(self.folds),
                usual=float("nan") if self.usual_loss is None else self.usual_loss,
                loss=self.loss,
                said=_said(changed) or Text("nothing better was found", "未找到更好的参数"),
            ),
            Text(
                "at {day:%Y-%m-%d}, which the search did not see ({users:,} users):",
                "在搜索未见过的 {day:%Y-%m-%d}（{users:,} 位用户）：",
            ).format(day=self.tested_at, users=self.users),
            *(_compared(name, self.figures[name]) for name in _METRICS),
            _USED,
            *self.problems,
        ]


_BEST = Text("The best trials", "最佳试验")
_COLUMNS = (Text("trial", "试验"), Text("log loss", "对数损失"), Text("settings", "参数"))
_USED = Text(
    "`ebbtide train` takes these settings with [train] tuned = true",
    "在配置中设置 [train] tuned = true 后，`ebbtide train` 将使用这些参数",
)


def tune(
    config: Config,
    root: Path,
    *,
    model: str,
    trials: int = 40,
    minutes: float | None = None,
    sampler: Sampler = "tpe",
    fresh: bool = False,
    until: datetime | None = None,
    progress: Progress = silent,
) -> TuneReport:
    """Search settings of one model until there are `trials` trials or `minutes` are over, and keep the best.

    Goes on with the trials of earlier and other processes on the same data, unless `fresh`. Raises InputError for a
    model without a search space, DataError if the history allows no fold beside the test moment, MissingExtraError
    without Optuna, and what `train` raises.
    """
    entry = _tunable(model)
    with track(config, root, "tune", model=model, trials=trials, minutes=minutes, sampler=sampler) as run:
        place = StudyFolder(Places(root).tuning, model)
        if fresh:
            place.forget()
        ready = prepare(
            config, root, until=until, progress=progress, held_out=MOST_HELD_OUT + 1, entries={model: entry}
        )
        folds = Folds(ready, model, entry, config.train.seed)
        plan = Plan(
            name=folds.fingerprint(),
            space=entry.space,
            trials=trials,
            seconds=None if minutes is None else 60 * minutes,
            sampler=sampler,
            seed=config.train.seed,
        )
        tried = search(place, plan, folds.losses, progress)
        report = _report(config, folds, tried)
        _keep(root, ready, report, run)
    return replace(report, problems=tuple(run.problems))


@dataclass(frozen=True)
class Folds:
    """The past moments on which settings are judged, and the one on which the choice is."""

    ready: Prepared
    model: str
    entry: Entry
    seed: int

    def __post_init__(self) -> None:
        if len(self.ready.held_out) < 2:
            raise DataError(
                "the history is too short to tune: two closed moments a horizon apart are needed beside those to learn"
                " from, one to judge settings and one to test the choice",
                "历史太短，无法调参：除用于学习的时点外，还需两个相隔一个周期的已结束时点，一个评判参数，一个检验选择",
            )

    @property
    def test_us(self) -> int:
        """The newest held-out moment."""
        return self.ready.held_out[0]

    @property
    def moments(self) -> list[int]:
        """The folds, oldest first."""
        return self.ready.held_out[:0:-1]

    def known(self) -> Rows:
        """What the search may look at: rows whose outcome was known at the test moment, as it was known then."""
        return self.ready.rows.known_at(self.test_us)

    def losses(self, values: Values) -> Iterator[float]:
        """After each fold, the mean loss over the folds so far, with the number of rounds that is best for them."""
        total, count, known = np.zeros(1), 0, self.known()
        for moment in self.moments:
            held = self.hold_out(known, moment, values)
            held = held and held.known_at(self.test_us)
            if held is not None and 0 < held.y.sum() < len(held.y):
                total, count = total + calibrated_losses(held.margins[self.model], held.y), count + 1
                yield float(total.min()) / count
        if not count:
            raise DataError(
                "no past moment has both churned and retained users to judge settings by",
                "没有任何历史时点同时有流失和留存的用户可用于评判参数",
            )

    def hold_out(self, rows: Rows, moment_us: int, values: Values | None) -> HeldOut | None:
        """The model with these settings (None: as it comes) at a held-out moment."""
        setting = self._setting(moment_us, values)
        full = rows_with_model_columns(rows, setting)
        entry = self.entry.with_values(values or {})
        return hold_out(full, moment_us, {self.model: entry}, setting, seed=self.seed)

    def predict(self, values: Values | None) -> tuple[HeldOut, Vector]:
        """Probabilities at the test moment, calibrated and with rounds chosen on the folds before it."""
        held = [self.hold_out(self.known(), m, values) for m in self.moments]
        asked = self.hold_out(self.ready.rows, self.test_us, values)
        assert asked is not None
        newest = asked.untreated()
        past, entries = [h for h in held if h is not None], {self.model: self.entry}
        choice = choose(past, entries, known_us=self.test_us)
        return newest, sigmoid(choice.apply(newest))

    def fingerprint(self) -> str:
        """Of all that a trial's loss depends on beside its settings: another name, another study."""
        rows = self.known()
        digest = hashlib.sha256(repr((self.moments, self.seed, self.entry.space, rows.names)).encode())
        treated = (
            () if rows.exposures is None else (rows.treated_us(), np.frombuffer(rows.exposures.rule.encode(), np.uint8))
        )
        for part in (rows.X, rows.y, rows.as_of_us, rows.user, *treated):
            digest.update(np.ascontiguousarray(part).tobytes())
        digest.update(version("ebbtide").encode())
        return f"{self.model}-{digest.hexdigest()[:16]}"

    def _setting(self, moment_us: int, values: Values | None) -> Setting:
        setting = self.ready.setting_at(moment_us)
        return setting if values is None else replace(setting, tuned={self.model: values})


def calibrated_losses(margins: Vector, y: Vector) -> Vector:
    """Mean log loss of each variant, (V,), margins (V, N), after the best calibration by a straight line.

    The base rate moves between moments and is corrected elsewhere; a setting should not be blamed for it.
    """
    losses = np.empty(len(margins))
    for v, margin in enumerate(margins):
        odds = AffineCalibration.fit(margin, y, slope_spread=_SLOPE_SPREAD).apply(margin)
        losses[v] = np.mean(np.logaddexp(0.0, odds) - y * odds)
    return losses


def _tunable(model: str) -> Entry:
    entry = candidates(model).get(model)
    if model in (AUTO, AUTO_DEEP) or entry is None or not entry.space:
        raise InputError(
            "`{model}` has nothing to tune: name one of {known}",
            "`{model}` 没有可调的参数：请指定其中一个模型 {known}",
            model=model,
            known=", ".join(name for name, e in MODELS.items() if e.space),
        )
    return entry


def _report(config: Config, folds: Folds, tried: Sequence[Tried]) -> TuneReport:
    best, usual = best_of(tried), usual_values(folds.entry.space)
    newest, before = folds.predict(None)
    _, after = folds.predict(best.values)
    draws, seed = config.train.bootstrap, config.train.seed
    one, other = (evaluate(newest.y, p, user=newest.user, draws=draws, seed=seed) for p in (before, after))
    return TuneReport(
        model=folds.model,
        settings=best.values,
        usual=usual,
        folds=tuple(from_us(m) for m in folds.moments),
        tested_at=from_us(folds.test_us),
        users=len(newest.y),
        usual_loss=next((t.loss for t in tried if t.values == usual), None),
        loss=best.loss,
        figures={
            m: Figures(
                one.metrics[m],
                other.metrics[m],
                paired_difference(newest.y, after, before, user=newest.user, metric=m, draws=draws, seed=seed),
            )
            for m in _METRICS
        },
        trials=tuple(tried),
    )


def _keep(root: Path, ready: Prepared, report: TuneReport, run: Run) -> None:
    figures = {k: v for k, v in report.to_json().items() if k not in ("trials", "settings", "problems")}
    known_us = ready.held_out[0]
    Tuned(report.model, report.settings, known_us, ready.definition.to_json(), figures).save(root)
    run.note(
        result=f"{report.model}.json",
        settings=report.settings,
        data=data_facts(ready.lake, ready.seen),
        versions=library_versions(),
    )
    run.log({"loss": report.loss} | ({} if report.usual_loss is None else {"usual_loss": report.usual_loss}))
    for name, f in report.figures.items():
        run.log({f"{name}_before": f.before, f"{name}_after": f.after, f"{name}_difference": f.difference})


def _compared(name: str, f: Figures) -> Text:
    fields = {"before": f.before.value or 0.0, "after": f.after.value or 0.0, "d": f.difference.value or 0.0}
    ends = {"low": f.difference.low or 0.0, "high": f.difference.high or 0.0}
    said = "{name} {before:.4f} -> {after:.4f}, {word} {d:+.4f} [{low:+.4f}, {high:+.4f}]"
    named = Text("AUROC", "AUROC") if name == "auroc" else Text("log loss", "对数损失")
    return Text(said, said).format(name=named, word=Text("difference", "差"), **fields, **ends)


def _said(values: Values) -> str:
    return ", ".join(f"{k} = {v:.4g}" if isinstance(v, float) else f"{k} = {v}" for k, v in values.items())
