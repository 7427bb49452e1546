"""Features of behaviour: how events spread over values, and what visits are like."""

from __future__ import annotations

from dataclasses import dataclass

from ebbtide.core.language import Text
from ebbtide.features.counting import KeyedFeature
from ebbtide.features.feature import Unit, Windowed, check_choice
from ebbtide.features.primitives import VISIT_STATS, Expression, Op, Tally, Visit


@dataclass(frozen=True)
class Entropy(KeyedFeature, Windowed):
    """How evenly events (order lines, not orders) spread over the values of a key column: Shannon entropy in nats,
    0 for a single value; NaN without any."""

    days: float | None = None

    @property
    def stem_slug(self) -> str:
        return f"{self.slug}_{self.column}_entropy"

    @property
    def stem(self) -> Text:
        return self._word("spread of {noun} over {key} (entropy)", "{noun}在各{key}间的分散程度（熵）")

    @property
    def unit(self) -> Unit:
        return "number"

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (Tally(self.column, self.of, self.days, "entropy"),))


@dataclass(frozen=True)
class FavouriteShare(KeyedFeature, Windowed):
    """Share of the events (order lines, not orders) that fall on the commonest value of a key column; NaN without
    any."""

    days: float | None = None

    @property
    def stem_slug(self) -> str:
        return f"{self.slug}_{self.column}_favourite_share"

    @property
    def stem(self) -> Text:
        return self._word("share of the favourite among the {key} of {noun}", "{noun}中最常见{key}的占比")

    @property
    def unit(self) -> Unit:
        return "share"

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (Tally(self.column, self.of, self.days, "favourite"),))


_VISIT_TRAITS: dict[str, tuple[Unit, Text]] = {
    "depth": ("number", Text("average number of events in a visit", "每次访问的平均事件数")),
    "minutes": ("minutes", Text("average length of a visit in minutes", "每次访问的平均时长（分钟）")),
    "bounces": ("share", Text("share of visits with a single event", "仅有一个事件的访问占比")),
}


@dataclass(frozen=True)
class VisitTrait(Windowed):
    """What the visits that ended in the window are like; a visit is a session id, or events within half an hour of
    each other where there is none."""

    stat: str
    days: float | None = None

    def __post_init__(self) -> None:
        check_choice(self.stat, VISIT_STATS, Text("visit trait", "访问特点"))

    @property
    def stem_slug(self) -> str:
        return f"visit_{self.stat}"

    @property
    def stem(self) -> Text:
        return _VISIT_TRAITS[self.stat][1]

    @property
    def unit(self) -> Unit:
        return _VISIT_TRAITS[self.stat][0]

    @property
    def family(self) -> str:
        return "browsing"

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"browsing", "clock"})

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (Visit(self.stat, self.days),))
