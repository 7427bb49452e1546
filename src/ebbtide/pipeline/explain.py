"""`explain USER`: one user's risk, reasons and history, at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from ebbtide.core.config import Config
from ebbtide.core.errors import InputError
from ebbtide.core.language import Language
from ebbtide.explain.history import History, history_of
from ebbtide.pipeline.dataset import known_events
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.score import score_shard
from ebbtide.pipeline.train import newest_moment


@dataclass(frozen=True)
class Explanation:
    """One user at one moment. `score` is the user's row of the list; None if the user is not eligible then."""

    user_id: str
    as_of: datetime
    score: dict[str, Any] | None
    history: History

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
        raise InputError(
            "no event of this user was known at {as_of:%Y-%m-%d %H:%M} UTC: check the id (text, with leading zeros) "
            "and --as-of",
            "截至 {as_of:%Y-%m-%d %H:%M} UTC 没有该用户的事件：请检查 id（文本，含前导零）与 --as-of",
            as_of=as_of,
        )
    scored = score_shard(events, as_of, loaded, reasons="all", language=language or config.shop.language)
    return Explanation(user_id, as_of, _row(scored), history_of(events, as_of=as_of))


def _row(scored: pl.DataFrame) -> dict[str, Any] | None:
    rows = scored.drop("as_of").to_dicts()
    return rows[0] if rows else None
