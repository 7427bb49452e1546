"""What `train --continue` found: the two contenders at the newest closed moment, and which was kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ebbtide.core.language import Text
from ebbtide.evaluation.intervals import Estimate


@dataclass(frozen=True)
class Contender:
    """One of two ways to a new bundle, as it would have been made at the moment of judgement. `seconds`: of fitting."""

    auroc: Estimate
    log_loss: Estimate
    seconds: float


@dataclass(frozen=True)
class Continuation:
    """The bundle `source` gone on, beside a full refit, on the same users at `judged_at`.

    `by_twin`: the bundle knew outcomes of that moment, so a twin was judged instead: the same settings, fitted on what
    was known as long before `judged_at` as the bundle is old now. Differences are continued less refit; the continued
    bundle is kept only if its log loss is lower and the 95 % interval says so.
    """

    source: str
    judged_at: datetime
    users: int
    by_twin: bool
    new_cutoffs: int
    ways: dict[str, str]
    continued: Contender
    refit: Contender
    log_loss_difference: Estimate
    auroc_difference: Estimate

    @property
    def is_kept(self) -> bool:
        """Whether the continued bundle won; ties go to the full refit."""
        high = self.log_loss_difference.high
        return high is not None and high < 0

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return asdict(self) | {
            "judged_at": self.judged_at.isoformat(),
            "kept": "continued" if self.is_kept else "refit",
        }

    def lines(self) -> list[Text]:
        """Both contenders, their difference, and the verdict."""
        d = self.log_loss_difference
        return [
            (_BY_TWIN if self.by_twin else _BY_ITSELF).format(
                source=self.source, cutoffs=self.new_cutoffs, users=self.users, day=self.judged_at
            ),
            _CONTENDER.format(
                who=Text("continued", "继续训练"),
                how=", ".join(f"{k}: {v}" for k, v in self.ways.items()),
                **_told(self.continued),
            ),
            _CONTENDER.format(who=Text("full refit", "完全重训"), how="-", **_told(self.refit)),
            _DIFFERENCE.format(d=d.value or 0.0, low=d.low or 0.0, high=d.high or 0.0),
            _KEPT if self.is_kept else _REFITTED,
        ]


_BY_ITSELF = Text(
    "bundle {source} gone on with {cutoffs} newly closed cutoffs, against a full refit, on {users:,} users at {day:%Y-%m-%d}"
    " whose outcome neither had seen:",
    "模型 {source} 用 {cutoffs} 个新结束的时点继续训练，与完全重训比较；{day:%Y-%m-%d} 的 {users:,} 位用户，两者均未见过其结果：",
)
_BY_TWIN = Text(
    "bundle {source} gone on with {cutoffs} newly closed cutoffs, against a full refit; it knows outcomes of {day:%Y-%m-%d},"
    " so a twin that does not was judged there, on {users:,} users:",
    "模型 {source} 用 {cutoffs} 个新结束的时点继续训练，与完全重训比较；该模型已知 {day:%Y-%m-%d} 的部分结果，"
    "故在此以不知情的孪生模型评判（{users:,} 位用户）：",
)
_CONTENDER = Text(
    "{who} ({how}): AUROC {auroc:.4f}, log loss {log_loss:.4f}, fitted in {seconds:.1f} s",
    "{who}（{how}）：AUROC {auroc:.4f}，对数损失 {log_loss:.4f}，拟合用时 {seconds:.1f} 秒",
)
_DIFFERENCE = Text(
    "log loss, continued less refit: {d:+.4f} [{low:+.4f}, {high:+.4f}]",
    "对数损失（继续训练减完全重训）：{d:+.4f} [{low:+.4f}, {high:+.4f}]",
)
_KEPT = Text("kept: the continued bundle, which is better", "保留：继续训练的模型，其表现更好")
_REFITTED = Text(
    "kept: the full refit; the continued bundle is not clearly better",
    "保留：完全重训的模型；继续训练的模型并无明显优势",
)


def _told(contender: Contender) -> dict[str, float]:
    return {
        "auroc": contender.auroc.value or 0.0,
        "log_loss": contender.log_loss.value or 0.0,
        "seconds": contender.seconds,
    }
