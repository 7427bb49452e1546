"""How a column is said in a sentence: one phrase a feature, chosen by the kind of its declaration."""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch

from ebbtide.core.language import Text
from ebbtide.explain.acts import single
from ebbtide.explain.phrase import Column, Phrase
from ebbtide.features.declarations import (
    ActiveBlocks,
    ActiveDays,
    Calendar,
    Count,
    Decayed,
    Entropy,
    FavouriteShare,
    Gap,
    GapQuantile,
    LagBlock,
    LastTone,
    LastValue,
    Lifetime,
    Mean,
    Novelty,
    OrderTrait,
    PerOrder,
    Rate,
    Recency,
    Share,
    Shift,
    Tenure,
    Tone,
    Trend,
    VisitTrait,
)
from ebbtide.features.selectors import Selector, parse_selector
from ebbtide.features.table_columns import (
    DateColumn,
    FlagColumn,
    LevelColumn,
    MissingColumn,
    NumberColumn,
    SharedColumn,
)
from ebbtide.features.words import KEY_WORDS, window_words
from ebbtide.models.columns import ModelColumn


@singledispatch
def phrase_of(column: Column) -> Phrase:
    """The phrase of a column; kinds without one of their own are said as "description: value"."""
    return _labelled(column.description, column.unit, is_plain=column.unit not in ("number", "ratio"))


@phrase_of.register
def _(column: Recency) -> Phrase:
    last = single(column.selector, column.outcome)
    return Phrase(
        Text("{{value}} since the last {last}", "距上次{last}已 {{value}}").format(last=last),
        _never(column.selector, column.outcome),
        column.unit,
        own_usual=GapQuantile(column.of, 0.5).name,
    )


@phrase_of.register
def _(column: Tenure) -> Phrase:
    return _since_first(column.selector, column.outcome)


@phrase_of.register(Count)
@phrase_of.register(LagBlock)
def _(column: Count | LagBlock) -> Phrase:
    about = column.description
    one = about.en.replace(column.noun.en, single(column.selector, column.outcome).en, 1)
    return replace(
        _labelled(about, column.unit),
        stated=Text(f"{{value}} {about.en}", f"{about.zh}为 {{value}}"),
        none=Text(f"no {about.en}", f"{about.zh}为 0"),
        one=Text(f"1 {one}", f"{about.zh}为 1"),
    )


@phrase_of.register
def _(column: ActiveDays) -> Phrase:
    about = column.description
    return replace(
        _labelled(about, column.unit),
        stated=Text(about.en.replace("days", "{value}", 1), f"{about.zh}为 {{value}}"),
        none=Text(f"no {about.en}", f"{about.zh}为 0"),
    )


@phrase_of.register
def _(column: Rate) -> Phrase:
    first = single(column.selector, column.outcome)
    stated = Text(f"{{value}} {column.description.en} {first.en}", f"{column.description.zh}为 {{value}}")
    return Phrase(stated, _never(column.selector, column.outcome), column.unit)


@phrase_of.register
def _(column: Lifetime) -> Phrase:
    outcome, selector = column.outcome, parse_selector("outcome")
    if column.stat == "age_days":
        return _since_first(selector, outcome)
    noun = selector.noun(outcome)
    once = Text("only one day with {noun} so far", "迄今只有一天有{noun}").format(noun=noun)
    unit, stated = (
        "days",
        Text("{{value}} from the first to the last of the {noun}", "首次到最近一次{noun}相隔 {{value}}"),
    )
    if column.stat == "repeat_days":
        unit, stated = "more_days", Text("{noun} on {{value}} after the first", "首日之后{{value}}有{noun}")
    return Phrase(stated.format(noun=noun), _never(selector, outcome), unit, none=once, is_plain=False)


@phrase_of.register
def _(column: Trend) -> Phrase:
    stated = Text("{what}: {{value}} (last {days:g} days against the {days:g} before)",
                  "{what}{{value}}（最近 {days:g} 天与此前 {days:g} 天相比）")  # fmt: skip
    none = Text("{what}: none for {twice:g} days", "{twice:g} 天内{what}为零")
    words = {"what": column.inner.stem, "days": column.days, "twice": 2 * column.days}
    return Phrase(stated.format(**words), none.format(**words), column.unit, has_usual=False)


@phrase_of.register
def _(column: Share) -> Phrase:
    among = column.bottom.noun(column.outcome)
    none = _none(among, column.days)
    if column.is_part:
        return replace(_labelled(column.description, column.unit), unknown=none)
    stated = Text("{{value}} {of} for every 100 {among}", "每 100 次{among}有 {{value}} 次{of}")
    return Phrase(_within(stated.format(of=column.noun, among=among), column.days), none, "per_hundred")


@phrase_of.register
def _(column: PerOrder) -> Phrase:
    return replace(_labelled(column.description, column.unit), unknown=_within(_no_amount(column), column.days))


@phrase_of.register
def _(column: Shift) -> Phrase:
    """Unknown is what happened in the days alone: whoever did it then has done it at some time."""
    what, unit = column.inner.stem, {"share": "points"}.get(column.inner.unit, "difference")
    stated = Text("{what} in the last {days:g} days: {{value}} than is usual for this customer",
                  "最近 {days:g} 天的{what}：比该顾客平时{{value}}")  # fmt: skip
    if isinstance(column.inner, Entropy):
        what, unit = _variety(column.inner), "log_change"
        stated = Text("{what} in the last {days:g} days: {{value}}, against what is usual for this customer",
                      "最近 {days:g} 天的{what}：与该顾客平时相比{{value}}")  # fmt: skip
    elif column.unit == "ratio":
        stated, unit = Text("{what} in the last {days:g} days: {{value}} this customer's usual",
                            "最近 {days:g} 天的{what}：该顾客平时的 {{value}}"), "times"  # fmt: skip
    return Phrase(
        stated.format(what=what, days=column.days),
        phrase_of(column.inner.within(column.days)).unknown,
        unit,
        has_usual=False,
    )


@phrase_of.register
def _(column: Decayed) -> Phrase:
    """The weights are not named: what matters is how much there was of late, beside what others have."""
    about = Text("recent {what}, the newest counting most", "近期{what}（越近权重越大）").format(what=column.what)
    unit = "faded" if column.unit == "number" else column.unit
    return replace(_labelled(about, unit, is_plain=False), none=_none(column.noun, None))


@phrase_of.register(FavouriteShare)
@phrase_of.register(Novelty)
def _(column: FavouriteShare | Novelty) -> Phrase:
    return replace(_labelled(column.description, column.unit), unknown=_none(column.noun, column.days))


@phrase_of.register
def _(column: VisitTrait) -> Phrase:
    label = _labelled(column.description, column.unit, is_plain=column.unit not in ("number", "ratio"))
    return replace(label, unknown=_none(Text("visits", "访问"), column.days))


@phrase_of.register
def _(column: Entropy) -> Phrase:
    """Said as the number of values over which an even spread would be as wide: exp(entropy)."""
    about = window_words(_variety(column), column.days)
    return replace(_labelled(about, "log_count", is_plain=False), unknown=_none(column.noun, column.days))


def _variety(column: Entropy) -> Text:
    words = {"key": KEY_WORDS[column.column].noun, "noun": column.noun}
    return Text("variety of {key} among {noun}", "{noun}所涉{key}的多样性").format(**words)


@phrase_of.register
def _(column: ActiveBlocks) -> Phrase:
    about = column.description
    stated = Text("{value} " + about.en.removeprefix("share "), f"{about.zh}为 {{value}}")
    return replace(_labelled(about, column.unit), stated=stated)


@phrase_of.register
def _(column: GapQuantile) -> Phrase:
    label = _labelled(column.description, column.unit, is_plain=column.q == 0.5)
    return replace(label, unknown=_no_rhythm(column.noun))


_GAPS = {
    "silence_over_median": Text("silent for {{value}} the usual gap between {noun}", "沉默时长是平时{noun}间隔的 {{value}}"),
    "silence_over_longest": Text("silent for {{value}} the longest gap between {noun}", "沉默时长是最长{noun}间隔的 {{value}}"),
    "last_over_mean": Text("latest gap between {noun}: {{value}} the average one", "最近一次{noun}间隔是平均间隔的 {{value}}"),
    "recent_over_mean": Text("last three gaps between {noun}: {{value}} the average one", "最近三次{noun}间隔是平均间隔的 {{value}}"),
    "silence_rank": Text("{{value}} of the past gaps between {noun} were as long as the present silence", "以往{noun}间隔中有 {{value}} 不短于当前沉默时长"),
}  # fmt: skip
_OBSCURE_GAPS = ("sd", "variation", "silence_score", "regularity")


@phrase_of.register
def _(column: Gap) -> Phrase:
    label = replace(_labelled(column.description, column.unit), unknown=_no_rhythm(column.noun))
    if column.stat not in _GAPS:
        return replace(label, is_plain=column.stat not in _OBSCURE_GAPS)
    unit = "times" if column.unit == "ratio" else column.unit
    return replace(label, stated=_GAPS[column.stat].format(noun=column.noun), unit=unit, has_usual=False)


_LOGARITHMS = {
    "price_change": ("log_change", Text("prices of items bought again", "再次购买的商品价格")),
    "price_level": ("log_level", Text("prices paid against the items' usual prices", "成交价与商品平常价格相比")),
    "popularity_change": ("log_change", Text("demand in the shop for the items chosen", "所选商品在店内的热度")),
}


@phrase_of.register
def _(column: Mean) -> Phrase:
    unknown = _within(_no_amount(column), column.days)
    if column.column in _LOGARITHMS:
        unit, stem = _LOGARITHMS[column.column]
        return replace(_labelled(window_words(stem, column.days), unit), unknown=unknown)
    is_plain = column.unit not in ("number", "ratio") or column.column in ("rating", "quantity")
    return replace(_labelled(column.description, column.unit, is_plain=is_plain), unknown=unknown)


@phrase_of.register
def _(column: LastValue) -> Phrase:
    return replace(_labelled(column.description, column.unit), unknown=_no_amount(column))


_NO_TEXT = Text("no review or message with a text", "没有带文字的评价或留言")


@phrase_of.register
def _(column: LastTone) -> Phrase:
    return replace(_labelled(column.description, column.unit), unknown=_NO_TEXT)


@phrase_of.register
def _(column: Tone) -> Phrase:
    unknown = _NO_TEXT if column.days is None else _within(_NO_TEXT, column.days)
    return replace(_labelled(column.description, column.unit), unknown=unknown)


_ORDER_TRAITS = {
    "last_over_mean": Text("latest order: {value} the average order value", "最近一单金额是平均单额的 {value}"),
    "recent_over_mean": Text("last three orders: {value} the average order value", "最近三单金额是平均单额的 {value}"),
}


@phrase_of.register
def _(column: OrderTrait) -> Phrase:
    label = _labelled(column.description, column.unit, is_plain=column.stat != "variation")
    match column.stat:
        case "first_coupon":
            without = Text("first order without a coupon", "首单未用券")
            return replace(label, none=without, one=Text("first order with a coupon", "首单用了券"), has_usual=False)
        case "second_after_days":
            return replace(label, unknown=Text("no second order so far", "迄今没有第二单"))
        case "last_over_mean" | "recent_over_mean":
            return replace(label, stated=_ORDER_TRAITS[column.stat], unit="times", has_usual=False)
        case _:
            return label


@phrase_of.register
def _(column: ModelColumn) -> Phrase:
    """Without the model's name in brackets, which says nothing to an analyst."""
    about = column.description
    return _labelled(Text(about.en.split(" (")[0], about.zh.split("（")[0]), column.unit)


@phrase_of.register(NumberColumn)
@phrase_of.register(SharedColumn)
def _(column: NumberColumn | SharedColumn) -> Phrase:
    return _labelled(column.description, column.unit, is_plain=isinstance(column, NumberColumn))


@phrase_of.register
def _(column: FlagColumn) -> Phrase:
    label, name = _labelled(column.description, column.unit), column.column
    return replace(
        label, none=_as_is(f"{name}: no", f"{name}：否"), one=_as_is(f"{name}: yes", f"{name}：是"), has_usual=False
    )


@phrase_of.register
def _(column: DateColumn) -> Phrase:
    name, until = column.column, column.until
    side = Text("after", "晚于") if column.is_later else Text("before", "早于")
    stated = _as_is(f"{name}: \x00 {side.en} {until}", f"{name}：{side.zh} {until} \x00")
    return replace(
        _labelled(Text(name, name), column.unit),
        stated=Text(stated.en.replace("\x00", "{value}"), stated.zh.replace("\x00", "{value}")),
    )


@phrase_of.register
def _(column: LevelColumn) -> Phrase:
    name, level = column.column, column.level
    return replace(
        _labelled(column.description, column.unit),
        none=_as_is(f"{name} is not {level}", f"{name} 不是 {level}"),
        one=_as_is(f"{name} is {level}", f"{name} 是 {level}"),
        has_usual=False,
    )


@phrase_of.register
def _(column: MissingColumn) -> Phrase:
    name = column.column
    none, one = _as_is(f"{name} is known", f"{name} 已知"), _as_is(f"{name} is missing", f"{name} 缺失")
    return replace(_labelled(column.description, column.unit), none=none, one=one, has_usual=False)


_CALENDAR = {
    "weekday": Text("the day of the week", "今天是星期几"),
    "days_to_year_end": Text("{value} until the end of the year", "距年底还有 {value}"),
}


@phrase_of.register
def _(column: Calendar) -> Phrase:
    season = Text("the time of the year", "一年中的时节")
    return Phrase(_CALENDAR.get(column.stat, season), season, column.unit, has_usual=False, is_personal=False)


def _as_is(en: str, zh: str) -> Text:
    """A template without fields: names from a file may hold braces."""
    return Text(*(t.replace("{", "{{").replace("}", "}}") for t in (en, zh)))


def _labelled(about: Text, unit: str, *, is_plain: bool = True) -> Phrase:
    """Said as "description: value"."""
    about = Text(about.en.replace(" in days", ""), about.zh)
    unknown = Text(f"no record of {about.en}", f"没有“{about.zh}”的记录")
    told = _as_is(about.en, about.zh)
    return Phrase(Text(f"{told.en}: {{value}}", f"{told.zh}：{{value}}"), unknown, unit, is_plain=is_plain)


def _no_amount(column: Mean | PerOrder | LastValue) -> Text:
    noun = parse_selector(column.of).noun(column.outcome)
    return Text("no known {column} of {noun}", "没有{noun}的{column}记录").format(column=column.words.noun, noun=noun)


def _none(noun: Text, days: float | None) -> Text:
    return _within(Text(f"no {noun.en}", f"没有{noun.zh}"), days)


def _within(text: Text, days: float | None) -> Text:
    """A clause over a window. (`window_words` does the same for a noun.)"""
    if days is None:
        return Text(f"{text.en} so far", f"迄今{text.zh}")
    return Text(f"{text.en} in the last {days:g} days", f"最近 {days:g} 天{text.zh}")


def _since_first(selector: Selector, outcome: tuple[str, ...]) -> Phrase:
    stated = Text("{{value}} since the first {first}", "距首次{first}已 {{value}}").format(
        first=single(selector, outcome)
    )
    return Phrase(stated, _never(selector, outcome), "days")


def _never(selector: Selector, outcome: tuple[str, ...]) -> Text:
    return Text("no {one} on record", "没有{one}记录").format(one=single(selector, outcome))


def _no_rhythm(noun: Text) -> Text:
    return Text("too few {noun} to know this customer's rhythm", "{noun}太少，看不出该顾客的节奏").format(noun=noun)
