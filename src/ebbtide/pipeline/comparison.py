"""What `compare` found: every model's figures on the same customers, and in words which one pays."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ebbtide.core.language import Text, join_texts
from ebbtide.core.sections import Readable, Section
from ebbtide.evaluation.intervals import Estimate

_RANKING = Text("Ranking and worth", "排序与收益")
_RANKING_COLUMNS = (
    Text("model", "模型"),
    Text("AUROC", "AUROC"),
    Text("difference to the best", "与最佳之差"),
    Text("average precision", "平均精确率"),
    Text("profit per customer (EMPC)", "每位顾客的收益（EMPC）"),
)
_COST = Text("Probabilities and cost", "概率与成本")
_COST_COLUMNS = (
    Text("model", "模型"),
    Text("log loss", "对数损失"),
    Text("calibration error", "校准误差"),
    Text("training seconds", "训练秒数"),
    Text("microseconds a customer", "每位顾客微秒数"),
    Text("bytes", "字节数"),
)
_ON_WHOM = Text(
    "{users:,} customers as of {as_of:%Y-%m-%d}, {rate:.1%} of them churned; every model learnt from the labels known "
    "then; 95 % intervals by customer, differences paired",
    "{as_of:%Y-%m-%d} 的 {users:,} 位顾客，其中 {rate:.1%} 流失；每个模型仅使用当时已知的标签；"
    "区间为按顾客自助抽样的 95% 区间，差值为配对比较",
)
_ALONE = Text("{best} ranks best, and no other comes near", "{best} 排序最好，其他模型均不及")
_EQUALS = Text(
    "{best} ranks best, but cannot be told from {others}; of these, {cheapest} scores fastest",
    "{best} 排序最好，但与 {others} 无法区分；其中 {cheapest} 评分最快",
)
_LEFT_OUT = Text("left out: {name}: {why}", "未参加：{name}：{why}")


@dataclass(frozen=True)
class ModelFigures:
    """One model on the test cohort. `behind`: AUROC less that of the best, paired; the best itself has zeros.

    `moments`: its AUROC at every rehearsed moment, oldest first, by day. `training_seconds` is the fit on all closed
    moments, `microseconds` the scoring of one customer among many (features apart), `size_bytes` the saved model.
    """

    name: str
    auroc: Estimate
    average_precision: Estimate
    log_loss: Estimate
    ece: Estimate
    empc: Estimate
    behind: Estimate
    moments: dict[str, float | None]
    training_seconds: float
    microseconds: float
    size_bytes: int

    @property
    def is_as_good(self) -> bool:
        """Whether nothing tells it from the best."""
        return self.behind.high is None or self.behind.high >= 0


@dataclass(frozen=True)
class ModelComparison(Readable):
    """All models on the same customers at one moment, best first. `left_out`: models that could not run, and why."""

    as_of: datetime
    users: int
    churned: int
    models: tuple[ModelFigures, ...]
    left_out: dict[str, Text]

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        left_out = {name: {"en": why.en, "zh": why.zh} for name, why in self.left_out.items()}
        models = [asdict(m) for m in self.models]
        return vars(self) | {"as_of": self.as_of.isoformat(), "models": models, "left_out": left_out}

    def sections(self) -> tuple[Section, ...]:
        """Who was asked about, who ranks best, two tables, and who did not take part."""
        asked = _ON_WHOM.format(users=self.users, as_of=self.as_of, rate=self.churned / self.users)
        left = tuple(_LEFT_OUT.format(name=name, why=why) for name, why in self.left_out.items())
        return (
            Section(lines=(asked, self.verdict())),
            Section(_RANKING, columns=_RANKING_COLUMNS, rows=tuple(_ranking_row(m) for m in self.models)),
            Section(_COST, columns=_COST_COLUMNS, rows=tuple(_cost_row(m) for m in self.models)),
            *([Section(lines=left)] if left else []),
        )

    def verdict(self) -> Text:
        """Who ranks best, and who cannot be told from it."""
        best, *others = [m for m in self.models if m.is_as_good]
        if not others:
            return _ALONE.format(best=best.name)
        fastest = min((best, *others), key=lambda m: m.microseconds)
        names = join_texts([Text(m.name, m.name) for m in others], Text(", ", "、"))
        return _EQUALS.format(best=best.name, others=names, cheapest=fastest.name)


def _ranking_row(m: ModelFigures) -> tuple[Any, ...]:
    ahead = "–" if m.behind.value == m.behind.low == m.behind.high == 0 else said(m.behind, signed=True)
    return (m.name, said(m.auroc), ahead, said(m.average_precision), said(m.empc))


def _cost_row(m: ModelFigures) -> tuple[Any, ...]:
    return (
        m.name,
        said(m.log_loss),
        said(m.ece),
        f"{m.training_seconds:,.1f}",
        f"{m.microseconds:,.1f}",
        m.size_bytes,
    )


def said(e: Estimate, *, signed: bool = False) -> str | None:
    """A figure and its interval.

    >>> said(Estimate(0.75, 0.7, 0.8)), said(Estimate(-0.01, -0.02, 0.0), signed=True)
    ('0.750 [0.700, 0.800]', '-0.010 [-0.020, +0.000]')
    """
    if e.value is None:
        return None
    sign = "+" if signed else ""
    ends = "" if e.low is None or e.high is None else f" [{e.low:{sign}.3f}, {e.high:{sign}.3f}]"
    return f"{e.value:{sign}.3f}{ends}"
