"""A shop in service: its model, everybody's history and the clock, and the two questions asked of them.

Scores come from `score_shard`, the function of the batch: the same events at the same moment give the same answer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.config import Config
from ebbtide.core.language import Language
from ebbtide.core.windows import from_us, to_us
from ebbtide.explain.reference import Reference
from ebbtide.features.encode import EncodedShard
from ebbtide.models.bundle import Bundle
from ebbtide.pipeline.dataset import known_events
from ebbtide.pipeline.encoder import Encoder
from ebbtide.pipeline.fit_for_service import check_fits
from ebbtide.pipeline.histories import Histories
from ebbtide.pipeline.places import Places
from ebbtide.pipeline.profiles import reference_of
from ebbtide.pipeline.score import ReasonsFor, score_members, score_shard
from ebbtide.pipeline.scored_rows import scored_rows
from ebbtide.pipeline.set_aside import Cause, Outcome, SetAside
from ebbtide.store.database import Database
from ebbtide.store.inbox import Cursors, Inbox
from ebbtide.store.scores import Scores, StoredScore
from ebbtide.store.shops import Shops

Clock = Callable[[], datetime]
EVERYBODY = "everybody"
"""Name of the cursor that holds the moment of the last full run."""


def system_clock() -> datetime:
    """The machine's time, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Served:
    """A model in service, and the cohort's probabilities under it, ascending, for percentiles (empty: none yet).

    `counted_us`: the moment of the last full run when the cohort was read, 0 before there was one.
    """

    bundle: Bundle
    cohort: NDArray[np.float64]
    counted_us: int = 0

    @cached_property
    def encoder(self) -> Encoder:
        """How histories are encoded for the model."""
        return Encoder.of(self.bundle)

    @cached_property
    def reference(self) -> Reference | None:
        """What profiles compare users with; None for a model that was trained before there were profiles."""
        return reference_of(self.bundle)

    def percentiles(self, probability: NDArray[np.float64]) -> list[float | None]:
        """Share of the cohort at the same or a lower probability, in %; None before the cohort was scored."""
        if not len(self.cohort):
            return [None] * len(probability)
        place = np.searchsorted(self.cohort, probability, side="right")
        return [float(100.0 * p / len(self.cohort)) for p in place]


class LiveShop:
    """One shop in service. Safe to use from several threads; the model changes between two calls, never within one."""

    def __init__(
        self, config: Config, root: Path, shop_id: str, database: Database, *, clock: Clock = system_clock,
        memory_bytes: int = 2 << 30, histories: Histories | None = None,
    ) -> None:  # fmt: skip
        self.config, self.root, self.shop_id, self.database = config, root, shop_id, database
        self.inbox, self.scores, self.shops = Inbox(database), Scores(database), Shops(database)
        self.shops.register(shop_id)
        self.histories = histories or Histories(self.inbox, shop_id, root, config.lake, memory_bytes=memory_bytes)
        self.inbox.continue_behind(self.histories.landed)
        self.aside = SetAside()
        self._clock, self._lock = clock, Lock()
        self._served: Served | None = None

    @property
    def served(self) -> Served:
        """The model in service. Raises MissingBundleError if there is none."""
        if self._served is None:
            self.serve(Places(self.root).shelf().load())
        assert self._served is not None
        return self._served

    @property
    def serving(self) -> str | None:
        """The id of the model in service, None before there is one."""
        return self._served.bundle.id if self._served else None

    def serve(self, bundle: Bundle) -> None:
        """Put a model in service, for every question from now on.

        Raises MissingBundleError if what the shop knows of its users cannot fill the model; then nothing changes.
        """
        if self._served is None or self._served.bundle is not bundle:
            check_fits(bundle, self.root)
        with self._lock:
            counted = self.scored_everybody_us()
            self._served = Served(bundle, self._cohort(bundle.id), counted)

    def serve_promoted(self) -> bool:
        """Put the promoted model in service if it is another one; says whether it was. The old one serves meanwhile.

        If it is the same one, the cohort is read anew after a full run, whichever process did it.
        Raises MissingBundleError if there is none, or it is damaged or cannot be filled; then nothing changes.
        """
        shelf, served = Places(self.root).shelf(), self._served
        if served is not None and shelf.current_id() == served.bundle.id:
            if self.scored_everybody_us() != served.counted_us:
                self.serve(served.bundle)
            return False
        self.serve(shelf.load())
        return True

    def has_promoted(self) -> bool:
        """Whether a model was promoted, fit or not."""
        return bool(Places(self.root).shelf().history())

    def scored_everybody_us(self) -> int:
        """The moment of the last full run, 0 if there was none."""
        return Cursors(self.database).position(self.shop_id, EVERYBODY)

    def now(self) -> datetime:
        """The moment of knowledge now: the clock, or the latest moment given to an event if the clock ran back."""
        return max(self._clock(), from_us(self.shops.clock_us(self.shop_id)))

    def score(
        self, users: Sequence[str], *, as_of: datetime | None = None, reasons: ReasonsFor = "all",
        language: Language | None = None,
    ) -> pl.DataFrame:  # fmt: skip
        """Score users now, from all that is known of them: the columns of `score_shard`, only who is eligible."""
        at = as_of or self.now()
        found = [
            self.score_events(events, as_of=at, reasons=reasons, language=language)
            for events in self.histories.in_parts(users)
        ]
        return found[0] if len(found) == 1 else pl.concat(found).sort("user_id")

    def score_events(
        self, events: pl.DataFrame, *, as_of: datetime, reasons: ReasonsFor, language: Language | None = None
    ) -> pl.DataFrame:
        """Score the users of these events, which must be all that is known of them."""
        words = language or self.config.shop.language
        return score_shard(events, as_of, self.served.bundle, reasons=reasons, language=words)

    def known_of(self, users: Sequence[str], as_of: datetime, served: Served | None = None) -> EncodedShard:
        """What was known of these users, encoded for the model in service; nobody is in it of whom nothing was."""
        encoder = (served or self.served).encoder
        if len(users) == 1:
            shard = self.histories.of_user(users[0], encoder)
            at_us = to_us(as_of)
            if shard.time.max(initial=0) <= at_us and shard.known.max(initial=0) <= at_us:
                return shard
            return encoder.encode(known_events(shard.events, as_of))
        return encoder.encode(known_events(self.histories.of_users(users), as_of))

    def rows_of(
        self, known: EncodedShard, *, as_of: datetime, reasons: bool, language: Language
    ) -> list[dict[str, Any]]:
        """Scores of the users of `known_of` as plain rows, each with its `percentile`: for answers about a few users."""
        served = self.served
        if not served.encoder.has_made(known):  # another model has come into service in between
            known = served.encoder.encode(known.events)
        scored = score_members(known.events, as_of, served.bundle, shard=known)
        rows = scored_rows(scored, served.bundle, reasons=reasons, language=language)
        for row, percentile in zip(rows, served.percentiles(scored.probability), strict=True):
            row["percentile"] = percentile
        return rows

    def rows_apart(
        self,
        users: Sequence[str],
        *,
        as_of: datetime,
        reasons: bool,
        language: Language,
        known: EncodedShard | None = None,
    ) -> tuple[list[dict[str, Any]], Mapping[str, Cause]]:
        """`rows_of` these users in no order, and by user why some cannot be scored, who are set aside.

        `known`: what `known_of` all of them gives, if it has been asked already.
        """
        asked = list(dict.fromkeys(users))

        def score(part: Sequence[str]) -> list[dict[str, Any]]:
            shard = known if known is not None and part == asked else self.known_of(part, as_of)
            return self.rows_of(shard, as_of=as_of, reasons=reasons, language=language)

        parts, aside = self.aside.apart(asked, score, _look)
        return [row for part in parts for row in part], aside

    def score_apart(self, users: Sequence[str], *, as_of: datetime, reasons: ReasonsFor) -> Outcome:
        """`score`, also if some of these users cannot be scored: they are set aside."""
        return self.aside.score(users, lambda part: self.score(part, as_of=as_of, reasons=reasons))

    def score_everybody(self, as_of: datetime) -> Iterator[Outcome]:
        """Score all eligible users, bucket by bucket, without reasons; as `score_apart` does."""
        for events in self.histories.everybody():
            users = events["user_id"].unique(maintain_order=True).to_list()

            def score(part: Sequence[str], events: pl.DataFrame = events, whole: int = len(users)) -> pl.DataFrame:
                if len(part) == whole:
                    return self.score_events(events, as_of=as_of, reasons="none")
                return self.score(part, as_of=as_of, reasons="none")

            yield self.aside.score(users, score)

    def _cohort(self, model: str) -> NDArray[np.float64]:
        return np.sort(self.scores.probabilities(self.shop_id, model))


def _look(rows: Sequence[Mapping[str, Any]]) -> tuple[str | None, bool]:
    somebody = rows[0]["user_id"] if rows else None
    return somebody, all(math.isfinite(row["churn_probability"]) for row in rows)


def stored_scores(scored: pl.DataFrame, served: Served) -> list[StoredScore]:
    """Rows of `score_shard` as they are stored."""
    percentiles = served.percentiles(scored["churn_probability"].to_numpy())
    columns = ("user_id", "churn_probability", "band", "expected_orders", "value_at_risk", "reasons", "model", "as_of")
    return [
        StoredScore(
            user_id=user, as_of_us=to_us(as_of), churn_probability=p, percentile=percentile, band=band,
            expected_orders=orders, value_at_risk=worth, model=model,
            reasons=None if reasons is None else json.dumps(reasons, ensure_ascii=False),
        )
        for (user, p, band, orders, worth, reasons, model, as_of), percentile in zip(
            scored.select(columns).iter_rows(), percentiles, strict=True
        )
    ]  # fmt: skip
