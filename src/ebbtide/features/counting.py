"""Features that count: events, days, distinct values, blocks of time, shares of counts."""

from __future__ import annotations

from dataclasses import dataclass

from ebbtide.core.language import Text
from ebbtide.features.feature import SelectedFeature, Unit, Windowed, check_choice
from ebbtide.features.primitives import KEYS, Cell, Expression, Op, Span, Trace
from ebbtide.features.selectors import Selector, parse_selector
from ebbtide.features.words import KEY_WORDS, window_slug


@dataclass(frozen=True)
class Count(SelectedFeature, Windowed):
    """Number of events; orders count once, however many lines they have.

    >>> Count("order", days=30).name, Count("order", days=30).description.zh
    ('order_count_30d', '最近 30 天的订单数')
    """

    days: float | None = None

    @property
    def stem_slug(self) -> str:
        return f"{self.slug}_count"

    @property
    def stem(self) -> Text:
        return self.count_noun

    @property
    def unit(self) -> Unit:
        return "count"

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (Cell(self.of, self.days, unique="order"),))


@dataclass(frozen=True)
class ActiveDays(SelectedFeature, Windowed):
    """Number of distinct UTC days with an event."""

    days: float | None = None

    @property
    def stem_slug(self) -> str:
        return f"{self.slug}_active_days"

    @property
    def stem(self) -> Text:
        return Text("days with {noun}", "有{noun}的天数").format(noun=self.noun)

    @property
    def unit(self) -> Unit:
        return "days"

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (Cell(self.of, self.days, unique="day"),))


@dataclass(frozen=True)
class KeyedFeature(SelectedFeature):
    """A feature of the values of one key column."""

    column: str

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.column, KEYS, Text("key column", "标识列"))

    @property
    def family(self) -> str:
        return KEY_WORDS[self.column].family

    @property
    def requires(self) -> frozenset[str]:
        return self.selector.requires | KEY_WORDS[self.column].requires

    def _word(self, en: str, zh: str) -> Text:
        return Text(en, zh).format(key=KEY_WORDS[self.column].noun, noun=self.noun)


@dataclass(frozen=True)
class Distinct(KeyedFeature, Windowed):
    """Number of distinct values of a key column, for example items viewed. Null is no value.

    >>> Distinct("product_view", "item_id", days=7).description.en
    'different items among product views in the last 7 days'
    """

    days: float | None = None

    @property
    def stem_slug(self) -> str:
        return f"{self.slug}_distinct_{self.column}"

    @property
    def stem(self) -> Text:
        return self._word("different {key} among {noun}", "{noun}所涉不同{key}的数量")

    @property
    def unit(self) -> Unit:
        return "count"

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (Cell(self.of, self.days, unique=self.column),))


@dataclass(frozen=True)
class Novelty(KeyedFeature, Windowed):
    """Share of the distinct values in the window that the user had never met before it; NaN if there is no value."""

    days: float | None = None

    @property
    def stem_slug(self) -> str:
        return f"{self.slug}_new_{self.column}_share"

    @property
    def stem(self) -> Text:
        return self._word("share of {key} new to the user among {noun}", "{noun}中对该用户而言是新{key}的占比")

    @property
    def unit(self) -> Unit:
        return "share"

    def expression(self) -> Expression:
        met = Cell(self.of, self.days, unique=self.column)
        return Expression(Op.RATIO, (Trace(self.of, self.column, self.days), met))


@dataclass(frozen=True)
class Share(SelectedFeature, Windowed):
    """Events of `of` for each event of `among`: a share where `of` is part of `among`, else a ratio.

    >>> Share("order.coupon", "order", 90).name, Share("order", "product_view", 90).name
    ('order_coupon_share_of_order_90d', 'order_per_product_view_90d')
    """

    among: str
    days: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_selector(self.among)

    @property
    def bottom(self) -> Selector:
        """The parsed `among`."""
        return parse_selector(self.among)

    @property
    def is_part(self) -> bool:
        """Whether every event of `of` is one of `among`."""
        below = self.bottom
        return below.condition == "" and (below.types == ("any",) or set(self.selector.types) <= set(below.types))

    @property
    def stem_slug(self) -> str:
        return f"{self.slug}_{'share_of' if self.is_part else 'per'}_{self.bottom.slug}"

    @property
    def stem(self) -> Text:
        words = Text("{of} for each of the {among}", "{of}与{among}之比")
        if self.is_part:
            words = Text("share of {of} among {among}", "{of}在{among}中的占比")
        return words.format(of=self.noun, among=self.bottom.noun(self.outcome))

    @property
    def unit(self) -> Unit:
        return "share" if self.is_part else "ratio"

    @property
    def family(self) -> str:
        """Of what is divided, unless that is an order: an order for each view tells of viewing."""
        own, other = self.selector.family, self.bottom.family
        return other if own == "activity" else own

    @property
    def requires(self) -> frozenset[str]:
        return self.selector.requires | self.bottom.requires

    def expression(self) -> Expression:
        parts = (Cell(self.of, self.days, unique="order"), Cell(self.among, self.days, unique="order"))
        return Expression(Op.RATIO, parts)


@dataclass(frozen=True)
class Followed(SelectedFeature, Windowed):
    """Share of the events that an event of `by` follows: later, and at most `within_days` later.

    Events of the window that are younger than `within_days` count as well, with what has followed so far.
    """

    by: str
    within_days: float
    days: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_selector(self.by)

    @property
    def stem_slug(self) -> str:
        return f"{self.slug}_followed_by_{parse_selector(self.by).slug}_in_{_span_slug(self.within_days)}"

    @property
    def stem(self) -> Text:
        return Text("share of {noun} followed by {by} within {en}", "{noun}之后 {zh}内有{by}的占比").format(
            noun=self.noun, by=parse_selector(self.by).noun(self.outcome), **_span_words(self.within_days)
        )

    @property
    def unit(self) -> Unit:
        return "share"

    @property
    def requires(self) -> frozenset[str]:
        clock = {"clock"} if self.within_days < 1 else set()
        return self.selector.requires | parse_selector(self.by).requires | clock

    def expression(self) -> Expression:
        top = Cell(self.of, self.days, by=self.by, within_days=self.within_days)
        return Expression(Op.RATIO, (top, Cell(self.of, self.days)))


@dataclass(frozen=True)
class LagBlock(SelectedFeature):
    """Number of events in one block of the past: block 0 is the last `days` days, block 1 the `days` before, ..."""

    block: int
    days: float

    @property
    def name(self) -> str:
        return f"{self.slug}_count_block{self.block}_{window_slug(self.days)}"

    @property
    def unit(self) -> Unit:
        return "count"

    @property
    def description(self) -> Text:
        return Text("{noun} between {far:g} and {near:g} days ago", "{far:g} 天前至 {near:g} 天前的{noun}").format(
            noun=self.count_noun, near=self.block * self.days, far=(self.block + 1) * self.days
        )

    def expression(self) -> Expression:
        far = Cell(self.of, (self.block + 1) * self.days, unique="order")
        if self.block == 0:
            return Expression(Op.VALUE, (far,))
        return Expression(Op.DIFFERENCE, (far, Cell(self.of, self.block * self.days, unique="order")))


@dataclass(frozen=True)
class ActiveBlocks(SelectedFeature):
    """Share of the past blocks of `days` days, counted back from as_of to the first event, that hold an event."""

    days: float

    @property
    def name(self) -> str:
        return f"{self.slug}_active_blocks_{window_slug(self.days)}"

    @property
    def unit(self) -> Unit:
        return "share"

    @property
    def family(self) -> str:
        return "rhythm"

    @property
    def description(self) -> Text:
        return Text(
            "share of past {days:g}-day periods with {noun}", "以往每 {days:g} 天为一段、有{noun}的时段占比"
        ).format(noun=self.noun, days=self.days)

    def expression(self) -> Expression:
        blocks = Cell(self.of, None, unique=f"block:{self.days:g}")
        return Expression(Op.BLOCKS, (blocks, Span(self.of, "first")), scale=self.days)


def _span_slug(days: float) -> str:
    return window_slug(days) if days >= 1 else f"{round(days * 24):d}h"


def _span_words(days: float) -> dict[str, str]:
    if days < 1:
        hours = round(days * 24)
        return {"en": f"{hours} hour{'' if hours == 1 else 's'}", "zh": f"{hours} 小时"}
    return {"en": f"{days:g} day{'' if days == 1 else 's'}", "zh": f"{days:g} 天"}
