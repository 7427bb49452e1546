"""The honest figures of a training policy: each past moment judged with the choice made before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.config import Config
from ebbtide.core.language import Text
from ebbtide.core.sections import Section
from ebbtide.core.windows import from_us
from ebbtide.evaluation.slices import range_labels
from ebbtide.evaluation.summary import Evaluation, evaluate
from ebbtide.models.base import Rows, Vector, sigmoid
from ebbtide.pipeline.rehearsal import Rehearsed
from ebbtide.pipeline.traits import trait_groups

_TENURE, _SPENT = "outcome_age_days", "order_value_each_all"
_TENURE_EDGES = np.array([30.0, 90.0, 180.0, 365.0, 730.0])


@dataclass(frozen=True)
class PastMoment:
    """One rehearsed moment. `calibrated` is False where no earlier moment existed to calibrate on.

    `members`: the AUROC of each candidate alone, beside the policy's. `treated`: how many of the cohort are not judged
    because an action fell into their outcome window; all other fields are of the rest.
    """

    as_of: datetime
    users: int
    churn_rate: float
    predicted_rate: float
    auroc: tuple[float | None, float | None, float | None]
    ece: float | None
    calibrated: bool
    weights: dict[str, float]
    members: dict[str, float | None]
    treated: int = 0

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return vars(self) | {"as_of": self.as_of.isoformat(), "auroc": list(self.auroc)}


@dataclass(frozen=True)
class Verdict:
    """`test`: the newest closed cutoff, predicted as on that day; None if it could not be rehearsed.

    `backtest`: all rehearsed moments, oldest first, the test moment last. Customers with an action in their outcome
    window are not judged.
    """

    tested_at: datetime | None
    test: Evaluation | None
    backtest: tuple[PastMoment, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return {
            "tested_at": self.tested_at.isoformat() if self.tested_at else None,
            "test": self.test.to_json() if self.test else None,
            "backtest": [m.to_json() for m in self.backtest],
        }

    def lines(self) -> list[Text]:
        """The verdict in a few sentences."""
        if self.test is None or self.tested_at is None:
            return [
                Text(
                    "the history is too short to rehearse the past: no honest figure can be given yet",
                    "历史太短，无法演练过去时点：暂时无法给出可信的评估数字",
                )
            ]
        auroc, ece = self.test.metrics["auroc"], self.test.metrics["ece"]
        base = self.test.base_rate
        day = f"{self.tested_at:%Y-%m-%d}"
        treated = sum(m.treated for m in self.backtest)
        return [
            Text(
                f"out of time at {day} ({self.test.users:,} users, {base.value:.1%} churned): "
                f"AUROC {said_estimate(auroc)}, calibration error {said_estimate(ece)}",
                f"时间外检验 {day}（{self.test.users:,} 位用户，流失率 {base.value:.1%}）："
                f"AUROC {said_estimate(auroc)}，校准误差 {said_estimate(ece)}",
            ),
            Text("quality ", "质量 ") + self.test.quality.advice,
            *([_NOT_JUDGED.format(count=treated, moments=len(self.backtest))] if treated else []),
        ]


_NOT_JUDGED = Text(
    "figures are of customers without an action in their outcome window: {count:,} others at {moments} rehearsed moments are "
    "not judged",
    "指标只针对结果窗口内没有动作的顾客：{moments} 个演练时点上另有 {count:,} 位未计入",
)


def not_judged(count: int) -> Text:
    """What a line about one moment adds where some customers got an action."""
    return Text("; {count:,} with an action not judged", "；另有 {count:,} 位有动作，未计入").format(count=count)


def past_section(moments: tuple[PastMoment, ...]) -> Section:
    """The rehearsed moments as a table."""
    return Section(_PAST_TITLE if moments else None, columns=_PAST_COLUMNS, rows=tuple(_past_row(m) for m in moments))


def _past_row(m: PastMoment) -> tuple[Any, ...]:
    value, low, high = m.auroc
    ends = None if low is None or high is None else f"{low:.3f} – {high:.3f}"
    return (f"{m.as_of:%Y-%m-%d}", m.users, f"{m.churn_rate:.1%}", f"{m.predicted_rate:.1%}", value, ends, m.ece)


_PAST_TITLE = Text("Rehearsed in the past", "历史演练")
_PAST_COLUMNS = (
    Text("as of", "时点"),
    Text("users", "用户数"),
    Text("churned", "流失率"),
    Text("predicted", "预测流失率"),
    Text("AUROC", "AUROC"),
    Text("95 % interval", "95% 区间"),
    Text("calibration error", "校准误差"),
)


def judge_rehearsals(
    past: Sequence[Rehearsed], rows: Rows, config: Config, traits: pl.DataFrame | None = None
) -> Verdict:
    """Judge every rehearsed moment by the customers without an action; the newest one in full, with slices and value.

    `traits`: as from `latest_traits` at the newest rehearsed moment, for slices by country, channel and device.
    """
    past = [r for r in past if len(r.judged.y)]
    if not past:
        return Verdict(None, None, ())
    newest, held = past[-1], past[-1].judged
    p = sigmoid(newest.choice.apply(held))
    cohort = rows.at(held.moment_us).untreated()
    test = evaluate(
        held.y,
        p,
        user=held.user,
        value=_values(cohort),
        groups=_groups(cohort) | ({} if traits is None else trait_groups(traits, held.user)),
        profit=config.profit,
        draws=config.train.bootstrap,
        seed=config.train.seed,
    )
    moments = tuple(_judge(r, config) for r in past)
    return Verdict(from_us(held.moment_us), test, moments)


def _judge(rehearsed: Rehearsed, config: Config) -> PastMoment:
    held, choice = rehearsed.judged, rehearsed.choice
    p = sigmoid(choice.apply(held))
    found = evaluate(held.y, p, user=held.user, draws=config.train.bootstrap, seed=config.train.seed)
    members = {}
    for name, margins in held.margins.items():
        alone = evaluate(held.y, sigmoid(margins[choice.variant[name]]), user=held.user, draws=50, seed=0)
        members[name] = alone.metrics["auroc"].value
    auroc = found.metrics["auroc"]
    return PastMoment(
        as_of=from_us(held.moment_us),
        users=found.users,
        churn_rate=float(held.y.mean()),
        predicted_rate=float(p.mean()),
        auroc=(auroc.value, auroc.low, auroc.high),
        ece=found.metrics["ece"].value,
        calibrated=bool(choice.history),
        weights=choice.weight,
        members=members,
        treated=len(rehearsed.held.y) - len(held.y),
    )


def _groups(cohort: Rows) -> dict[str, NDArray[np.object_]]:
    """Slices by tenure and, where money is known, by average order value (quarters of the cohort)."""
    groups = {"tenure_days": range_labels(cohort.column(_TENURE).astype(np.float64), _TENURE_EDGES)}
    values = _values(cohort)
    if values is not None and np.isfinite(values).any():
        edges = np.unique([float(f"{q:.2g}") for q in np.nanquantile(values, [0.25, 0.5, 0.75])])
        groups["order_value"] = range_labels(values, edges)
    return groups


def _values(cohort: Rows) -> Vector | None:
    return cohort.column(_SPENT).astype(np.float64) if _SPENT in cohort.names else None


def said_estimate(estimate: Any) -> str:
    """An estimate and its interval, three places."""
    if estimate.value is None:
        return "-"
    ends = "" if estimate.low is None else f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return f"{estimate.value:.3f}{ends}"
