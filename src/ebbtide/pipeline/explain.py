"""`explain USER`: one user's risk, reasons and history, at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from ebbtide.churn.event_words import EVENT_WORDS
from ebbtide.core.config import Config
from ebbtide.core.language import Language, Text
from ebbtide.core.sections import Readable, Section
from ebbtide.explain.history import History, history_of
from ebbtide.explain.stages import BAND_WORDS
from ebbtide.pipeline.dataset import known_events, unknown_user
from ebbtide.pipeline.listing import reason_lines, signed
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.score import score_shard
from ebbtide.pipeline.train import newest_moment


@dataclass(frozen=True)
class Explanation(Readable):
    """One user at one moment. `score` is the user's row of the list; None if the user is not eligible then."""

    user_id: str
    as_of: datetime
    score: dict[str, Any] | None
    history: History

    def sections(self) -> tuple[Section, ...]:
        """The risk with its reasons, then the newest events."""
        known = Section(lines=(_NO_SCORE.format(user=self.user_id, as_of=self.as_of),))
        rows = tuple(
            (f"{row['occurred_at']:%Y-%m-%d %H:%M}", EVENT_WORDS[row["type"]], row["lines"], row["value"])
            for row in self.history.recent.iter_rows(named=True)
        )
        return (_risk(self, self.score) if self.score else known, Section(_NEWEST, columns=_EVENTS, rows=rows))

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        row = self.score and {**self.score, "as_of": self.as_of.isoformat()}
        return {
            "user_id": self.user_id,
            "as_of": self.as_of.isoformat(),
            "score": row,
            "history": self.history.to_json(),
        }


def explain(
    config: Config,
    root: Path,
    user_id: str,
    *,
    as_of: datetime | None = None,
    bundle: str | None = None,
    language: Language | None = None,
) -> Explanation:
    """Explain one user at `as_of` (default: the newest event).

    Raises InputError if no event of the user was known then, MissingBundleError without a trained bundle.
    """
    places = Places(root)
    loaded, lake = places.shelf().load(bundle), places.lake()
    as_of = as_of or newest_moment(lake)
    events = known_events(lake.read_user(user_id), as_of)
    if not len(events):
        raise unknown_user(as_of)
    scored = score_shard(events, as_of, loaded, reasons="all", language=language or config.shop.language)
    return Explanation(user_id, as_of, _row(scored), history_of(events, as_of=as_of))


_RISK = Text(
    "{user} as of {as_of:%Y-%m-%d %H:%M}: churn probability {probability:.1%}, {band} risk",
    "{user}，截至 {as_of:%Y-%m-%d %H:%M}：流失概率 {probability:.1%}，{band}风险",
)
_EXPECTED = Text("expected orders in the horizon: {orders:.2f}", "预测期内预计订单数：{orders:.2f}")
_VALUE = Text("value at risk: {value:,.0f}", "面临流失的价值：{value:,.0f}")
_NO_SCORE = Text(
    "{user} as of {as_of:%Y-%m-%d %H:%M}: no score, because there was no qualifying event before that moment",
    "{user}，截至 {as_of:%Y-%m-%d %H:%M}：没有评分，因为此前没有合格事件",
)
_NEWEST = Text("Newest events", "最近事件")
_EVENTS = (Text("when (UTC)", "时间（UTC）"), Text("what", "事件"), Text("lines", "行数"), Text("value", "金额"))


def _risk(found: Explanation, score: Mapping[str, Any]) -> Section:
    facts = {"probability": score["churn_probability"], "band": BAND_WORDS[score["band"]]}
    lines = [_RISK.format(user=found.user_id, as_of=found.as_of, **facts)]
    if score["expected_orders"] is not None:
        lines.append(_EXPECTED.format(orders=score["expected_orders"]))
    if score["value_at_risk"] is not None:
        lines.append(_VALUE.format(value=score["value_at_risk"]))
    reasons = [signed(line) for line in reason_lines(score["reasons"] or [])]
    return Section(lines=(*lines, *(Text(reason, reason) for reason in reasons)))


def _row(scored: pl.DataFrame) -> dict[str, Any] | None:
    rows = scored.drop("as_of").to_dicts()
    return rows[0] if rows else None
