"""Features that compare a windowed feature with itself at another time, or with another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from ebbtide.core.errors import InputError
from ebbtide.core.language import Text
from ebbtide.features.feature import Feature, Unit, Windowed
from ebbtide.features.primitives import Cell, Expression, Op, Primitive, Trace
from ebbtide.features.words import window_slug, window_words


@dataclass(frozen=True)
class _OverInner(Feature):
    inner: Windowed
    days: float

    @property
    def family(self) -> str:
        return self.inner.family

    @property
    def requires(self) -> frozenset[str]:
        return self.inner.requires

    def speaking_of(self, outcome: tuple[str, ...]) -> Self:
        return type(self)(self.inner.speaking_of(outcome), self.days, outcome=outcome)


@dataclass(frozen=True)
class Trend(_OverInner):
    """The last `days` days against the `days` before: (new - old) / (new + old), from -1 (all gone) to 1 (all new).

    `inner` is a count or a sum; its own window is not used. NaN where both are nothing. For distinct values the
    previous window holds those that were not met again in the last one.
    """

    def __post_init__(self) -> None:
        if not _is_total(self.inner):
            raise InputError(
                "Trend compares counts and sums; {kind} is neither: use Shift",
                "Trend 只比较计数与总和；{kind} 两者都不是：请用 Shift",
                kind=type(self.inner).__name__,
            )

    @property
    def name(self) -> str:
        return f"{self.inner.stem_slug}_trend_{window_slug(self.days)}"

    @property
    def unit(self) -> Unit:
        return "change"

    @property
    def description(self) -> Text:
        return Text(
            "change of {what}: last {days:g} days against the {days:g} days before",
            "{what}的变化：最近 {days:g} 天与此前 {days:g} 天相比",
        ).format(what=self.inner.stem, days=self.days)

    def expression(self) -> Expression:
        return Expression(Op.TREND, (_one(self.inner.within(self.days)), _one(self.inner.within(2 * self.days))))


@dataclass(frozen=True)
class Shift(_OverInner):
    """A share or a mean in the last `days` days against the same in all history: the difference for shares, the
    quotient for means and ratios. NaN where either is unknown."""

    @property
    def name(self) -> str:
        return f"{self.inner.stem_slug}_shift_{window_slug(self.days)}"

    @property
    def unit(self) -> Unit:
        return "ratio" if self._op == Op.RELATIVE else "change"

    @property
    def description(self) -> Text:
        return Text(
            "{what}: last {days:g} days against the user's own usual", "{what}：最近 {days:g} 天与该用户平时相比"
        ).format(what=self.inner.stem, days=self.days)

    @property
    def _op(self) -> Op:
        op = self.inner.expression().op
        if op == Op.PORTION:
            return Op.PORTION_CONTRAST
        if op == Op.RATIO:
            return Op.RELATIVE if self.inner.unit in ("money", "ratio") else Op.CONTRAST
        return Op.DIFFERENCE

    def expression(self) -> Expression:
        recent, usual = self.inner.within(self.days).expression(), self.inner.within(None).expression()
        return Expression(self._op, (*recent.parts, *usual.parts))


@dataclass(frozen=True)
class Ratio(Windowed):
    """One count or sum for each unit of another over the same window; NaN where the bottom is not positive."""

    top: Windowed
    bottom: Windowed
    days: float | None = None

    def __post_init__(self) -> None:
        if not (_is_total(self.top) and _is_total(self.bottom)):
            raise InputError("Ratio divides counts and sums only", "Ratio 只能对计数与总和相除")

    @property
    def stem_slug(self) -> str:
        return f"{self.top.stem_slug}_per_{self.bottom.stem_slug}"

    @property
    def stem(self) -> Text:
        return Text("{top} for each of the {bottom}", "{top}与{bottom}之比").format(
            top=self.top.stem, bottom=self.bottom.stem
        )

    @property
    def description(self) -> Text:
        return window_words(self.stem, self.days)

    @property
    def unit(self) -> Unit:
        return "money" if self.top.unit == "money" else "ratio"

    @property
    def family(self) -> str:
        return self.top.family

    @property
    def requires(self) -> frozenset[str]:
        return self.top.requires | self.bottom.requires

    def speaking_of(self, outcome: tuple[str, ...]) -> Self:
        top, bottom = self.top.speaking_of(outcome), self.bottom.speaking_of(outcome)
        return type(self)(top, bottom, self.days, outcome=outcome)

    def expression(self) -> Expression:
        return Expression(Op.RATIO, (_one(self.top.within(self.days)), _one(self.bottom.within(self.days))))


def _is_total(feature: Windowed) -> bool:
    expression = feature.expression()
    return expression.op == Op.VALUE and isinstance(expression.parts[0], Cell | Trace)


def _one(feature: Windowed) -> Primitive:
    return feature.expression().parts[0]
