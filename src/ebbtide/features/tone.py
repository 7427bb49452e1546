"""How a customer's own texts sound: reviews, support contacts, searches that complain."""

from __future__ import annotations

from dataclasses import dataclass

from ebbtide.core.errors import InputError
from ebbtide.core.language import Text
from ebbtide.features.feature import Feature, Unit, Windowed, check_choice
from ebbtide.features.primitives import MOST_LATEST, Cell, Expression, Latest, Op

_COLUMN = "sentiment"
_STATS = ("mean", "lowest")
_LAST_WORDS = {
    "mean": Text("average tone of the last {n} reviews and messages", "最近 {n} 条评价与留言的平均语气"),
    "lowest": Text("lowest tone of the last {n} reviews and messages", "最近 {n} 条评价与留言中最差的语气"),
}
_ONE = Text("tone of the latest review or message", "最近一条评价或留言的语气")


@dataclass(frozen=True)
class Tone(Windowed):
    """The average sentiment of the texts in a window, from -1 (blame) to 1 (praise); NaN without any.

    >>> Tone(90).description.en
    'average tone of reviews and messages in the last 90 days'
    """

    days: float | None = None

    @property
    def stem_slug(self) -> str:
        return "tone"

    @property
    def stem(self) -> Text:
        return Text("average tone of reviews and messages", "评价与留言的平均语气")

    @property
    def unit(self) -> Unit:
        return "tone"

    @property
    def family(self) -> str:
        return "sentiment"

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"feedback"})

    def expression(self) -> Expression:
        parts = (Cell("any", self.days, weight=_COLUMN), Cell("any", self.days, weight=f"known:{_COLUMN}"))
        return Expression(Op.RATIO, parts)


@dataclass(frozen=True)
class LastTone(Feature):
    """The `mean` or the `lowest` sentiment of the latest `texts` texts (fewer where there are fewer); NaN without any."""

    stat: str = "mean"
    texts: int = 1

    def __post_init__(self) -> None:
        check_choice(self.stat, _STATS, Text("statistic of the tone", "语气统计量"))
        if not 1 <= self.texts <= MOST_LATEST:
            raise InputError(
                "LastTone reads 1 to {most} texts, not {texts}",
                "LastTone 读取 1 至 {most} 条文本，而非 {texts}",
                most=MOST_LATEST,
                texts=self.texts,
            )

    @property
    def name(self) -> str:
        return "tone_latest" if self.texts == 1 else f"tone_{self.stat}_of_last_{self.texts}"

    @property
    def unit(self) -> Unit:
        return "tone"

    @property
    def family(self) -> str:
        return "sentiment"

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"feedback"})

    @property
    def description(self) -> Text:
        return _ONE if self.texts == 1 else _LAST_WORDS[self.stat].format(n=self.texts)

    def expression(self) -> Expression:
        return Expression(Op.VALUE, (Latest(_COLUMN, "any", self.texts, self.stat == "lowest"),))
