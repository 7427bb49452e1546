"""What the shop's own campaigns taught, as a plan uses it: the kept uplift model if it fits, and why not if it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from ebbtide.actions.catalogue import Action
from ebbtide.actions.effects import Measured
from ebbtide.actions.hull import Vector
from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.errors import MissingBundleError, MissingError
from ebbtide.core.language import Text
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.uplift_store import UpliftModel, load_uplift

EFFECT_COLUMNS = {"user_id": pl.String(), "action": pl.String(), "effect": pl.Float64(), "lower": pl.Float64()}


@dataclass(frozen=True)
class Known:
    """The uplift model to plan with, None where there is none that fits; `notes`: what it says, or why it does not fit."""

    model: UpliftModel | None
    notes: tuple[Text, ...] = ()


def known_effects(places: Places, actions: Sequence[Action], definition: ChurnDefinition, as_of: datetime) -> Known:
    """The kept uplift model, unless it is damaged, answers another question, knows what came after `as_of`, or speaks of
    no declared action; names that are no longer declared are told."""
    try:
        model = load_uplift(places)
    except MissingBundleError as fault:
        return Known(None, (_DAMAGED.format(why=fault.text),))
    except MissingError:
        return Known(None)
    if model.definition != definition:
        return Known(None, (_OTHER_QUESTION,))
    if model.until > as_of:
        return Known(None, (_TOO_LATE.format(until=model.until, as_of=as_of),))
    declared = {a.name for a in actions}
    strange = [name for name in model.actions if name not in declared]
    notes = (_STRANGE.format(names=", ".join(strange)),) if strange else ()
    told = tuple(_told(model, place) for place, name in enumerate(model.actions) if name in declared)
    return Known(model if told else None, (*told, *notes))


def _told(model: UpliftModel, place: int) -> Text:
    """What was measured of one action, and whether it is beyond doubt."""
    line = model.lines[place]
    least = float(line.lower(np.array([line.centre]))[0])
    text = _CLEAR if least > 0 else _DOUBTFUL
    return text.format(name=model.actions[place], average=100 * line.average, least=100 * least)


def measured_worth(
    effects: pl.DataFrame, users: pl.Series, actions: Sequence[Action], staying: Vector
) -> Mapping[str, Measured]:
    """The change in the chance of an outcome times what staying is worth, by declared action that was measured.

    `effects`: columns `EFFECT_COLUMNS`, one row a user and action. `staying` (N,): value of staying times the margin, in
    the order of `users`.
    """
    found = {}
    for action in actions:
        own = effects.filter(action=action.name)
        if own.height:
            each = users.to_frame("user_id").join(own, on="user_id", how="left", maintain_order="left")
            worth, low = (each[c].fill_null(0.0).to_numpy() * staying for c in ("effect", "lower"))
            found[action.name] = Measured(worth, low)
    return found


_CLEAR = Text(
    "{name}: {average:+.1f} points of who stays on average, at least {least:+.1f} with 95 % confidence",
    "{name}：平均使留存变化 {average:+.1f} 个百分点，95% 置信下至少 {least:+.1f}",
)
_DOUBTFUL = Text(
    "{name}: {average:+.1f} points of who stays on average, at least {least:+.1f} with 95 % confidence: it cannot be told yet "
    "whether it keeps anybody; a larger campaign would tell",
    "{name}：平均使留存变化 {average:+.1f} 个百分点，95% 置信下至少 {least:+.1f}：尚看不出它能否留住顾客；更大的活动才能看出",
)
_DAMAGED = Text("measured effects are not used: {why}", "未使用已测量的效果：{why}")
_OTHER_QUESTION = Text(
    "measured effects are not used: they were learnt for another churn definition; run `ebbtide uplift` again",
    "未使用已测量的效果：其学习所依据的流失定义不同；请重新运行 `ebbtide uplift`",
)
_TOO_LATE = Text(
    "measured effects are not used: they know what happened until {until:%Y-%m-%d}, the plan only what was known on "
    "{as_of:%Y-%m-%d}",
    "未使用已测量的效果：其包含截至 {until:%Y-%m-%d} 的信息，而计划只使用 {as_of:%Y-%m-%d} 已知的信息",
)
_STRANGE = Text(
    "effects were measured of actions that are not declared and are not used: {names}; an action keeps its effect only "
    "under the name it had in the campaign",
    "已测量但未声明、因而未使用的动作：{names}；动作须沿用活动中的名称才能使用其效果",
)
