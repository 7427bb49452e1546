"""What `train` says when it is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.churn.sufficiency import Sufficiency
from ebbtide.core.language import Text
from ebbtide.core.sections import Readable, Section
from ebbtide.core.windows import from_us
from ebbtide.pipeline.continuation import Continuation
from ebbtide.pipeline.treated import TreatedRows
from ebbtide.pipeline.tuned import Tuned
from ebbtide.pipeline.verdict import Verdict, past_section

_TUNED = Text(
    "{model}: settings tuned on outcomes known at {known:%Y-%m-%d}; rehearsed moments before that day helped to choose"
    " them, the newest one did not",
    "{model}：参数依据截至 {known:%Y-%m-%d} 的已知结果调出；该日之前的演练时点参与了选择，最新时点没有",
)


@dataclass(frozen=True)
class TrainReport(Readable):
    """What `train` did. `verdict` holds the honest figures of the policy; `sampled` is the share of users whose rows
    were used; `moments` how many closed cutoffs the bundle learnt from; `problems` what went wrong beside the bundle;
    `treated` what became of rows of customers who got an action."""

    bundle: str
    model: str
    until: datetime
    definition: ChurnDefinition
    rows: int
    users: int
    columns: int
    moments: int
    sampled: float
    weights: dict[str, float]
    sufficiency: Sufficiency
    verdict: Verdict
    tuned: dict[str, Tuned] = field(default_factory=dict)
    continuation: Continuation | None = None
    problems: tuple[Text, ...] = ()
    comeback: Text | None = None
    treated: TreatedRows = field(default_factory=lambda: TreatedRows("keep", 0))

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return vars(self) | {
            "tuned": {name: t.settings for name, t in self.tuned.items()},
            "continuation": self.continuation.to_json() if self.continuation else None,
            "problems": [p.en for p in self.problems],
            "comeback": self.comeback.en if self.comeback else None,
            "until": self.until.isoformat(),
            "definition": self.definition.to_json(),
            "sufficiency": self.sufficiency.to_json(),
            "treated": self.treated.to_json(),
            "left_out": self.treated.left_out,
            "verdict": self.verdict.to_json(),
        }

    def sections(self) -> tuple[Section, ...]:
        """The sentences, and the rehearsed moments as a table."""
        return (Section(lines=tuple(self.lines())), past_section(self.verdict.backtest))

    def lines(self) -> list[Text]:
        """The result in a few sentences."""
        mixed = ", ".join(f"{name} {weight:.2f}" for name, weight in self.weights.items())
        lines = [
            Text(
                f"bundle {self.bundle}: {mixed}; {self.rows:,} rows of {self.users:,} users at {self.moments} cutoffs, "
                f"{self.columns} columns",
                f"模型 {self.bundle}：{mixed}；{self.moments} 个时点上 {self.users:,} 位用户的 {self.rows:,} 行，"
                f"{self.columns} 列",
            )
        ]
        if self.sampled < 1:
            lines.append(
                Text(
                    f"a stable sample of {self.sampled:.1%} of the users was used (train.max_rows)",
                    f"使用了 {self.sampled:.1%} 用户的固定样本（train.max_rows）",
                )
            )
        lines += self.treated.lines()
        lines += [_TUNED.format(model=name, known=from_us(t.known_us)) for name, t in self.tuned.items()]
        if self.sufficiency.level == "warn":
            lines.append(self.sufficiency.text)
        lines += self.continuation.lines() if self.continuation else []
        told = [self.comeback] if self.comeback else []
        return [*lines, *self.verdict.lines(), *told, *self.problems]
