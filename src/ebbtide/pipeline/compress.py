"""`compress`: a bundle in smaller and faster forms, measured where neither it nor they had looked.

The bundle has seen every known outcome, so its policy is rehearsed: at the newest closed moment the same models are
fitted, weighed and calibrated on what was known then, compressed, and judged on that moment's cohort. The form that is
asked for, or pays, is then made of the bundle itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np

from ebbtide.churn.labels import NEVER_US
from ebbtide.core.errors import DataError, InputError
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.windows import from_us
from ebbtide.evaluation.paired import paired_difference
from ebbtide.evaluation.summary import evaluate
from ebbtide.models.auto import Choice, fit_chosen
from ebbtide.models.base import Rows, Vector, sigmoid
from ebbtide.models.bundle import Bundle, write_bundle
from ebbtide.models.columns import rows_with_model_columns
from ebbtide.models.forms import Form, Served, compressed, forms_of
from ebbtide.models.registry import MODELS, Entry
from ebbtide.models.undone import learnable
from ebbtide.pipeline.card import model_card
from ebbtide.pipeline.compare import microseconds_a_row, saved_bytes
from ebbtide.pipeline.compression import Compression, FormFigures, paying_form
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.rehearsal import Rehearsed, rehearse
from ebbtide.pipeline.train import Prepared, prepare
from ebbtide.pipeline.tuned import Tuned
from ebbtide.pipeline.verdict import judge_rehearsals

Wanted = Literal["auto", "onnx", "int8", "distilled"]
_STAGE = Text("compressing and judging each form", "压缩并检验各形式")
_ALONE_ROWS = 200


def compress(
    root: Path,
    *,
    bundle: str | None = None,
    form: Wanted = "auto",
    promote: bool = False,
    progress: Progress = silent,
) -> Compression:
    """Measure the forms of a bundle (default: the current one); with `promote`, write the chosen one as a new bundle
    and make it current.

    Raises InputError for a bundle that is compressed already or has no such form, DataError if the history allows no
    rehearsal or the workspace's features have changed, MissingBundleError, MissingExtraError.
    """
    shelf = Places(root).shelf()
    whole = shelf.load(bundle)
    if "compressed_from" in whole.manifest:
        raise InputError(
            "{name} is compressed already: compress {origin}, from which it was made",
            "{name} 已经是压缩形式：请压缩其来源 {origin}",
            name=whole.id,
            origin=whole.manifest["compressed_from"],
        )
    offered = forms_of(whole.makers)
    if form != "auto" and form not in offered:
        raise InputError(
            "{name} has no {form} form: it holds no neural net; distilled or auto is possible",
            "{name} 没有 {form} 形式：其中没有神经网络；可用 distilled 或 auto",
            name=whole.id,
            form=form,
        )
    entries = {name: MODELS[name] for name in whole.stack.names}
    ready = _rows_of(whole, entries, root, progress)
    with TemporaryDirectory(prefix="ebbtide-") as folder:
        test = _rehearsed(ready, entries, whole, progress)
        measured = _Measured(test, whole, Path(folder) / "test")
        figures = []
        for done, one in enumerate(offered):
            progress(_STAGE, done, len(offered))
            figures.append(measured.figures(one))
        progress(_STAGE, len(offered), len(offered))
        paying = paying_form(figures)
        chosen: Form = paying if form == "auto" else form
        found = Compression(
            bundle=whole.id,
            as_of=from_us(test.past.held.moment_us),
            users=len(test.past.judged.y),
            churned=int(test.past.judged.y.sum()),
            forms=tuple(figures),
            paying=paying,
            chosen=chosen,
        )
        if not promote or chosen == "full":
            return found
        rows = rows_with_model_columns(ready.rows, whole.setting)
        full = Served("full", whole.stack, whole.makers)
        made = compressed(full, chosen, rows, seed=whole.config.train.seed, folder=Path(folder) / "now")
        smaller, card = _bundle(whole, made, found, measured.as_rehearsed(chosen), ready, test.rows)
        write_bundle(shelf.folder, smaller, card)
        shelf.promote(smaller.id)
        return replace(found, written=smaller.id)


@dataclass(frozen=True)
class _Test:
    """The newest closed moment: what the model was made of then (`full`), the rows that had been by then, the cohort."""

    past: Rehearsed
    full: Served
    rows: Rows
    asked: Rows

    @property
    def earlier(self) -> Rows:
        """Rows of earlier moments: their columns were known, though not yet all their outcomes."""
        return self.rows.take(self.rows.as_of_us < self.past.held.moment_us)


def _rows_of(whole: Bundle, entries: dict[str, Entry], root: Path, progress: Progress) -> Prepared:
    """The rows that the bundle was trained on. Raises DataError if the workspace's features are others now."""
    until = datetime.fromisoformat(whole.manifest["until"])
    ready = prepare(whole.config, root, until=until, progress=progress, held_out=2, entries=entries)
    if ready.catalogue.names != whole.catalogue.names:
        raise DataError(
            "the features of the workspace have changed since {name} was trained: train again, then compress",
            "自 {name} 训练以来，工作区的特征已改变：请重新训练后再压缩",
            name=whole.id,
        )
    return replace(ready, tuned={n: Tuned.from_json(t) for n, t in whole.manifest["tuned"].items()})


def _rehearsed(ready: Prepared, entries: dict[str, Entry], whole: Bundle, progress: Progress) -> _Test:
    """The bundle's models as they would have been at the newest closed moment."""
    seed = whole.config.train.seed
    past = rehearse(ready.rows, ready.held_out, entries, ready.setting_at, seed=seed, progress=progress)
    if not past:
        raise DataError(
            "the history is too short to measure what compression costs: two closed cutoffs, a horizon apart, are the least",
            "历史太短，无法衡量压缩的代价：至少需要相隔一个周期的两个已结束时点",
        )
    test = past[-1]
    setting = ready.setting_at(test.held.moment_us)
    rows = rows_with_model_columns(ready.rows, setting)
    known = learnable(rows, test.held.moment_us, seed=seed)
    full = Served("full", *fit_chosen(known, test.choice, entries, setting, seed=seed))
    return _Test(test, full, rows, with_own_events(rows.at(test.held.moment_us)))


class _Measured:
    """The forms of the rehearsed model on the test cohort; each is made once."""

    def __init__(self, test: _Test, whole: Bundle, folder: Path) -> None:
        self.test, self.folder, self.config = test, folder, whole.config
        self.margin: dict[Form, Vector] = {"full": test.full.margin(test.asked)}

    def figures(self, form: Form) -> FormFigures:
        """Make, ask and time one form."""
        test, train = self.test, self.config.train
        made = compressed(test.full, form, test.earlier, seed=train.seed, folder=self.folder / form)
        self.margin[form] = made.margin(test.asked)
        judged = test.asked.treated_us() == NEVER_US
        p, q, y, user = (
            a[judged] for a in (self._probability(form), self._probability("full"), test.asked.y, test.asked.user)
        )
        found = evaluate(y, p, user=user, draws=train.bootstrap, seed=train.seed)
        return FormFigures(
            form=form,
            auroc=found.metrics["auroc"],
            loss=paired_difference(y, q, p, user=user, draws=train.bootstrap, seed=train.seed),
            difference=float(np.abs(p - q).max()),
            size_bytes=saved_bytes(made.stack, made.makers),
            microseconds=microseconds_a_row(made.stack, made.makers, test.asked),
            alone_microseconds=microseconds_alone(made, test.asked),
        )

    def as_rehearsed(self, form: Form) -> Rehearsed:
        """The form as a policy of one member, for the verdict on the new bundle."""
        held, choice = self.test.past.held, self.test.past.choice
        margins: dict[str, Vector] = {form: self.margin[form][None, :]}
        alone = replace(held, margins=margins, newest=None)
        return Rehearsed(alone, Choice({form: 0}, {form: 1.0}, choice.calibration, choice.history))

    def _probability(self, form: Form) -> Vector:
        return sigmoid(self.test.past.choice.calibration.apply(self.margin[form]))


def with_own_events(rows: Rows) -> Rows:
    """The same rows over the events of their users only, as they come when these users are scored."""
    return rows if rows.sequences is None else replace(rows, sequences=rows.sequences.narrowed())


def microseconds_alone(served: Served, rows: Rows) -> float:
    """The median time that scoring one row by itself takes, from its base columns and events."""
    each = [with_own_events(rows.take(np.array([i]))) for i in range(min(len(rows), _ALONE_ROWS))]
    served.margin(each[0])  # compiled and loaded now, not while the clock runs
    taken = []
    for row in each:
        start = time.perf_counter()
        served.margin(row)
        taken.append(time.perf_counter() - start)
    return float(1e6 * np.median(taken))


def _bundle(
    whole: Bundle, made: Served, found: Compression, rehearsed: Rehearsed, ready: Prepared, rows: Rows
) -> tuple[Bundle, str]:
    """The new bundle and its card: the figures are those of the form itself, not of the bundle it came from."""
    verdict = judge_rehearsals([rehearsed], rows, whole.config, ready.traits())
    now = datetime.now(UTC)
    model = whole.manifest["model"]
    about = {
        "id": f"{now:%Y%m%dT%H%M%S}-{now.microsecond:06d}-{model}-{made.form}",
        "created_at": now.isoformat(timespec="seconds"),
        "form": made.form,
        "compressed_from": whole.id,
    }
    smaller = replace(
        whole,
        manifest=whole.manifest | about,
        stack=made.stack,
        makers=made.makers,
        metrics=verdict.to_json() | {"compression": found.to_json()},
    )
    return smaller, model_card(smaller, verdict, ready.gate)
