"""What a bundle's saved figures say, as the parts of a report: measures, curves, backtest, groups, card.

Read from `metrics.json` and the manifest, so a report needs no training data and repeats exactly what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ebbtide.core.language import Text
from ebbtide.models.bundle import Bundle
from ebbtide.pipeline.report_data import BacktestMoment, CalibrationBin, CurvePoint, Interval, Metric, SliceRow
from ebbtide.pipeline.treated import lines_of

_METRICS: dict[str, tuple[Text, Text]] = {
    "auroc": (
        Text("AUROC", "AUROC"),
        Text("how often a leaver stands above a stayer; 0.5 is chance", "流失者排在留存者之前的概率；0.5 为随机"),
    ),
    "average_precision": (
        Text("Average precision", "平均精确率"),
        Text("mean share of leavers above each leaver in the list", "名单中每位流失者及其之前，流失者所占比例的平均"),
    ),
    "lift_at_10": (
        Text("Lift in the top 10 %", "前 10% 提升度"),
        Text("leavers found there, against random order", "该部分的流失者与随机顺序之比"),
    ),
    "ece": (
        Text("Calibration error", "校准误差"),
        Text("mean distance of probability and real share", "概率与实际比例的平均差距"),
    ),
    "brier": (
        Text("Brier score", "Brier 分数"),
        Text("mean squared distance of probability and outcome", "概率与结果的均方差"),
    ),
    "log_loss": (
        Text("Log loss", "对数损失"),
        Text("surprise per customer; lower is better", "每位顾客的意外程度；越低越好"),
    ),
}
_DECISIONS: dict[str, tuple[Text, Text]] = {
    "precision": (
        Text("Precision", "精确率"),
        Text(
            "of those called leavers from {threshold} on, the share that left", "概率达 {threshold} 者中实际流失的比例"
        ),
    ),
    "recall": (
        Text("Recall", "召回率"),
        Text("of all who left, the share called leavers from {threshold} on", "流失者中概率达 {threshold} 的比例"),
    ),
    "f1": (Text("F1", "F1"), Text("harmonic mean of the two", "两者的调和平均")),
    "accuracy": (
        Text("Accuracy", "准确率"),
        Text("share of right calls from {threshold} on", "以 {threshold} 为界判断正确的比例"),
    ),
}
_PROFIT = (
    Text("Campaign profit per customer (EMPC)", "每位顾客的活动利润（EMPC）"),
    Text(
        "expected, when the best {share} of the list are targeted; value {clv:g}, incentive {incentive:g}, contact {contact:g}",
        "预期值，联系名单前 {share} 时；价值 {clv:g}，激励 {incentive:g}，联系 {contact:g}",
    ),
)
_KINDS: dict[str, Text] = {
    "tenure_days": Text("days since first order", "首单后天数"),
    "order_value": Text("mean order value", "平均订单金额"),
    "country": Text("country", "国家"),
    "channel": Text("channel", "渠道"),
    "device": Text("device", "设备"),
}
_GROUPS: dict[str, Text] = {
    "(unknown)": Text("unknown", "未知"),
    "(other)": Text("all others", "其他"),
}
_CARD_LIMITS = (
    Text("What it does not say", "它不说明什么"),
    Text(
        "A reason is evidence that the model used, not a proven cause. It says who is at risk, not whom an offer would move. "
        "Who has no qualifying event gets no score.",
        "原因是模型所用的证据，而非已证实的因果。它说明谁有风险，而非谁会被优惠打动。没有合格事件的用户不会得到评分。",
    ),
)


def metrics_of(test: Mapping[str, Any] | None) -> tuple[Metric, ...]:
    """The measures of the test moment; those that are undefined there are left out."""
    if test is None:
        return ()
    decisions, profit = test["at_threshold"], test["profit"]
    found = [
        Metric(*_METRICS[name], _interval(test["metrics"][name])) for name in _METRICS if _known(test["metrics"][name])
    ]
    threshold = f"{decisions['threshold']:.0%}"
    found += [
        Metric(name, meaning.format(threshold=threshold), _interval(decisions[key]), percent=True)
        for key, (name, meaning) in _DECISIONS.items()
        if _known(decisions[key])
    ]
    if _known(profit["expected"]):
        share = f"{profit['share']['value']:.0%}"
        found.append(
            Metric(_PROFIT[0], _PROFIT[1].format(share=share, **profit["assumptions"]), _interval(profit["expected"]))
        )
    return tuple(found)


def gain_of(test: Mapping[str, Any] | None) -> tuple[CurvePoint, ...]:
    """The gain curve: share contacted, share of leavers found."""
    points = test["curve"] if test else []
    return tuple(CurvePoint(p["share"], _interval(p["gain"])) for p in points if _known(p["gain"]))


def calibration_of(test: Mapping[str, Any] | None) -> tuple[CalibrationBin, ...]:
    """The calibration curve."""
    bins = test["calibration"] if test else []
    return tuple(
        CalibrationBin(b["probability"], Interval(b["churn_rate"], b["low"], b["high"]), round(b["users"]))
        for b in bins
    )


def slices_of(test: Mapping[str, Any] | None) -> tuple[SliceRow, ...]:
    """The groups of the test moment."""
    return tuple(
        SliceRow(
            kind=_KINDS.get(s["group"], Text(s["group"], s["group"])),
            group=_GROUPS.get(s["label"], _same(s["label"])),
            users=s["rows"],
            churn_rate=s["churned"] / s["rows"],
            auroc=_interval(s["auroc"]) if _known(s["auroc"]) else None,
            enough=not s["small"],
        )
        for s in (test["slices"] if test else [])
    )


def backtest_of(moments: list[dict[str, Any]]) -> tuple[BacktestMoment, ...]:
    """The rehearsed moments, oldest first."""
    return tuple(
        BacktestMoment(
            as_of=datetime.fromisoformat(m["as_of"]),
            users=m["users"],
            churn_rate=m["churn_rate"],
            predicted_rate=m["predicted_rate"],
            auroc=Interval(*m["auroc"]) if m["auroc"][0] is not None else None,
            calibration_error=m["ece"],
        )
        for m in moments
    )


def card_of(bundle: Bundle) -> tuple[tuple[Text, Text], ...]:
    """The model card's facts."""
    run = bundle.manifest
    mixed = ", ".join(f"{name} {w:.2f}" for name, w in zip(bundle.stack.names, bundle.stack.weights, strict=True))
    trained = Text(
        "{rows:,} rows of {users:,} users at {cutoffs} moments, {columns} columns, known at {until}",
        "{cutoffs} 个时点、{users:,} 位用户的 {rows:,} 行，{columns} 列，截至 {until} 已知",
    ).format(
        rows=run["rows"],
        users=run["users"],
        cutoffs=len(run["cutoffs"]),
        columns=len(bundle.columns),
        until=run["until"][:10],
    )
    sample = Text(f"{run['sampled']:.1%} of the users", f"{run['sampled']:.1%} 的用户")
    return (
        (Text("Learnt from", "训练数据"), trained),
        (Text("Sample", "抽样"), sample),
        *((Text("Customers with an action", "有动作的顾客"), line) for line in lines_of(run)[:1]),
        (Text("Models and weights", "模型与权重"), Text(mixed, mixed)),
        (Text("Made", "生成时间"), _same(f"{run['created_at'][:16].replace('T', ' ')} UTC")),
        (Text("Seed", "随机种子"), _same(str(run["seed"]))),
        (
            Text("Version", "版本"),
            _same(f"Ebbtide {run['versions']['ebbtide']}, LightGBM {run['versions']['lightgbm']}"),
        ),
        _CARD_LIMITS,
    )


def _known(estimate: Mapping[str, Any]) -> bool:
    return estimate["value"] is not None


def _interval(estimate: Mapping[str, Any]) -> Interval:
    return Interval(estimate["value"], estimate["low"], estimate["high"])


def _same(text: str) -> Text:
    return Text(text, text)
