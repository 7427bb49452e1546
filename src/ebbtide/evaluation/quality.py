"""One number for how far a score can be trusted, 0 to 100, with a sentence of advice.

    index = 100 x ranking x (0.5 + 0.3 x calibration + 0.2 x certainty), each part between 0 and 1:
    ranking      (AUROC - 0.5) / 0.35: nothing at 0.5, full marks from 0.85
    calibration  1 - ECE / 0.10: full marks at 0, nothing from 0.10
    certainty    1 - width of AUROC's 95 % interval / 0.20: full marks for a point, nothing from 0.20

A score that does not rank is worth nothing, however well it is calibrated; a score that ranks is worth half without
the rest. The parts are a convention of this product; only the figures behind them are estimates.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ebbtide.core.language import Text
from ebbtide.evaluation.intervals import Estimate

_VERDICTS = (
    (20.0, Text("not usable", "不可用")),
    (40.0, Text("weak", "较弱")),
    (60.0, Text("fair", "尚可")),
    (80.0, Text("good", "良好")),
    (float("inf"), Text("very good", "很好")),
)
_UNDEFINED = Text(
    "quality unknown: the judged users all churned or all stayed; wait for data or shorten the horizon",
    "质量未知：被评估的用户全部流失或全部留存；请等待更多数据或缩短预测期",
)


@dataclass(frozen=True)
class Quality:
    """The quality index, 0 to 100 (null: undefined), its three parts and what to do about the weakest."""

    index: int | None
    ranking: float | None
    calibration: float | None
    certainty: float | None
    advice: Text

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields; advice in both languages."""
        return asdict(self)


def quality_of(auroc: Estimate, ece: Estimate) -> Quality:
    """The quality index of a score with these figures.

    >>> quality_of(Estimate(0.78, 0.76, 0.80), Estimate(0.02, 0.01, 0.03)).index
    72
    """
    if auroc.value is None or auroc.low is None or auroc.high is None or ece.value is None:
        return Quality(None, None, None, None, _UNDEFINED)
    ranking = _unit((auroc.value - 0.5) / 0.35)
    calibration = _unit(1 - ece.value / 0.10)
    certainty = _unit(1 - (auroc.high - auroc.low) / 0.20)
    index = round(100 * ranking * (0.5 + 0.3 * calibration + 0.2 * certainty))
    return Quality(index, ranking, calibration, certainty, _advice(index, auroc.low, calibration, certainty))


def _advice(index: int, auroc_low: float, calibration: float, certainty: float) -> Text:
    verdict = next(word for limit, word in _VERDICTS if index < limit)
    return Text("{index} of 100, {verdict}: {next}", "{index} 分（满分 100），{verdict}：{next}").format(
        index=index, verdict=verdict, next=_next_step(index, auroc_low, calibration, certainty)
    )


def _next_step(index: int, auroc_low: float, calibration: float, certainty: float) -> Text:
    if auroc_low <= 0.5:
        return Text(
            "the ranking cannot be told from chance; add event types or history before acting on it",
            "排序与随机无法区分；请先补充事件类型或历史数据，再据此行动",
        )
    if certainty < 0.3:
        return Text(
            "few users were judged, so the figures may change much; use the order of the list, not small differences",
            "被评估的用户很少，数字可能变化较大；请只看名单的先后，不看细小差别",
        )
    if calibration < 0.4:
        return Text(
            "use the order of the list; the probabilities themselves are off, so retrain once newer outcomes are known",
            "请使用名单的先后；概率本身偏差较大，待有更新的结果后重新训练",
        )
    if index < 40:
        return Text(
            "use it to choose whom to look at first; more event types (visits, carts, support) would help",
            "可用来决定先看谁；补充更多事件类型（访问、加购、客服）会有帮助",
        )
    return Text(
        "use the order of the list and the probabilities; check again when the next outcomes are known",
        "名单的先后与概率均可使用；下一批结果已知后请再检查",
    )


def _unit(value: float) -> float:
    return min(max(value, 0.0), 1.0)
