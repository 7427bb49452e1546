"""The model card: the bundle told to people, in both languages (Mitchell et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence

from ebbtide.churn.sufficiency import Sufficiency
from ebbtide.core.language import LANGUAGES, Language, Text
from ebbtide.evaluation.summary import Evaluation
from ebbtide.models.bundle import Bundle
from ebbtide.pipeline.treated import lines_of
from ebbtide.pipeline.verdict import PastMoment, Verdict

_HEADINGS = {
    "asked": Text("Question", "问题"),
    "data": Text("Data", "数据"),
    "model": Text("Model", "模型"),
    "figures": Text("Figures, out of time", "时间外评估"),
    "past": Text("Backtest", "回测"),
    "slices": Text("By group", "分组表现"),
    "limits": Text("Limits", "局限"),
}
_PAST = Text(
    "as_of | users | churned | predicted | AUROC | interval | calibration error",
    "时点 | 用户 | 流失率 | 预测流失率 | AUROC | 区间 | 校准误差",
)
_SLICES = Text("group | users | churned | AUROC | interval", "分组 | 用户 | 流失率 | AUROC | 区间")
_LIMITS = (
    Text(
        "The probability is about orders stopping, not about a customer's reasons: a reason is evidence the model used, "
        "not a proven cause.",
        "概率描述的是订单停止，而非顾客的动机：原因是模型所用的证据，并非已证实的因果。",
    ),
    Text(
        "It says who is at risk, not whom an offer would move; that needs an experiment.",
        "它说明谁有风险，并不说明谁会被优惠打动；后者需要实验。",
    ),
    Text(
        "Users without an eligible event before as_of get no score.",
        "as_of 之前没有合格事件的用户不会得到评分。",
    ),
)


def model_card(bundle: Bundle, verdict: Verdict, gate: Sufficiency) -> str:
    """The card as Markdown, English first, then Chinese."""
    return "\n\n---\n\n".join(_card(bundle, verdict, gate, language) for language in LANGUAGES) + "\n"


def _card(bundle: Bundle, verdict: Verdict, gate: Sufficiency, language: Language) -> str:
    parts = [f"# {bundle.config.shop.name}: {bundle.id}"]
    parts += _part("asked", [bundle.definition.describe()], language)
    parts += _part("data", [*_data(bundle), gate.text], language)
    parts += _part("model", _model(bundle), language)
    parts += _part("figures", verdict.lines(), language)
    if verdict.backtest:
        parts += [f"## {_HEADINGS['past'][language]}", _table(_PAST[language], [_past(m) for m in verdict.backtest])]
    if verdict.test:
        parts += slices_table(verdict.test, language)
    parts += _part("limits", list(_LIMITS), language)
    return "\n\n".join(parts)


def _part(key: str, texts: list[Text], language: Language) -> list[str]:
    return card_section(_HEADINGS[key], texts, language)


def card_section(heading: Text, texts: Sequence[Text], language: Language) -> list[str]:
    """A heading and its bullet points."""
    return [f"## {heading[language]}", "\n".join(f"- {t[language]}" for t in texts if t.en)]


def slices_table(test: Evaluation, language: Language) -> list[str]:
    """The figures by group, or nothing."""
    rows = [
        f"{s.group}: {s.label} | {s.rows:,} | {s.churn_rate.value or 0:.1%} | {_number(s.auroc.value)} | "
        f"{_ends(s.auroc.low, s.auroc.high)}"
        for s in test.slices
    ]
    return [f"## {_HEADINGS['slices'][language]}", _table(_SLICES[language], rows)] if rows else []


def _data(bundle: Bundle) -> list[Text]:
    data = bundle.manifest["data"]
    return [
        Text(
            "{events:,} events of {users:,} users, {first} to {last}; known at {until}",
            "{users:,} 位用户的 {events:,} 个事件，{first} 至 {last}；截至 {until} 已知",
        ).format(
            events=data["events"],
            users=data["users"],
            first=data["first"][:10],
            last=data["last"][:10],
            until=bundle.manifest["until"][:19],
        )
    ]


def _model(bundle: Bundle) -> list[Text]:
    members = ", ".join(f"{name} {w:.2f}" for name, w in zip(bundle.stack.names, bundle.stack.weights, strict=True))
    return [
        Text(
            f"weights in log-odds: {members}; chosen on held-out closed moments",
            f"对数几率中的权重：{members}；在留出的已结束时点上选定",
        ),
        Text(
            "{rows:,} rows at {moments} cutoffs, {columns} columns, seed {seed}",
            "{moments} 个时点的 {rows:,} 行，{columns} 列，随机种子 {seed}",
        ).format(
            rows=bundle.manifest["rows"],
            moments=len(bundle.manifest["cutoffs"]),
            columns=len(bundle.columns),
            seed=bundle.manifest["seed"],
        ),
        *lines_of(bundle.manifest),
    ]


def _past(m: PastMoment) -> str:
    value, low, high = m.auroc
    rates = f"{m.churn_rate:.1%} | {m.predicted_rate:.1%}"
    return f"{m.as_of:%Y-%m-%d} | {m.users:,} | {rates} | {_number(value)} | {_ends(low, high)} | {_number(m.ece)}"


def _table(head: str, rows: list[str]) -> str:
    line = " | ".join("---" for _ in head.split("|"))
    return "\n".join(f"| {row} |" for row in (head, line, *rows))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _ends(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{low:.3f} to {high:.3f}"
