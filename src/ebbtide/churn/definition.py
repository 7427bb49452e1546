"""The churn definition: whose silence, of what kind, for how long, counts as churn."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import polars as pl

from ebbtide.churn.event_words import name_events, name_one_event
from ebbtide.core.errors import ConfigError
from ebbtide.core.language import Text
from ebbtide.core.settings import ChurnConfig
from ebbtide.core.windows import DAY_US, days, describe_days, parse_duration
from ebbtide.events.schema import EVENT_TYPES

ANY = ("any",)


@dataclass(frozen=True)
class ChurnDefinition:
    """No `outcome` event in `(as_of + gap, as_of + gap + horizon]`, among users with an `eligible` event in
    `(as_of - eligible_days, as_of]`.

    `outcome` and `eligible` are event types, in the order of the canonical list, or `("any",)` for every event.

    >>> ChurnDefinition().describe().en
    'churned = no order in the 30 days after as_of, among users with an order in the 180 days before'
    """

    outcome: tuple[str, ...] = ("order",)
    horizon_days: float = 30.0
    eligible: tuple[str, ...] = ("order",)
    eligible_days: float = 180.0
    gap_days: float = 0.0

    @classmethod
    def from_config(cls, config: ChurnConfig) -> Self:
        """Read `[churn]`. Raises ConfigError with every unknown event type and every empty window."""
        given = config.outcome if isinstance(config.outcome, str) else ",".join(config.outcome)
        types, _, span = config.eligible.rpartition(" in ")
        problems: list[Text] = []
        definition = cls(
            outcome=_types(given, "churn.outcome", problems),
            horizon_days=_length(config.horizon, "churn.horizon", problems),
            eligible=_types(types, "churn.eligible", problems),
            eligible_days=_length(span, "churn.eligible", problems),
            gap_days=days(parse_duration(config.gap)),
        )
        if problems:
            raise ConfigError(problems)
        return definition

    @property
    def horizon_us(self) -> int:
        """Length of the outcome window in microseconds."""
        return round(self.horizon_days * DAY_US)

    @property
    def eligible_us(self) -> int:
        """Length of the eligibility window in microseconds."""
        return round(self.eligible_days * DAY_US)

    @property
    def gap_us(self) -> int:
        """Pause between as_of and the outcome window in microseconds."""
        return round(self.gap_days * DAY_US)

    @property
    def closing_us(self) -> int:
        """How long after as_of the outcome window closes: gap + horizon, in microseconds."""
        return self.gap_us + self.horizon_us

    @property
    def relevant_types(self) -> tuple[str, ...]:
        """The event types that the definition looks at; `("any",)` if it looks at all."""
        if ANY in (self.outcome, self.eligible):
            return ANY
        return tuple(t for t in EVENT_TYPES if t in self.outcome or t in self.eligible)

    def is_outcome(self, type_: pl.Expr | None = None) -> pl.Expr:
        """Is an event of this type an outcome event? Default: the column `type`."""
        return _is_one_of(type_, self.outcome)

    def is_eligible(self, type_: pl.Expr | None = None) -> pl.Expr:
        """Does an event of this type make its user eligible? Default: the column `type`."""
        return _is_one_of(type_, self.eligible)

    def describe(self) -> Text:
        """The definition in one sentence."""
        after = Text("in the {horizon} after as_of", "as_of 之后 {horizon}内")
        if self.gap_us:
            after = Text("in the {horizon} that begin {gap} after as_of", "as_of 之后第 {gap}起的 {horizon}内")
        template = Text(
            "churned = no {outcome} {after}, among users with {eligible} in the {window} before",
            "流失 = {after}没有{outcome}；考察对象：as_of 之前 {window}内有{eligible}的用户",
        )
        return template.format(
            after=after.format(horizon=name_span(self.horizon_days), gap=name_span(self.gap_days)),
            outcome=name_events(self.outcome),
            eligible=name_one_event(self.eligible),
            window=name_span(self.eligible_days),
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields; `from_json` is the inverse."""
        return {
            "outcome": list(self.outcome),
            "horizon_days": self.horizon_days,
            "eligible": list(self.eligible),
            "eligible_days": self.eligible_days,
            "gap_days": self.gap_days,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        return cls(
            outcome=tuple(data["outcome"]),
            horizon_days=float(data["horizon_days"]),
            eligible=tuple(data["eligible"]),
            eligible_days=float(data["eligible_days"]),
            gap_days=float(data["gap_days"]),
        )

    def config_lines(self) -> dict[str, str]:
        """The `[churn]` settings that give this definition.

        >>> ChurnDefinition(horizon_days=60).config_lines()["eligible"]
        'order in 180d'
        """
        lines = {
            "outcome": ", ".join(self.outcome),
            "horizon": describe_days(self.horizon_days),
            "eligible": f"{', '.join(self.eligible)} in {describe_days(self.eligible_days)}",
        }
        return lines | ({"gap": describe_days(self.gap_days)} if self.gap_us else {})


def name_span(length_days: float) -> Text:
    """A length of time in words: days, or hours below one day.

    >>> name_span(30).en, name_span(1).en, name_span(0.5).zh
    ('30 days', '1 day', '12 小时')
    """
    count, unit = (length_days, "day") if length_days >= 1 or not length_days else (length_days * 24, "hour")
    plural = "" if count == 1 else "s"
    return Text(f"{count:g} {unit}{plural}", f"{count:g} {'天' if unit == 'day' else '小时'}")


def _is_one_of(type_: pl.Expr | None, types: tuple[str, ...]) -> pl.Expr:
    expr = pl.col("type") if type_ is None else type_
    return pl.lit(True) if types == ANY else expr.is_in(types)


def _types(text: str, key: str, problems: list[Text]) -> tuple[str, ...]:
    names = {part.strip() for part in text.split(",") if part.strip()}
    unknown = sorted(names - {*EVENT_TYPES, "any"})
    problems += [_unknown_type(key, name) for name in unknown]
    if not names:
        problems.append(Text(f"{key}: name an event type, or any", f"{key}：请写事件类型或 any"))
    return ANY if "any" in names else tuple(t for t in EVENT_TYPES if t in names)


def _unknown_type(key: str, name: str) -> Text:
    close = difflib.get_close_matches(name, [*EVENT_TYPES, "any"], n=1, cutoff=0.5)
    listed = ", ".join(["any", *EVENT_TYPES])
    return Text(
        f"{key}: `{name}` is no event type{f' (did you mean `{close[0]}`?)' if close else ''}; the types are {listed}",
        f"{key}：`{name}` 不是事件类型{f'（是否想写 `{close[0]}`？）' if close else ''}；可用类型：{listed}",
    )


def _length(text: str, key: str, problems: list[Text]) -> float:
    length = days(parse_duration(text))
    if length <= 0:
        problems.append(Text(f"{key}: must be longer than zero", f"{key}：必须大于零"))
    return length
