"""`train_table`: from a ready-made labelled table to a model that carries honest figures.

Types and label are inferred, the policy is judged on rows that its models had not seen (folds, or the newest share
where rows have times), and the same policy fitted on all rows is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebbtide.core.config import Config
from ebbtide.core.errors import InputError
from ebbtide.core.language import Language, Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.sections import Readable, Section
from ebbtide.core.windows import DAY_US
from ebbtide.evaluation.intervals import Estimate
from ebbtide.events.table_file import TableFile
from ebbtide.models.registry import Setting, table_candidates
from ebbtide.models.table_bundle import TableBundle, is_table_bundle, write_table_bundle
from ebbtide.pipeline.manifest import library_versions, name_run
from ebbtide.pipeline.report_data import ReportData
from ebbtide.pipeline.score import write_scores
from ebbtide.pipeline.table_card import table_card, verdict_lines
from ebbtide.pipeline.table_data import LabelledTable, TableQuestion, prepare_table
from ebbtide.pipeline.table_judge import Judged, Policy, choose_policy, fit_policy, judge, usual_values
from ebbtide.pipeline.table_report import table_report
from ebbtide.pipeline.table_score import TableScores, listed

_FITTING = Text("fitting on all rows", "用全部行拟合")
_MEMBERS = (
    Text("model", "模型"),
    Text("AUROC", "AUROC"),
    Text("95 % interval", "95% 区间"),
    Text("this less it", "差值"),
)


@dataclass(frozen=True)
class TableTrained(Readable):
    """What `train_table` did. `scores`: the judged rows, each predicted by models that had not seen it; `report`: what
    the page shows; `left_out` and `warnings` are in both languages."""

    model: str
    folder: Path
    rows: int
    churned: int
    columns: int
    weights: dict[str, float]
    judged: Judged
    scores: TableScores
    report: ReportData
    notes: tuple[Text, ...]
    warnings: tuple[Text, ...]
    timed: bool

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {
            "model": self.model,
            "folder": str(self.folder),
            "rows": self.rows,
            "churned": self.churned,
            "columns": self.columns,
            "weights": self.weights,
            "judged_on": "newest rows" if self.timed else "folds",
            "test": self.judged.test.to_json(),
            "members": {
                name: {"auroc": auroc.to_json(), "difference": less.to_json()}
                for name, (auroc, less) in self.judged.members.items()
            },
            "notes": [n.en for n in self.notes],
            "warnings": [w.en for w in self.warnings],
        }

    def sections(self) -> tuple[Section, ...]:
        """Warnings first, then the result in a few sentences, the members, and what was done to the table."""
        mixed = ", ".join(f"{name} {weight:.2f}" for name, weight in self.weights.items())
        about = Text(
            f"model {self.model}: {mixed}; {self.rows:,} rows ({self.churned:,} churned), {self.columns} columns",
            f"模型 {self.model}：{mixed}；{self.rows:,} 行（{self.churned:,} 行流失），{self.columns} 列",
        )
        members = tuple(
            (name, auroc.value, _ends(auroc), _ends(less)) for name, (auroc, less) in self.judged.members.items()
        )
        warned = tuple(Text("warning: ", "警告：") + w for w in self.warnings)
        parts = [Section(lines=(*warned, about, *verdict_lines(self.judged.test, timed=self.timed)))]
        if len(members) > 1:
            parts.append(Section(Text("Each model alone", "各模型单独表现"), columns=_MEMBERS, rows=members))
        if self.notes:
            parts.append(Section(Text("About the table", "关于此表"), lines=self.notes))
        return tuple(parts)


def train_table(
    source: TableFile,
    question: TableQuestion,
    folder: Path,
    config: Config,
    *,
    model: str | None = None,
    language: Language | None = None,
    progress: Progress = silent,
) -> TableTrained:
    """Train on a table and write model, model card and ranked list to `folder`.

    Raises InputError for an unknown or unfit model, a wrong column, or a folder that holds something else; DataError
    if the table cannot answer the question.
    """
    name = model or config.train.model
    entries = table_candidates(name)
    _check_folder(folder)
    table = prepare_table(source, question)
    run = name_run(name)
    policy = Policy(
        run=run["id"],
        entries=entries,
        setting=Setting(question.horizon_days, deep=config.deep, augment=config.augment, progress=progress),
        time=question.time or "",
        embargo_us=round(question.horizon_days * DAY_US),
        config=config,
        language=language or config.shop.language,
    )
    judged = judge(table, policy, progress)
    progress(_FITTING, 0, 1)
    bundle = _fit(table, question, judged, policy, run)
    write_table_bundle(folder, bundle, table_card(bundle, table, judged))
    progress(_FITTING, 1, 1)
    scores = listed(judged.scored, bundle.id, bundle.currency)
    for suffix in ("parquet", "csv"):
        write_scores(scores.ranked.scan(), folder / f"scores.{suffix}")
    return TableTrained(
        model=bundle.id,
        folder=folder,
        rows=len(table),
        churned=int(table.y.sum()),
        columns=len(table.fields),
        weights=_weights(bundle),
        judged=judged,
        scores=scores,
        report=table_report(bundle, table, judged, scores, config),
        notes=table.notes,
        warnings=table.warnings,
        timed=bool(question.time),
    )


def _fit(
    table: LabelledTable, question: TableQuestion, judged: Judged, policy: Policy, run: dict[str, str]
) -> TableBundle:
    """The policy as it would be used tomorrow: chosen on all parts, fitted on all rows."""
    choice = choose_policy(judged.held, policy)
    encoding, stack, makers, rows = fit_policy(table, choice, policy)
    asked = {
        "label": question.label,
        "positive": table.positive,
        "id": question.id,
        "time": question.time,
        "time_order": table.time_order,
        "horizon_days": question.horizon_days,
    }
    return TableBundle(
        manifest=run
        | {
            "model": "+".join(policy.entries),
            "seed": policy.seed,
            "question": asked,
            "rows": len(table),
            "data": {"file": table.name, "fingerprint": table.fingerprint, "churned": int(table.y.sum())},
            "versions": library_versions(),
        },
        fields=table.fields,
        encoding=encoding,
        stack=stack,
        makers=makers,
        calibration=choice.calibration,
        usual=usual_values(rows),
        bands=policy.config.bands,
        currency=policy.config.shop.currency,
        metrics={
            "judged_on": "newest rows" if question.time else "folds",
            "test": judged.test.to_json(),
            "members": {n: {"auroc": a.to_json(), "difference": d.to_json()} for n, (a, d) in judged.members.items()},
        },
        choice={
            "weight": choice.weight,
            "variant": choice.variant,
            "calibration": choice.calibration.to_json(),
            "history": [h.to_json() for h in choice.history],
        },
    )


def _check_folder(folder: Path) -> None:
    """Only nothing, an empty folder, or the model of a table is written over."""
    if not folder.exists() or is_table_bundle(folder):
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise InputError(
            "{folder} is there already and is not the model of a table: name another folder with --out",
            "{folder} 已存在且不是表模型：请用 --out 指定其他文件夹",
            folder=str(folder),
        )


def _weights(bundle: TableBundle) -> dict[str, float]:
    return {m.name: w for m, w in zip(bundle.stack.members, bundle.stack.weights, strict=True)}


def _ends(estimate: Estimate) -> str | None:
    if estimate.low is None or estimate.high is None:
        return None
    return f"{estimate.low:.3f} – {estimate.high:.3f}"
