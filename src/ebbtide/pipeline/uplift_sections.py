"""How an uplift judgement is told: tables of treatments, budgets and learners."""

from __future__ import annotations

from ebbtide.actions.learners import LEARNERS
from ebbtide.actions.uplift import Judgement
from ebbtide.core.language import Text
from ebbtide.core.sections import Section
from ebbtide.evaluation.intervals import Estimate


def treatment_section(judged: Judgement) -> Section:
    """Each treatment against control."""
    columns = (
        Text("treatment", "处理"),
        Text("average effect", "平均效应"),
        Text("Qini", "Qini"),
        Text("Qini by chance", "随机 Qini"),
        Text("AUUC", "AUUC"),
        Text("uplift at 10 %", "前 10% 增益"),
        Text("at 30 %", "前 30%"),
    )
    rows = tuple(
        (name, *map(told, (f.average, f.qini, judged.random[name], f.auuc, f.at[0.1], f.at[0.3])))
        for name, f in judged.figures.items()
    )
    return Section(Text("By treatment, on customers held out", "各处理（留出顾客）"), (), columns, rows)


def budget_section(judged: Judgement) -> Section:
    """What following each ranking brings, per customer of all, over contacting nobody."""
    columns = (
        Text("contacted", "触达比例"),
        Text("by effect", "按效应"),
        Text("by risk x value", "按风险 x 价值"),
        Text("by chance", "随机"),
        Text("effect less risk", "效应减风险"),
    )
    rows = tuple((f"{b.share:.0%}", *map(told, (b.effect, b.risk, b.chance, b.more))) for b in judged.budgets)
    return Section(Text("Outcomes won per customer", "人均增加的结果"), (), columns, rows)


def win_section(judged: Judgement) -> Section:
    """What the verdict stands on: all customers, and each part of them, judged by what was learnt from the others."""
    columns = (
        Text("customers", "顾客"),
        Text("over everyone alike", "优于一视同仁"),
        Text("over risk x value", "优于风险 x 价值"),
    )
    everyone, by_risk = judged.over_everyone, judged.over_risk
    parts = (Text("part {n} alone", "仅第 {n} 部分").format(n=n + 1) for n in range(len(everyone.folds)))
    rows = tuple(
        (name, told(one), told(other))
        for name, one, other in zip(
            (Text("all", "全部"), *parts),
            (everyone.overall, *everyone.folds),
            (by_risk.overall, *by_risk.folds),
            strict=True,
        )
    )
    lines = (
        Text(
            "in brackets: 95 % intervals for all, 80 % for a part. It is used if all of them lie above 0",
            "括号内：全部为 95% 区间，各部分为 80% 区间。全部区间都大于 0 才会使用",
        ),
    )
    title = Text("What the ranking by effect wins, over all budgets", "按效应排序的收益（所有预算）")
    return Section(title, lines, columns, rows)


def learner_section(judged: Judgement) -> Section:
    """The figures by which learners were chosen: not those that count, which come from rows held out."""
    held = judged.held_out
    rows = tuple(
        (LEARNERS[name].words, won, held.qini[name], held.chosen.count(name)) for name, won in held.won.items()
    )
    columns = (
        Text("learner", "学习器"),
        Text("won per user over all budgets, while choosing", "选择时所有预算的人均收益"),
        Text("Qini then", "当时的 Qini"),
        Text("chosen", "被选次数"),
    )
    return Section(Text("Learners", "学习器"), (), columns, rows)


def told(figure: Estimate) -> str:
    """A figure with its interval, four places.

    >>> told(Estimate(0.0646, 0.043, 0.085))
    '0.0646 [0.0430, 0.0850]'
    """
    if figure.value is None:
        return "–"
    if figure.low is None or figure.high is None:
        return f"{figure.value:.4f}"
    return f"{figure.value:.4f} [{figure.low:.4f}, {figure.high:.4f}]"
