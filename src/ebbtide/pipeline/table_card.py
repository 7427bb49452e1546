"""The model card of a table's model, in both languages, and its verdict in a few sentences."""

from __future__ import annotations

from ebbtide.core.language import LANGUAGES, Language, Text
from ebbtide.evaluation.summary import Evaluation
from ebbtide.models.table_bundle import TableBundle
from ebbtide.pipeline.card import card_section, slices_table
from ebbtide.pipeline.table_data import LabelledTable
from ebbtide.pipeline.table_judge import Judged
from ebbtide.pipeline.verdict import said_estimate

_QUESTION, _DATA, _MODEL = Text("Question", "问题"), Text("Data", "数据"), Text("Model", "模型")
_FIGURES, _ALONE = (
    Text("Figures, on rows not learnt from", "未学习过的行上的评估"),
    Text("Each model alone", "各模型单独表现"),
)
_LIMITS = Text("Limits", "局限")
TABLE_LIMITS = (
    Text(
        "A table does not say when its columns were written: a column that was filled after the outcome makes every "
        "figure here too good.",
        "表不说明各列何时写入：若某列在结果之后才填写，则此处所有指标都会偏高。",
    ),
    Text(
        "A reason is evidence that the model used, not a proven cause; it says who is at risk, not whom an offer moves.",
        "原因是模型所用的证据，并非已证实的因果；它说明谁有风险，而非谁会被优惠打动。",
    ),
)
NO_TIME = Text(
    "Rows have no time, so the figures tell how well it works on customers of the same moment, not on later ones.",
    "各行没有时间，因此指标反映的是同一时点的顾客，而非以后的顾客。",
)


def question_words(bundle: TableBundle) -> Text:
    """What was asked, in words."""
    asked = bundle.question
    return Text(
        "{label} = {positive}, from the other columns of {file}", "依据 {file} 的其他列判断 {label} = {positive}"
    ).format(label=asked["label"], positive=asked["positive"], file=bundle.manifest["data"]["file"])


def judged_words(*, timed: bool) -> Text:
    """How the figures came about."""
    if timed:
        return Text(
            "the newest fifth of the rows, by models of the rows before", "最新五分之一的行，由此前各行的模型预测"
        )
    return Text("five folds, equal rows together", "五折，相同的行同在一折")


def verdict_lines(test: Evaluation, *, timed: bool) -> list[Text]:
    """The verdict in two sentences."""
    auroc, ece = said_estimate(test.metrics["auroc"]), said_estimate(test.metrics["ece"])
    return [
        Text(
            "on {rows:,} rows not learnt from ({how}; {rate:.1%} churned): AUROC {auroc}, calibration error {ece}",
            "在未学习过的 {rows:,} 行上（{how}；流失率 {rate:.1%}）：AUROC {auroc}，校准误差 {ece}",
        ).format(rows=test.rows, how=judged_words(timed=timed), rate=test.base_rate.value or 0.0, auroc=auroc, ece=ece),
        Text("quality ", "质量 ") + test.quality.advice,
    ]


def table_card(bundle: TableBundle, table: LabelledTable, judged: Judged) -> str:
    """The card as Markdown, English first, then Chinese."""
    return "\n\n---\n\n".join(_card(bundle, table, judged, language) for language in LANGUAGES) + "\n"


def _card(bundle: TableBundle, table: LabelledTable, judged: Judged, language: Language) -> str:
    timed = bool(bundle.question["time"])
    rows = Text(
        f"{len(table):,} rows of {table.name}, {int(table.y.sum()):,} churned; {len(table.fields)} columns used",
        f"{table.name} 的 {len(table):,} 行，其中 {int(table.y.sum()):,} 行流失；使用 {len(table.fields)} 列",
    )
    parts = [f"# {bundle.id}"]
    parts += card_section(_QUESTION, [question_words(bundle)], language)
    parts += card_section(_DATA, [*table.warnings, rows, *table.notes], language)
    parts += card_section(_MODEL, [members_words(bundle), _seed(bundle)], language)
    parts += card_section(_FIGURES, verdict_lines(judged.test, timed=timed), language)
    alone = [
        Text(f"{n}: AUROC {said_estimate(a)}", f"{n}：AUROC {said_estimate(a)}") for n, (a, _) in judged.members.items()
    ]
    parts += card_section(_ALONE, alone, language)
    parts += slices_table(judged.test, language)
    parts += card_section(_LIMITS, TABLE_LIMITS if timed else (NO_TIME, *TABLE_LIMITS), language)
    return "\n\n".join(parts)


def members_words(bundle: TableBundle) -> Text:
    """The members and their weights."""
    mixed = ", ".join(f"{m.name} {w:.2f}" for m, w in zip(bundle.stack.members, bundle.stack.weights, strict=True))
    return Text(f"weights in log-odds: {mixed}", f"对数几率中的权重：{mixed}")


def _seed(bundle: TableBundle) -> Text:
    seed, columns = bundle.manifest["seed"], len(bundle.encoding.columns)
    return Text(f"{columns} columns of the design, seed {seed}", f"设计矩阵 {columns} 列，随机种子 {seed}")
