"""Every fixed text of the report page, in English and Chinese."""

from __future__ import annotations

from ebbtide.core.language import Language, Text

WORDS: dict[str, Text] = {
    "title": Text("Customers at risk", "流失预警"),
    "as_of": Text("As of", "截至"),
    "model": Text("Model", "模型"),
    "question": Text("What was asked", "问题"),
    "advice": Text("How far to trust it", "可信程度"),
    "quality": Text("Quality index", "质量指数"),
    "of_100": Text("of 100", "满分 100"),
    # key figures
    "summary": Text("At a glance", "概览"),
    "customers": Text("customers asked about", "考察的顾客"),
    "at_risk": Text("at high risk", "高风险顾客"),
    "expected_churners": Text("expected to leave", "预计流失"),
    "value_at_risk": Text("value at risk", "面临流失的价值"),
    # bands
    "bands": Text("Risk by band", "各风险等级"),
    "band": Text("Band", "等级"),
    "from_probability": Text("From probability", "概率下限"),
    "users": Text("Customers", "顾客数"),
    "share": Text("Share", "占比"),
    "expected": Text("Expected to leave", "预计流失"),
    "value": Text("Value at risk", "面临流失的价值"),
    "distribution": Text("How the risk is spread", "风险分布"),
    "distribution_note": Text(
        "Each bar counts the customers with that churn probability; the lines mark where the bands begin.",
        "每根柱子表示处于该流失概率区间的顾客数；竖线标出各等级的起点。",
    ),
    "probability": Text("Churn probability", "流失概率"),
    "figures": Text("The figures behind this chart", "图表数据"),
    # list
    "top": Text("Top of the list", "风险最高的顾客"),
    "top_note": Text(
        "The customers at highest risk. The arrow tells whether a reason raises (▲) or lowers (▼) the risk.",
        "风险最高的顾客。箭头表示该原因提高（▲）或降低（▼）风险。",
    ),
    "customer": Text("Customer", "顾客"),
    "reasons": Text("Reasons", "原因"),
    "expected_orders": Text("Expected orders", "预计订单数"),
    "raises": Text("raises the risk:", "提高风险："),
    "lowers": Text("lowers the risk:", "降低风险："),
    "no_reasons": Text("not computed for this band", "此等级未计算"),
    # drivers
    "drivers": Text("What drives the risk", "风险驱动因素"),
    "drivers_note": Text(
        "Mean size of each kind of evidence over the explained customers, in log-odds.",
        "在已解释的顾客中，各类证据的平均作用大小（对数几率）。",
    ),
    "family": Text("Kind of evidence", "证据类别"),
    "mean_size": Text("Mean size", "平均作用"),
    "share_raising": Text("Raises the risk of", "使其风险升高的顾客"),
    # quality
    "evaluation": Text("How good the ranking and the probabilities are", "排序与概率的质量"),
    "evaluation_note": Text(
        "Measured at {moment}, a moment that the model had not seen. Ranges are 95 % intervals by customer.",
        "在模型未见过的时点 {moment} 上测得。区间为按顾客计算的 95% 区间。",
    ),
    "evaluation_note_table": Text(
        "Measured on rows of the table that the model had not seen. Ranges are 95 % intervals by customer.",
        "在表中模型未见过的行上测得。区间为按顾客计算的 95% 区间。",
    ),
    "measure": Text("Measure", "指标"),
    "figure": Text("Figure", "数值"),
    "interval": Text("95 % interval", "95% 区间"),
    "meaning": Text("Meaning", "含义"),
    "gain": Text("Gain", "增益曲线"),
    "gain_note": Text(
        "Contacting the first x % of the list finds y % of those who leave.",
        "联系名单前 x% 的顾客，可覆盖 y% 的流失者。",
    ),
    "contacted": Text("contacted", "已联系"),
    "found": Text("leavers found", "覆盖的流失者"),
    "random": Text("random order", "随机顺序"),
    "ranked": Text("this ranking", "本排序"),
    "calibration": Text("Calibration", "校准"),
    "calibration_note": Text(
        "Of the customers given a probability near x, a share of y really left; on the line it is exact.",
        "被预测为概率约 x 的顾客中，实际有 y 流失；落在线上即完全准确。",
    ),
    "predicted": Text("predicted", "预测"),
    "observed": Text("observed", "实际"),
    "exact": Text("exact", "完全准确"),
    # backtest
    "backtest": Text("Backtest", "历史回测"),
    "backtest_note": Text(
        "The same way of training and scoring, repeated at earlier moments, each seeing only its own past.",
        "在更早的时点重复同样的训练与评分，每次只使用当时已知的数据。",
    ),
    "moment": Text("Moment", "时点"),
    "churn_rate": Text("Left", "实际流失率"),
    "predicted_rate": Text("Predicted", "预测流失率"),
    "auroc": Text("AUROC", "AUROC"),
    "ece": Text("Calibration error", "校准误差"),
    # retention
    "retention": Text("Retention of new buyers", "新买家留存"),
    "retention_note": Text(
        "Buyers by the {unit} of their first order, and the share of them who ordered again in each later {unit}.",
        "按首单所在{unit}分组的买家，以及其后每{unit}再次下单的比例。",
    ),
    "first_order": Text("First order", "首单"),
    "buyers": Text("Buyers", "买家数"),
    "survival": Text("How long customers stay", "顾客留存时长"),
    "survival_note": Text(
        "Share of customers still there so many days after their first order, with its 95 % interval. Gone is whoever was "
        "silent for {days:g} days.",
        "首单之后若干天仍在的顾客比例及 95% 区间。连续沉默 {days:g} 天即视为离开。",
    ),
    "days": Text("days since the first order", "首单后天数"),
    "still_active": Text("still active", "仍活跃"),
    # slices
    "slices": Text("Does it work for every group?", "对每个群体都有效吗？"),
    "slices_note": Text(
        "The same measures for groups of customers; groups too small to judge are marked.",
        "各顾客群体上的同样指标；过小而无法判断的群体已标出。",
    ),
    "kind": Text("By", "划分"),
    "group": Text("Group", "群体"),
    "too_few": Text("too few to judge", "人数过少"),
    # health
    "health": Text("The data behind it", "数据状况"),
    "events": Text("events", "事件"),
    "known_users": Text("users", "用户"),
    "first_event": Text("first event", "最早事件"),
    "last_event": Text("last event", "最近事件"),
    "nothing_odd": Text("nothing odd was found in the table", "表中未发现异常"),
    "source": Text("Source", "来源"),
    "read": Text("Read", "读取"),
    "accepted": Text("Accepted", "接受"),
    "quarantined": Text("Quarantined", "隔离"),
    "filtered": Text("Filtered", "过滤"),
    "duplicates": Text("Duplicates", "重复"),
    "quarantine_reason": Text("Why rows are in quarantine", "行被隔离的原因"),
    "rows": Text("Rows", "行数"),
    "capabilities": Text("The log can tell", "日志包含"),
    "missing": Text("Not in the log, so switched off", "日志中没有，因此未启用"),
    # card
    "card": Text("Model card", "模型卡"),
    "unknown": Text("not known for this shop", "本店铺暂无此信息"),
    "made_by": Text("Made by Ebbtide. This page needs no network.", "由 Ebbtide 生成。本页无需网络。"),
}


class Words:
    """The texts in one language, by attribute: `Words("en").title`."""

    def __init__(self, language: Language) -> None:
        self._language = language

    def __getattr__(self, name: str) -> str:
        try:
            return WORDS[name][self._language]
        except KeyError:
            raise AttributeError(name) from None
