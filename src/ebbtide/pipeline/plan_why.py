"""Why each customer gets what the plan says, or nothing: one sentence, in the shop's language."""

from __future__ import annotations

import numpy as np
import polars as pl

from ebbtide.actions.effects import ASSUMED, COMBINED, MEASURED
from ebbtide.actions.eligibility import RULES
from ebbtide.actions.exploration import Exploration
from ebbtide.actions.hull import Vector
from ebbtide.actions.policy import Assignment
from ebbtide.core.language import Language, Text
from ebbtide.pipeline.plan_ready import Ready

_CHOSEN = Text(
    "{risk} likely to leave; expected to bring {worth} for {cost}",
    "流失概率 {risk}；预计带来 {worth}，成本 {cost}",
)
_ASSUMED = Text(" (effect assumed, not measured)", "（效果为假设，未经测量）")
_MEASURED = Text(" (effect measured)", "（效果经测量）")
_COMBINED = Text(" (effect measured, combined with what was assumed)", "（效果为测量与假设的合并）")
_CHANCE = Text("left to chance, so that effects can be measured", "交由随机决定，以便测量效果")
_NOT_WORTH = Text("no possible action brings more than it costs", "没有可行动作的收益超过成本")
_BETTER = Text(
    "the money brings more elsewhere: {best} would bring {worth} for {cost}",
    "资金用于他处收益更高：{best} 可带来 {worth}，成本 {cost}",
)
_KEPT = Text("no action possible: {rules}", "没有可行动作：{rules}")
_COLON = Text(": ", "：")


def reasons_for(
    ready: Ready, chosen: Assignment, drawn: Exploration | None, language: Language, currency: str
) -> pl.Series:
    """One text a user, (N,)."""
    choice, rows = chosen.choice, np.arange(len(chosen.choice))
    allowed = ready.eligibility.allowed
    hoped = np.where(allowed, ready.gain, -np.inf)
    best = hoped.argmax(axis=1) if hoped.shape[1] else np.zeros(len(rows), np.int64)
    shown = np.where(choice >= 0, choice, best)
    names = [a.name for a in ready.actions]
    said = pl.DataFrame(
        {
            "chosen": choice >= 0,
            "explored": drawn.explores if drawn else np.zeros(len(rows), np.bool_),
            "possible": allowed.any(axis=1),
            "pays": hoped[rows, best] > 0,
            "action": pl.Series(names).gather(shown),
            "source": pl.Series(ready.effects.source).gather(shown),
            "risk": _percent(ready.facts.profile["churn_probability"]),
            "worth": _money(ready.effects.worth[rows, shown], currency),
            "cost": _money(ready.cost[rows, shown], currency),
            "rules": _rules(ready, language),
        }
    )
    marks = {ASSUMED: _ASSUMED[language], MEASURED: _MEASURED[language], COMBINED: _COMBINED[language]}
    mark = pl.col("source").replace_strict(marks, default="", return_dtype=pl.String)
    offered = pl.concat_str("action", pl.lit(_COLON[language]), _filled(_CHOSEN[language]), mark)
    nothing = (
        pl.when(~pl.col("possible"))
        .then(_filled(_KEPT[language]))
        .when("pays")
        .then(_filled(_BETTER[language].replace("{best}", "{action}")))
        .otherwise(pl.lit(_NOT_WORTH[language]))
    )
    chance = pl.lit(_CHANCE[language])
    return said.select(pl.when("explored").then(chance).when("chosen").then(offered).otherwise(nothing).alias("why"))[
        "why"
    ]


def _filled(template: str) -> pl.Expr:
    """A template whose {fields} are columns."""
    parts: list[pl.Expr] = []
    for place, piece in enumerate(template.replace("}", "{").split("{")):
        parts.append(pl.col(piece) if place % 2 else pl.lit(piece))
    return pl.concat_str(parts)


def _rules(ready: Ready, language: Language) -> pl.Series:
    """For who may get nothing at all: the rules that keep the actions back, each once, in their order."""
    failed = ready.eligibility.failed
    codes = np.zeros(len(failed), np.int64)
    for number in range(len(RULES)):
        codes |= np.where((failed == number).any(axis=1), 1 << number, 0)
    texts = [text[language] for text in RULES.values()]
    between = "; " if language == "en" else "；"
    found = {int(c): between.join(t for n, t in enumerate(texts) if int(c) >> n & 1) for c in np.unique(codes)}
    return pl.Series(codes).replace_strict(found, return_dtype=pl.String)


def _percent(values: pl.Series) -> pl.Series:
    """Whole percent; nobody is certain to leave or to stay.

    >>> _percent(pl.Series([0.003, 0.4251, 0.9981])).to_list()
    ['<1%', '43%', '>99%']
    """
    whole = pl.select((100 * values).round(0).cast(pl.Int64).alias("p"))["p"]
    sign = pl.select(pl.when(whole > 99).then(pl.lit(">")).when(whole < 1).then(pl.lit("<")).otherwise(pl.lit("")))
    return sign.to_series() + whole.clip(1, 99).cast(pl.String) + "%"


def _money(values: Vector, currency: str) -> pl.Series:
    amounts = pl.Series(np.where(np.isfinite(values), values, 0.0)).round(2)
    whole = amounts.abs().floor().cast(pl.Int64)
    cents = ((amounts.abs() - whole) * 100).round(0).cast(pl.Int64)
    whole, cents = whole + cents // 100, cents % 100
    sign = pl.select(pl.when(amounts < 0).then(pl.lit("-")).otherwise(pl.lit(""))).to_series()
    text = sign + whole.cast(pl.String) + "." + cents.cast(pl.String).str.zfill(2)
    return text + f" {currency}" if currency else text
