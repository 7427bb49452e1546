"""Features of time: recency, tenure, gaps, decayed sums, the inputs of BG/NBD, the calendar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from ebbtide.core.errors import InputError
from ebbtide.core.language import Text
from ebbtide.features.feature import Feature, SelectedFeature, Unit, check_choice
from ebbtide.features.primitives import CLOCK_STATS, COLUMNS, Cell, Clock, Decay, Expression, Op, Rhythm, Span
from ebbtide.features.selectors import parse_selector
from ebbtide.features.words import COLUMN_WORDS, window_slug

_RHYTHMIC = ("any", "outcome", "order")


@dataclass(frozen=True)
class Recency(SelectedFeature):
    """Days since the last event; NaN if there is none."""

    @property
    def name(self) -> str:
        return f"{self.slug}_recency_days"

    @property
    def unit(self) -> Unit:
        return "days"

    @property
    def family(self) -> str:
        return "rhythm" if self.of in _RHYTHMIC else self.selector.family

    @property
    def description(self) -> Text:
        return Text("days since the last of the {noun}", "距最近一次{noun}的天数").format(noun=self.noun)

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (Span(self.of, "last"),))


@dataclass(frozen=True)
class Tenure(SelectedFeature):
    """Days since the first event; NaN if there is none."""

    @property
    def name(self) -> str:
        return f"{self.slug}_tenure_days"

    @property
    def unit(self) -> Unit:
        return "days"

    @property
    def family(self) -> str:
        return "tenure"

    @property
    def description(self) -> Text:
        return Text("days since the first of the {noun}", "距首次{noun}的天数").format(noun=self.noun)

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (Span(self.of, "first"),))


@dataclass(frozen=True)
class Rate(SelectedFeature):
    """Events a month of 30 days since the first one; NaN without any or at the very moment of the first."""

    @property
    def name(self) -> str:
        return f"{self.slug}_rate_per_30d"

    @property
    def unit(self) -> Unit:
        return "number"

    @property
    def description(self) -> Text:
        return Text("{noun} a month since the first", "自首次以来平均每月的{noun}").format(noun=self.count_noun)

    def expression(self) -> Expression:
        return Expression(Op.RATIO, (Cell(self.of, None, unique="order"), Span(self.of, "first")), scale=30.0)


@dataclass(frozen=True)
class Decayed(SelectedFeature):
    """Sum over all history of 2^(-age / half life), of events or of a numeric column. An order's age is that of its
    first known line."""

    half_life_days: float
    column: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.column:
            check_choice(self.column, COLUMNS, Text("numeric column", "数值列"))

    @property
    def name(self) -> str:
        column = f"_{self.column}" if self.column else ""
        return f"{self.slug}{column}_decayed_{window_slug(self.half_life_days)}"

    @property
    def unit(self) -> Unit:
        unit = COLUMN_WORDS[self.column].unit if self.column else "number"
        return cast(Unit, "number" if unit == "count" else unit)

    @property
    def family(self) -> str:
        own = self.selector.family
        return COLUMN_WORDS[self.column].family if self.column and own not in ("service", "delivery") else own

    @property
    def requires(self) -> frozenset[str]:
        return self.selector.requires | (COLUMN_WORDS[self.column].requires if self.column else frozenset())

    @property
    def description(self) -> Text:
        return Text("recent {what}, weight halving every {days:g} days", "近期{what}（权重每 {days:g} 天减半）").format(
            what=self.what, days=self.half_life_days
        )

    @property
    def what(self) -> Text:
        """What is added up, in words."""
        if not self.column:
            return self.count_noun
        words = {"column": COLUMN_WORDS[self.column].noun, "noun": self.noun}
        return Text("{column} of {noun}", "{noun}的{column}").format(**words)

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (Decay(self.of, self.half_life_days, self.column),))


@dataclass(frozen=True)
class GapQuantile(SelectedFeature):
    """A quantile of the gaps, in days, between successive active days (linear interpolation); NaN without a gap.

    `q` is a whole percentage.
    """

    q: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.q <= 1 or abs(self.q * 100 - round(self.q * 100)) > 1e-9:
            raise InputError(
                "a gap quantile is a whole percentage between 0 and 1, such as 0.75; got {q}",
                "间隔分位数须为 0 到 1 之间的整百分数，如 0.75；收到 {q}",
                q=self.q,
            )

    @property
    def _percent(self) -> int:
        return round(self.q * 100)

    @property
    def name(self) -> str:
        return f"{self.slug}_gap_q{self._percent:02d}_days"

    @property
    def unit(self) -> Unit:
        return "days"

    @property
    def family(self) -> str:
        return "rhythm"

    @property
    def description(self) -> Text:
        if self._percent == 50:
            return Text("usual gap in days between {noun}", "{noun}之间通常的间隔天数").format(noun=self.noun)
        return Text(
            "gap in days between {noun} that {percent} % of the gaps do not exceed",
            "{percent}% 的{noun}间隔不超过的天数",
        ).format(noun=self.noun, percent=self._percent)

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (Rhythm(self.of, f"q{self._percent}"),))


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
    "silence_score": ("number", Text("present silence above the average gap between {noun}, in spreads", "当前沉默时长高出平均{noun}间隔多少个标准差")),
    "silence_rank": ("share", Text("share of past gaps between {noun} at least as long as the present silence", "以往{noun}间隔中不短于当前沉默时长的占比")),
    "regularity": ("number", Text("regularity of {noun} (1: like a clock, 0: as if by chance)", "{noun}的规律性（1 像时钟，0 为随机）")),
}  # fmt: skip


@dataclass(frozen=True)
class Gap(SelectedFeature):
    """A statistic of the gaps between successive active days, or of the present silence against them.

    `mean sd variation last longest last_over_mean recent_over_mean silence_over_median silence_over_longest
    silence_score silence_rank regularity`, see `kernels/rhythm.py`; NaN without a gap, spreads without two.
    """

    stat: str

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.stat, tuple(_GAP_STATS), Text("gap statistic", "间隔统计量"))

    @property
    def name(self) -> str:
        return f"{self.slug}_gap_{self.stat}"

    @property
    def unit(self) -> Unit:
        return _GAP_STATS[self.stat][0]

    @property
    def family(self) -> str:
        return "rhythm"

    @property
    def description(self) -> Text:
        return _GAP_STATS[self.stat][1].format(noun=self.noun)

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (Rhythm(self.of, self.stat),))


_LIFE_STATS: dict[str, tuple[Unit, str, Text]] = {
    "repeat_days": ("count", "rhythm", Text("days with {noun} after the first such day", "首日之后有{noun}的天数")),
    "last_age_days": ("days", "rhythm", Text("days from the first to the last day with {noun}", "首次到最近一次{noun}相隔的天数")),
    "age_days": ("days", "tenure", Text("days since the first day with {noun}", "距首个有{noun}之日的天数")),
}  # fmt: skip


@dataclass(frozen=True)
class Lifetime(Feature):
    """What BG/NBD needs, on distinct outcome days: x (repeat_days), t_x (last_age_days), T (age_days); NaN without an
    outcome event. T counts from the beginning of the first day."""

    stat: str

    def __post_init__(self) -> None:
        check_choice(self.stat, tuple(_LIFE_STATS), Text("lifetime statistic", "生命周期统计量"))

    @property
    def name(self) -> str:
        return f"outcome_{self.stat}"

    @property
    def unit(self) -> Unit:
        return _LIFE_STATS[self.stat][0]

    @property
    def family(self) -> str:
        return _LIFE_STATS[self.stat][1]

    @property
    def requires(self) -> frozenset[str]:
        return frozenset()

    @property
    def description(self) -> Text:
        return _LIFE_STATS[self.stat][2].format(noun=parse_selector("outcome").noun(self.outcome))

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

    stat: str

    def __post_init__(self) -> None:
        check_choice(self.stat, CLOCK_STATS, Text("calendar fact", "日历信息"))

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
