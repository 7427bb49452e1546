"""A fitted recommender: frozen item tables and an order of candidates; users come with their own events.

What a user is shown follows from the user's events, the moment, and what is saved here, so that a list asked for one
user at real time equals the user's list in the batch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.actions.recommend.blend import Blend, Choice, fit_blend
from ebbtide.actions.recommend.evidence import Candidates, candidates_of
from ebbtide.actions.recommend.factors import AlsConfig
from ebbtide.actions.recommend.favourites import is_overdue, leaning
from ebbtide.actions.recommend.interactions import BOUGHT, Interactions, meetings_of
from ebbtide.actions.recommend.lesson import Lesson, ranked
from ebbtide.actions.recommend.tables import ItemTables
from ebbtide.actions.recommend.teaching import Read, blocks, earlier_moments, known_at, lesson_of, wanted_after
from ebbtide.actions.recommend.why import Why, why
from ebbtide.core.errors import DataError
from ebbtide.core.language import Text
from ebbtide.core.outreach_settings import RecommendConfig
from ebbtide.core.progress import Progress, silent
from ebbtide.core.windows import from_us, parse_duration, to_us

LIST_COLUMNS = {
    "user_id": pl.String(), "rank": pl.Int32(), "item_id": pl.String(), "score": pl.Float64(), "why": pl.String(),
    "days": pl.Float64(), "other": pl.String(), "leaning": pl.Boolean(),
}  # fmt: skip
_LEARNING = Text("learning what to recommend", "学习推荐")
_REPEATS_FROM = 0.01
_OWN_FIRST = {"bought": 1.0, "viewed": 0.5}


@dataclass(frozen=True)
class Recommender:
    """`repeats`: whether what a user bought before may be shown; `rest_days`: not so soon after. `until_us`: what was
    known then is in the tables. blend None: own purchases, then popularity."""

    tables: ItemTables
    blend: Blend | None
    choice: Choice
    repeats: bool
    rest_days: float
    until_us: int

    @classmethod
    def fit(
        cls,
        read: Read,
        as_of: datetime,
        settings: RecommendConfig,
        *,
        seed: int,
        with_als: bool = True,
        progress: Progress = silent,
    ) -> Recommender:
        """Fit on what was known at `as_of`; the order is learnt at earlier moments whose windows had closed by then.

        Raises DataError if no purchase of an item was known.
        """
        als = AlsConfig() if with_als else None
        now = known_at(read, as_of, als, seed=seed)
        if not now.tables.sold.any():
            raise DataError(
                "no purchase with an item_id was known at {as_of:%Y-%m-%d}: map item_id of order events, or choose a later moment",
                "截至 {as_of:%Y-%m-%d} 没有带 item_id 的购买：请映射订单事件的 item_id，或选择更晚的时点",
                as_of=as_of,
            )
        repeats, lessons = _lessons(read, as_of, now.meetings, als, settings, seed, progress)
        blend, choice = fit_blend(lessons, seed=seed)
        return cls(now.tables, blend, choice, repeats, settings.rest_days, to_us(as_of))

    def meetings(self, shards: Iterable[pl.DataFrame], as_of: datetime) -> Interactions:
        """What some users (whole users) did with the items known here."""
        return Interactions.of(meetings_of(shards, as_of), self.tables.items, as_of)

    def candidates(self, block: Interactions, allowed: NDArray[np.bool_]) -> Candidates:
        """The candidates that the rules let through."""
        found = candidates_of(block, self.tables, allowed)
        bought, days = found.column("bought") > 0, found.column("bought_days")
        return found.take(~bought | (self.repeats & ~(days < self.rest_days)))

    def scores(self, found: Candidates) -> NDArray[np.float64]:
        """The order of candidates; without lessons what the user bought or looked at most, then what sells."""
        if self.blend is not None:
            return self.blend.scores(found)
        own = sum(weight * found.column(name).astype(np.float64) for name, weight in _OWN_FIRST.items())
        return np.asarray(own + found.column("sold_30d") / 100.0, np.float64)

    def lists(
        self, known: Interactions, *, count: int = 10, allowed: NDArray[np.bool_] | None = None,
        at_risk: pl.Series | None = None, asked: pl.Series | None = None,
    ) -> pl.DataFrame:  # fmt: skip
        """The lists of all users of `known`, `count` items each: the columns `LIST_COLUMNS`, by user and rank.

        `allowed` (I,): the items that may be shown. `at_risk`: the ids of users whose lists lean towards former
        favourites; by default those who are overdue. `asked`: the ids of whom `at_risk` speaks, by default all; of the
        others the overdue ones lean. A list is shorter only if there are not enough items.
        """
        may = np.ones(len(self.tables), np.bool_) if allowed is None else allowed
        parts = [self._block(block, count, may, _leans(block, at_risk, asked)) for block in blocks(known)]
        return pl.concat([pl.DataFrame(schema=LIST_COLUMNS), *parts])

    def popular(self, count: int, allowed: NDArray[np.bool_] | None = None) -> pl.DataFrame:
        """The list of somebody of whom nothing is known: what sells now."""
        may = np.ones(len(self.tables), np.bool_) if allowed is None else allowed
        sold = np.where(may, self.tables.sold[1], -1.0)
        best = np.lexsort((np.arange(len(sold)), -sold))[:count]
        best = best[sold[best] > 0]
        return _frame(
            [""] * len(best), best, sold[best], [Why("popular")] * len(best), np.zeros(len(best), np.bool_), self.tables
        )

    def _block(self, block: Interactions, count: int, allowed: NDArray[np.bool_], leans: _Leans) -> pl.DataFrame:
        found = self.candidates(block, allowed)
        told, at_risk = (known[found.user] for known in leans)
        whom = np.where(told, at_risk, is_overdue(found))
        score = leaning(found, self.scores(found), self.choice.loved.weight, whom)
        order = ranked(found, score)
        user = found.user[order]
        kept = order[np.arange(len(user)) - np.searchsorted(user, user) < count]
        best = replace(found, user=found.user[kept], item=found.item[kept], X=found.X[kept])
        leaned = whom[kept] & (self.choice.loved.weight > 0)
        return _frame(
            block.users.gather(best.user).to_list(),
            best.item,
            score[kept],
            why(best, block, self.tables),
            leaned,
            self.tables,
        )


_Leans = tuple[NDArray[np.bool_], NDArray[np.bool_]]


def _leans(block: Interactions, at_risk: pl.Series | None, asked: pl.Series | None) -> _Leans:
    """Of whom the risk is known, and who is at risk, each (U,)."""
    if at_risk is None:
        return np.zeros(len(block.users), np.bool_), np.zeros(len(block.users), np.bool_)
    told = np.ones(len(block.users), np.bool_) if asked is None else block.users.is_in(asked.implode()).to_numpy()
    return told, block.users.is_in(at_risk.implode()).to_numpy()


def _frame(
    users: list[str], item: NDArray[np.int64], score: NDArray[np.float64], reasons: list[Why],
    leaned: NDArray[np.bool_], tables: ItemTables,
) -> pl.DataFrame:  # fmt: skip
    rank = pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("user_id")
    told: dict[str, Any] = {
        "user_id": users,
        "item_id": tables.items.gather(item),
        "score": score,
        "why": [r.code for r in reasons],
        "days": [r.days for r in reasons],
        "other": [r.other for r in reasons],
        "leaning": leaned,
    }
    schema = {name: kind for name, kind in LIST_COLUMNS.items() if name != "rank"}
    return pl.DataFrame(told, schema=schema).with_columns(rank=rank).select(LIST_COLUMNS.keys())


def _lessons(
    read: Read,
    as_of: datetime,
    known: Interactions,
    als: AlsConfig | None,
    settings: RecommendConfig,
    seed: int,
    progress: Progress,
) -> tuple[bool, list[Lesson]]:
    """Whether what was bought before is shown, as the newest closed window says or the settings do; and the lessons."""
    window = parse_duration(settings.window)
    moments = earlier_moments(from_us(int(known.at_us.min())), as_of, window, settings.lessons)
    repeats, lessons = settings.bought_before != "hide", []
    for done, moment in enumerate(moments):
        progress(_LEARNING, done, len(moments))
        then = known_at(read, moment, als, seed=seed)
        start, wanted = wanted_after(read, moment, moment + window, then.meetings)
        if settings.bought_before == "auto" and done == 0:
            repeats = _again_share(then.meetings, start, wanted) >= _REPEATS_FROM
        lessons.append(lesson_of(then, start, wanted, repeats=repeats))
    progress(_LEARNING, len(moments), len(moments))
    return repeats, lessons


def _again_share(known: Interactions, start: NDArray[np.int64], wanted: NDArray[np.int64]) -> float:
    """Which share of what was bought in the window its buyer had bought before."""
    if not len(wanted):
        return 1.0
    items = max(len(known.items), int(wanted.max()) + 1)
    bought = known.kind == BOUGHT
    before = known.user[bought] * items + known.item[bought]
    return float(np.isin(np.repeat(np.arange(len(known)), np.diff(start)) * items + wanted, before).mean())
