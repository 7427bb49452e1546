"""What `compress` found: every form of a bundle on the same customers, and which one pays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ebbtide.core.language import Text
from ebbtide.core.sections import Readable, Section
from ebbtide.evaluation.intervals import Estimate
from ebbtide.models.forms import Form
from ebbtide.pipeline.comparison import said

MOST_LOSS = 0.002
_COLUMNS = (
    Text("form", "形式"),
    Text("AUROC", "AUROC"),
    Text("AUROC lost", "AUROC 损失"),
    Text("largest difference in probability", "最大概率差"),
    Text("bytes", "字节数"),
    Text("microseconds a customer", "每位顾客微秒数"),
    Text("and one at a time", "逐一评分"),
)
_ON_WHOM = Text(
    "{users:,} customers as of {as_of:%Y-%m-%d}, {rate:.1%} of them churned; the model and its forms learnt only from "
    "what was known then; 95 % intervals by customer, losses paired",
    "{as_of:%Y-%m-%d} 的 {users:,} 位顾客，其中 {rate:.1%} 流失；模型及其各形式仅使用当时已知的数据；"
    "区间为按顾客自助抽样的 95% 区间，损失为配对比较",
)
_PAYS = Text(
    "{form} pays: the fastest whose AUROC loss stays within {most} to the end of its interval",
    "{form} 最划算：在 AUROC 损失区间全部不超过 {most} 的形式中最快",
)
_STAYS = Text(
    "the full form stays: no faster one is sure to lose at most {most} AUROC",
    "保留完整形式：没有更快的形式能确保 AUROC 损失不超过 {most}",
)
_WRITTEN = Text("bundle {bundle} is written and current", "模型 {bundle} 已写出并启用")
_NOT_WRITTEN = Text(
    "nothing was written; --promote writes the {form} form", "未写出任何内容；--promote 将写出 {form} 形式"
)


@dataclass(frozen=True)
class FormFigures:
    """One form on the test cohort. `loss`: AUROC of the full form less its own, paired.

    `difference`: the largest difference of a customer's probability to the full form. `microseconds`: scoring of one
    customer among many, `alone_microseconds`: when asked for by itself; both from features and events, reasons apart.
    """

    form: Form
    auroc: Estimate
    loss: Estimate
    difference: float
    size_bytes: int
    microseconds: float
    alone_microseconds: float

    @property
    def is_safe(self) -> bool:
        """Whether the whole interval of the loss lies within `MOST_LOSS`: a small cohort proves nothing by its mean."""
        return self.form == "full" or (self.loss.high is not None and self.loss.high <= MOST_LOSS)


@dataclass(frozen=True)
class Compression(Readable):
    """All forms of `bundle` on the customers of one moment. `paying`: what `auto` chooses, `chosen`: what was asked for;
    `written`: the new bundle, if one was asked for."""

    bundle: str
    as_of: datetime
    users: int
    churned: int
    forms: tuple[FormFigures, ...]
    paying: Form
    chosen: Form
    written: str | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return vars(self) | {"as_of": self.as_of.isoformat(), "forms": [asdict(f) for f in self.forms]}

    def sections(self) -> tuple[Section, ...]:
        """Who was asked about, the table, and what pays."""
        asked = _ON_WHOM.format(users=self.users, as_of=self.as_of, rate=self.churned / self.users)
        return (
            Section(lines=(asked,), columns=_COLUMNS, rows=tuple(_row(f) for f in self.forms)),
            Section(lines=self._verdict()),
        )

    def _verdict(self) -> tuple[Text, ...]:
        pays = (_STAYS if self.paying == "full" else _PAYS).format(form=self.paying, most=MOST_LOSS)
        if self.written:
            return (pays, _WRITTEN.format(bundle=self.written))
        return (pays,) if self.chosen == "full" else (pays, _NOT_WRITTEN.format(form=self.chosen))


def paying_form(forms: Sequence[FormFigures]) -> Form:
    """The fastest among many customers of those that are sure to lose at most `MOST_LOSS` AUROC."""
    return min((f for f in forms if f.is_safe), key=lambda f: f.microseconds).form


def _row(f: FormFigures) -> tuple[Any, ...]:
    lost = "–" if f.form == "full" else said(f.loss, signed=True)
    far = "–" if f.form == "full" else f"{f.difference:.2g}"
    return (f.form, said(f.auroc), lost, far, f.size_bytes, f"{f.microseconds:,.1f}", f"{f.alone_microseconds:,.1f}")
