"""The features that can be declared. A declaration is data: it names, words, and expresses one column.

Windows end at as_of and are half-open, `(as_of - days, as_of]`; `days=None` means all history. `of` is a selector
(`selectors.py`). Counting nothing gives 0, the mean of nothing is NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from ebbtide.core.language import Text
from ebbtide.features.primitives import Cell, Clock, Decay, Expression, Op, Rhythm, Span
from ebbtide.features.selectors import Selector, parse_selector
from ebbtide.features.words import COLUMN_WORDS, KEY_WORDS, quantile_words, window_slug, window_words

Unit = Literal["count", "days", "money", "share", "ratio", "change", "number", "minutes"]


@dataclass(frozen=True)
class Feature:
    """One column. `outcome` says what the word "outcome" means in this catalogue and only touches the wording."""

    outcome: tuple[str, ...] = field(default=(), kw_only=True, compare=False)

    @property
    def name(self) -> str:
        """snake_case, unique in a catalogue, with its window."""
        raise NotImplementedError

    @property
    def unit(self) -> Unit:
        """What the number counts."""
        raise NotImplementedError

    @property
    def family(self) -> str:
        """A key of `families.FAMILIES`."""
        raise NotImplementedError

    @property
    def description(self) -> Text:
        """The column in words."""
        raise NotImplementedError

    @property
    def requires(self) -> frozenset[str]:
        """Capabilities (`events/capabilities.py`) without which the column says nothing."""
        raise NotImplementedError

    def expression(self) -> Expression:
        """What the engine computes."""
        raise NotImplementedError


@dataclass(frozen=True)
class _Of(Feature):
    of: str

    def __post_init__(self) -> None:
        parse_selector(self.of)

    @property
    def selector(self) -> Selector:
        """The parsed `of`."""
        return parse_selector(self.of)

    @property
    def requires(self) -> frozenset[str]:
        return self.selector.requires

    @property
    def family(self) -> str:
        return self.selector.family

    @property
    def _noun(self) -> Text:
        return self.selector.noun(self.outcome)

    @property
    def _count(self) -> Text:
        return self.selector.count_noun(self.outcome)


@dataclass(frozen=True)
class Count(_Of):
    """Number of events; orders count once, however many lines they have.

    >>> Count("order", days=30).name, Count("order", days=30).description.zh
    ('order_count_30d', '最近 30 天的订单数')
    """

    days: float | None = None

    @property
    def name(self) -> str:
        return f"{self.selector.slug}_count_{window_slug(self.days)}"

    @property
    def unit(self) -> Unit:
        return "count"

    @property
    def description(self) -> Text:
        return window_words(self._noun, self._count, self.days)

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (self.over(self.days),))

    def over(self, days: float | None) -> Cell:
        """The primitive for another window."""
        return Cell(self.of, days, unique="order")


@dataclass(frozen=True)
class ActiveDays(_Of):
    """Number of distinct UTC days with an event."""

    days: float | None = None

    @property
    def name(self) -> str:
        return f"{self.selector.slug}_active_days_{window_slug(self.days)}"

    @property
    def unit(self) -> Unit:
        return "days"

    @property
    def description(self) -> Text:
        noun = Text("days with {noun}", "有{noun}的天数").format(noun=self._noun)
        return window_words(noun, noun, self.days)

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (self.over(self.days),))

    def over(self, days: float | None) -> Cell:
        """The primitive for another window."""
        return Cell(self.of, days, unique="day")


@dataclass(frozen=True)
class Sum(Feature):
    """Total of a numeric column; unknown values add nothing."""

    column: str
    of: str
    days: float | None = None

    @property
    def selector(self) -> Selector:
        """The parsed `of`."""
        return parse_selector(self.of)

    @property
    def name(self) -> str:
        return f"{self.selector.slug}_{self.column}_sum_{window_slug(self.days)}"

    @property
    def unit(self) -> Unit:
        return COLUMN_WORDS[self.column].unit  # type: ignore[return-value]

    @property
    def family(self) -> str:
        return COLUMN_WORDS[self.column].family

    @property
    def requires(self) -> frozenset[str]:
        return self.selector.requires | {COLUMN_WORDS[self.column].capability}

    @property
    def description(self) -> Text:
        noun = Text("total {column} of {noun}", "{noun}的{column}总和").format(
            column=COLUMN_WORDS[self.column].noun, noun=self.selector.noun(self.outcome)
        )
        return window_words(noun, noun, self.days)

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (self.over(self.days),))

    def over(self, days: float | None) -> Cell:
        """The primitive for another window."""
        return Cell(self.of, days, weight=self.column)


@dataclass(frozen=True)
class Mean(Sum):
    """Mean of a numeric column over the events where it is known; NaN where there is none."""

    @property
    def name(self) -> str:
        return f"{self.selector.slug}_{self.column}_mean_{window_slug(self.days)}"

    @property
    def description(self) -> Text:
        noun = Text("average {column} of {noun}", "{noun}的平均{column}").format(
            column=COLUMN_WORDS[self.column].noun, noun=self.selector.noun(self.outcome)
        )
        return window_words(noun, noun, self.days)

    def expression(self) -> Expression:
        return Expression(Op.RATIO, (self.over(self.days), Cell(self.of, self.days, weight=f"known:{self.column}")))


@dataclass(frozen=True)
class PerOrder(Sum):
    """Total of a numeric column divided by the number of orders (or other events): basket value, lines an order."""

    @property
    def name(self) -> str:
        return f"{self.selector.slug}_{self.column}_each_{window_slug(self.days)}"

    @property
    def description(self) -> Text:
        noun = Text("{column} for each of the {noun}", "每次{noun}的{column}").format(
            column=COLUMN_WORDS[self.column].noun, noun=self.selector.noun(self.outcome)
        )
        return window_words(noun, noun, self.days)

    def expression(self) -> Expression:
        return Expression(Op.RATIO, (self.over(self.days), Cell(self.of, self.days, unique="order")))


@dataclass(frozen=True)
class Share(_Of):
    """Events of `of` for each event of `among`: a share where `of` is part of `among`, else a ratio."""

    among: str
    days: float | None = None

    @property
    def _among(self) -> Selector:
        return parse_selector(self.among)

    @property
    def _is_part(self) -> bool:
        bottom = self._among
        return bottom.condition == "" and (bottom.types == ("any",) or set(self.selector.types) <= set(bottom.types))

    @property
    def name(self) -> str:
        word = "share_of" if self._is_part else "per"
        return f"{self.selector.slug}_{word}_{self._among.slug}_{window_slug(self.days)}"

    @property
    def unit(self) -> Unit:
        return "share" if self._is_part else "ratio"

    @property
    def requires(self) -> frozenset[str]:
        return self.selector.requires | self._among.requires

    @property
    def description(self) -> Text:
        words = (
            Text("share of {of} among {among}", "{of}在{among}中的占比")
            if self._is_part
            else Text("{of} for each of the {among}", "{of}与{among}之比")
        ).format(of=self._noun, among=self._among.noun(self.outcome))
        return window_words(words, words, self.days)

    def expression(self) -> Expression:
        return Expression(Op.RATIO, (self.over(self.days), Count(self.among).over(self.days)))

    def over(self, days: float | None) -> Cell:
        """The top primitive for another window."""
        return Count(self.of).over(days)


@dataclass(frozen=True)
class Distinct(_Of):
    """Number of distinct values of a key column, for example items viewed. Null is no value."""

    column: str
    days: float | None = None

    @property
    def name(self) -> str:
        return f"{self.selector.slug}_distinct_{self.column}_{window_slug(self.days)}"

    @property
    def unit(self) -> Unit:
        return "count"

    @property
    def family(self) -> str:
        return KEY_WORDS[self.column].family

    @property
    def requires(self) -> frozenset[str]:
        return self.selector.requires | ({KEY_WORDS[self.column].capability} - {""})

    @property
    def description(self) -> Text:
        noun = Text("different {column} among {noun}", "{noun}中不同{column}的数量").format(
            column=KEY_WORDS[self.column].noun, noun=self._noun
        )
        return window_words(noun, noun, self.days)

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (self.over(self.days),))

    def over(self, days: float | None) -> Cell:
        """The primitive for another window."""
        return Cell(self.of, days, unique=self.column)


@dataclass(frozen=True)
class LagBlock(_Of):
    """Number of events in one block of the past: block 0 is the last `days` days, block 1 the `days` before, ..."""

    block: int
    days: float

    @property
    def name(self) -> str:
        return f"{self.selector.slug}_count_block{self.block}_{window_slug(self.days)}"

    @property
    def unit(self) -> Unit:
        return "count"

    @property
    def description(self) -> Text:
        near, far = self.block * self.days, (self.block + 1) * self.days
        return Text(
            f"{self._noun.en} between {far:g} and {near:g} days ago", f"{far:g} 天前到 {near:g} 天前的{self._count.zh}"
        )

    def expression(self) -> Expression:
        far = Count(self.of).over((self.block + 1) * self.days)
        if self.block == 0:
            return Expression(Op.VALUE, (far,))
        return Expression(Op.DIFFERENCE, (far, Count(self.of).over(self.block * self.days)))


@dataclass(frozen=True)
class Trend(Feature):
    """The last `days` days against the `days` before: (new - old) / (new + old), from -1 (all gone) to 1 (all new).

    `inner` is a Count, Sum, ActiveDays or Distinct; its own window is not used. NaN where both are nothing.
    For Distinct and ActiveDays the previous window holds the values that were not seen again in the last one.
    """

    inner: Count | Sum | ActiveDays | Distinct
    days: float

    def __post_init__(self) -> None:
        if self.inner.outcome != self.outcome:
            object.__setattr__(self, "inner", replace(self.inner, outcome=self.outcome))

    @property
    def name(self) -> str:
        return f"{self.inner.name.rsplit('_', 1)[0]}_trend_{window_slug(self.days)}"

    @property
    def unit(self) -> Unit:
        return "change"

    @property
    def family(self) -> str:
        return self.inner.family

    @property
    def requires(self) -> frozenset[str]:
        return self.inner.requires

    @property
    def description(self) -> Text:
        what = self._stem()
        return Text(
            f"change of {what.en}: last {self.days:g} days against the {self.days:g} days before",
            f"{what.zh}的变化：最近 {self.days:g} 天与此前 {self.days:g} 天相比",
        )

    def _stem(self) -> Text:
        inner = self.inner
        if isinstance(inner, Count):
            return Text(inner._noun.en, inner._count.zh)
        if isinstance(inner, ActiveDays):
            return Text("days with {noun}", "有{noun}的天数").format(noun=inner._noun)
        if isinstance(inner, Distinct):
            return Text("different {column} among {noun}", "{noun}中不同{column}的数量").format(
                column=KEY_WORDS[inner.column].noun, noun=inner._noun
            )
        return Text("total {column} of {noun}", "{noun}的{column}总和").format(
            column=COLUMN_WORDS[inner.column].noun, noun=inner.selector.noun(self.outcome)
        )

    def expression(self) -> Expression:
        return Expression(Op.TREND, (self.inner.over(self.days), self.inner.over(2 * self.days)))


@dataclass(frozen=True)
class Recency(_Of):
    """Days since the last event; NaN if there is none."""

    @property
    def name(self) -> str:
        return f"{self.selector.slug}_recency_days"

    @property
    def unit(self) -> Unit:
        return "days"

    @property
    def family(self) -> str:
        return "rhythm" if self.of in ("outcome", "order", "any") else self.selector.family

    @property
    def description(self) -> Text:
        return Text("days since the last of the {noun}", "距上次{noun}的天数").format(noun=self._noun)

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (Span(self.of, "last"),))


@dataclass(frozen=True)
class Tenure(_Of):
    """Days since the first event; NaN if there is none."""

    @property
    def name(self) -> str:
        return f"{self.selector.slug}_tenure_days"

    @property
    def unit(self) -> Unit:
        return "days"

    @property
    def family(self) -> str:
        return "tenure"

    @property
    def description(self) -> Text:
        return Text("days since the first of the {noun}", "距首次{noun}的天数").format(noun=self._noun)

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (Span(self.of, "first"),))


@dataclass(frozen=True)
class Decayed(_Of):
    """Sum over all history of 2^(-age / half life), of events or of a numeric column. An order's age is that of its
    first known line."""

    half_life_days: float
    column: str = ""

    @property
    def name(self) -> str:
        column = f"_{self.column}" if self.column else ""
        return f"{self.selector.slug}{column}_decayed_{window_slug(self.half_life_days)}"

    @property
    def unit(self) -> Unit:
        return COLUMN_WORDS[self.column].unit if self.column else "number"  # type: ignore[return-value]

    @property
    def family(self) -> str:
        return COLUMN_WORDS[self.column].family if self.column else self.selector.family

    @property
    def requires(self) -> frozenset[str]:
        return self.selector.requires | ({COLUMN_WORDS[self.column].capability} if self.column else frozenset())

    @property
    def description(self) -> Text:
        what = Text(self._noun.en, self._count.zh)
        if self.column:
            what = Text("{column} of {noun}", "{noun}的{column}").format(
                column=COLUMN_WORDS[self.column].noun, noun=self._noun
            )
        return Text("recent {what}, weight halving every {days:g} days", "近期{what}（权重每 {days:g} 天减半）").format(
            what=what, days=self.half_life_days
        )

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (Decay(self.of, self.half_life_days, self.column),))


@dataclass(frozen=True)
class GapQuantile(_Of):
    """A quantile of the gaps, in days, between successive active days (linear interpolation); NaN without a gap."""

    q: float

    @property
    def name(self) -> str:
        return f"{self.selector.slug}_gap_q{round(self.q * 100):02d}_days"

    @property
    def unit(self) -> Unit:
        return "days"

    @property
    def family(self) -> str:
        return "rhythm"

    @property
    def description(self) -> Text:
        return quantile_words(self.q, self._noun)

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (Rhythm(self.of, f"q{round(self.q * 100):02d}"),))


_GAP_STATS: dict[str, tuple[Unit, Text]] = {
    "mean": ("days", Text("average gap in days between {noun}", "{noun}之间的平均间隔天数")),
    "sd": ("days", Text("spread in days of the gaps between {noun}", "{noun}间隔天数的标准差")),
    "variation": ("ratio", Text("irregularity of the gaps between {noun} (spread over average)", "{noun}间隔的不规律程度（标准差除以平均值）")),
    "last": ("days", Text("latest gap in days between {noun}", "最近一次{noun}间隔天数")),
    "longest": ("days", Text("longest gap in days between {noun}", "{noun}之间的最长间隔天数")),
    "last_over_mean": ("ratio", Text("latest gap between {noun} over the average one", "最近一次{noun}间隔与平均间隔之比")),
    "recent_over_mean": ("ratio", Text("last three gaps between {noun} over the average one", "最近三次{noun}间隔与平均间隔之比")),
    "silence_over_median": ("ratio", Text("present silence over the usual gap between {noun}", "当前沉默时长与平时{noun}间隔之比")),
    "silence_over_longest": ("ratio", Text("present silence over the longest gap between {noun}", "当前沉默时长与最长{noun}间隔之比")),
    "silence_score": ("number", Text("present silence above the average gap between {noun}, in spreads", "当前沉默时长高于平均{noun}间隔多少个标准差")),
    "silence_rank": ("share", Text("share of past gaps between {noun} that were at least as long as the present silence", "以往{noun}间隔中不短于当前沉默时长的占比")),
    "regularity": ("number", Text("regularity of {noun} (1: like a clock, 0: as if by chance)", "{noun}的规律性（1 像时钟，0 为随机）")),
}  # fmt: skip


@dataclass(frozen=True)
class Gap(_Of):
    """A statistic of the gaps between successive active days and of the present silence; NaN without a gap."""

    stat: str

    def __post_init__(self) -> None:
        super().__post_init__()

    @property
    def name(self) -> str:
        return f"{self.selector.slug}_gap_{self.stat}"

    @property
    def unit(self) -> Unit:
        return _GAP_STATS[self.stat][0]

    @property
    def family(self) -> str:
        return "rhythm"

    @property
    def description(self) -> Text:
        return _GAP_STATS[self.stat][1].format(noun=self._noun)

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (Rhythm(self.of, self.stat),))


_LIFE_STATS: dict[str, tuple[Unit, Text]] = {
    "repeat_days": ("count", Text("days with {noun} after the first such day", "首日之后有{noun}的天数")),
    "last_age_days": ("days", Text("days from the first to the last day with {noun}", "首次到最近一次{noun}相隔的天数")),
    "age_days": ("days", Text("days since the first day with {noun}", "距首个有{noun}之日的天数")),
}  # fmt: skip


@dataclass(frozen=True)
class Lifetime(Feature):
    """What BG/NBD needs, on distinct outcome days: x (repeat_days), t_x (last_age_days), T (age_days)."""

    stat: Literal["repeat_days", "last_age_days", "age_days"]

    @property
    def name(self) -> str:
        return f"outcome_{self.stat}"

    @property
    def unit(self) -> Unit:
        return _LIFE_STATS[self.stat][0]

    @property
    def family(self) -> str:
        return "activity" if self.stat == "repeat_days" else "tenure"

    @property
    def requires(self) -> frozenset[str]:
        return frozenset()

    @property
    def description(self) -> Text:
        return _LIFE_STATS[self.stat][1].format(noun=parse_selector("outcome").noun(self.outcome))

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (Rhythm("outcome", self.stat),))


_CALENDAR: dict[str, tuple[Unit, Text]] = {
    "month_sin": ("number", Text("season, sine of the day of the year", "季节（年内日期的正弦）")),
    "month_cos": ("number", Text("season, cosine of the day of the year", "季节（年内日期的余弦）")),
    "weekday": ("number", Text("day of the week of as_of, 0 = Monday", "评估时点是星期几（0 为星期一）")),
    "days_to_year_end": ("days", Text("days until the end of the year", "距年底的天数")),
}


@dataclass(frozen=True)
class Calendar(Feature):
    """A fact of as_of itself, the same for every user."""

    stat: Literal["month_sin", "month_cos", "weekday", "days_to_year_end"]

    @property
    def name(self) -> str:
        return f"calendar_{self.stat}"

    @property
    def unit(self) -> Unit:
        return _CALENDAR[self.stat][0]

    @property
    def family(self) -> str:
        return "calendar"

    @property
    def requires(self) -> frozenset[str]:
        return frozenset()

    @property
    def description(self) -> Text:
        return _CALENDAR[self.stat][1]

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (Clock(self.stat),))
