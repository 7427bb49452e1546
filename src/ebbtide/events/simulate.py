"""A shop that never was: an event log with its hidden truth, for demos, tests and benchmarks.

The same config gives the same log, whatever the chunk size: every draw belongs to one user.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.errors import InputError
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.core.windows import DAY_US, to_us
from ebbtide.events.simulator.aftermath import aftermath_rows
from ebbtide.events.simulator.buyers import make_buyers
from ebbtide.events.simulator.files import GrowingTables, SimulationFiles, raw_events, workspace_text
from ebbtide.events.simulator.frames import consent_frame, event_frame, exposure_frame, item_frame, user_frame
from ebbtide.events.simulator.life import chances_of_order, live
from ebbtide.events.simulator.sessions import session_rows
from ebbtide.events.simulator.settings import ACTIONS, CAUSES, SimulationConfig
from ebbtide.events.simulator.truth import effects_frame, lives_frame, moment_frame
from ebbtide.events.simulator.world import make_world

__all__ = [
    "ACTIONS",
    "CAUSES",
    "SimulatedChunk",
    "SimulationConfig",
    "SimulationFiles",
    "Truth",
    "simulate",
    "write_log",
]

CHUNK_USERS = 2000


@dataclass(frozen=True)
class SimulatedChunk:
    """The canonical tables of some users, and their lives: who left when and why.

    `events` is sorted by (user_id, occurred_at, event_id); `lives` as in `Truth.lives`.
    """

    events: pl.DataFrame
    users: pl.DataFrame
    consents: pl.DataFrame
    exposures: pl.DataFrame
    lives: pl.DataFrame


def simulate(config: SimulationConfig, *, chunk_users: int = CHUNK_USERS) -> Iterator[SimulatedChunk]:
    """Yield the log in chunks of users; memory is that of one chunk.

    >>> chunk = next(simulate(SimulationConfig(users=5, days=60)))
    >>> chunk.users.height, chunk.events["user_id"].is_in(chunk.users["user_id"].implode()).all()
    (5, True)
    """
    world = make_world(config)
    for first in range(0, config.users, chunk_users):
        buyers = make_buyers(config, first, min(chunk_users, config.users - first))
        story = live(buyers, world)
        parts = [session_rows(story, buyers, world), aftermath_rows(story, buyers, world)]
        yield SimulatedChunk(
            event_frame(parts, buyers, config, world),
            user_frame(buyers, config),
            consent_frame(buyers, config),
            exposure_frame(story, buyers, world),
            lives_frame(story, buyers, config),
        )


class Truth:
    """What only the simulator knows, worked out on demand by living the lives again without writing the log."""

    def __init__(self, config: SimulationConfig, *, chunk_users: int = CHUNK_USERS) -> None:
        self._config, self._chunk_users = config, chunk_users

    def lives(self) -> pl.DataFrame:
        """One row a user: traits, `left_at` and `cause`, both null for who is still a customer at the end."""
        return pl.concat([frames[0] for frames in self._live(())])

    def at(self, moment: datetime) -> pl.DataFrame:
        """The hidden state at one midnight of each user who has joined before it: see `moment_frame` for the columns.

        Raises InputError if the moment is no midnight inside the log.
        """
        return self.at_many([moment])[0]

    def at_many(self, moments: Sequence[datetime]) -> list[pl.DataFrame]:
        """The hidden states at several midnights, for the price of one."""
        chunks = [frames[1:] for frames in self._live(moments)]
        return [pl.concat(list(frames)) for frames in zip(*chunks, strict=True)]

    def effects(self, moment: datetime, *, futures: int = 20) -> pl.DataFrame:
        """What each action at one midnight would change in P(order within 30 days), user by user.

        Columns: user_id, order_chance (without any action), uplift_message, uplift_coupon, uplift_call. Each is the
        mean over that many replays of the 30 days, so a chance has a standard error of at most 0.5 / sqrt(futures);
        all actions meet the same chance, so a mean uplift is much sharper.
        Raises InputError if the moment is no midnight inside the log.
        """
        day, world = self._day(moment), make_world(self._config)
        frames = []
        for buyers in self._chunks():
            chances = chances_of_order(buyers, world, day, futures)
            frames.append(effects_frame(chances, buyers, self._config, moment))
        return pl.concat(frames)

    def _chunks(self) -> Iterator[NDArray[np.void]]:
        for first in range(0, self._config.users, self._chunk_users):
            yield make_buyers(self._config, first, min(self._chunk_users, self._config.users - first))

    def _live(self, moments: Sequence[datetime]) -> Iterator[list[pl.DataFrame]]:
        config, world = self._config, make_world(self._config)
        days = tuple(self._day(moment) for moment in moments)
        for buyers in self._chunks():
            story = live(buyers, world, days)
            states = [moment_frame(story, i, buyers, config, moment) for i, moment in enumerate(moments)]
            yield [lives_frame(story, buyers, config), *states]

    def _day(self, moment: datetime) -> int:
        since = to_us(moment) - to_us(self._config.start_at)
        if since % DAY_US or not 0 <= since < self._config.days * DAY_US:
            raise InputError(
                "the truth is known at midnights UTC from {start:%Y-%m-%d} until before {end:%Y-%m-%d} only",
                "仅在 {start:%Y-%m-%d} 起、{end:%Y-%m-%d} 之前的 UTC 零点有真值",
                start=self._config.start_at, end=self._config.end,
            )  # fmt: skip
        return since // DAY_US


def write_log(
    config: SimulationConfig, folder: Path, *, progress: Progress = silent, chunk_users: int = CHUNK_USERS
) -> SimulationFiles:
    """Write a workspace to be ingested: `ebbtide.toml`, the raw tables under `data/`, the lives under `truth/`.

    One events file a chunk of users; memory is that of one chunk. `data/` holds what the shop would hand over, so
    nothing of the truth.
    """
    data, truth = folder / "data", folder / "truth"
    for place in (data, truth):
        place.mkdir(parents=True, exist_ok=True)
    paths = {name: data / f"{name}.parquet" for name in ("users", "consents", "exposures")}
    paths["lives"] = truth / "lives.parquet"
    events: list[Path] = []
    counts = np.zeros(3, np.int64)
    with GrowingTables(paths) as tables:
        for number, chunk in enumerate(simulate(config, chunk_users=chunk_users)):
            progress(Text("simulating", "模拟中"), number * chunk_users, config.users)
            rows, copies, faults = raw_events(chunk.events, config)
            events.append(data / f"events-{number:05d}.parquet")
            rows.write_parquet(events[-1])
            counts += (rows.height, copies, faults)
            tables.add({name: getattr(chunk, name) for name in paths})
    progress(Text("simulating", "模拟中"), config.users, config.users)
    item_frame(config, make_world(config)).write_parquet(data / "items.parquet")
    (folder / "ebbtide.toml").write_text(workspace_text(config), encoding="utf-8")
    return SimulationFiles(
        events=tuple(events),
        items=data / "items.parquet",
        users=paths["users"],
        consents=paths["consents"],
        exposures=paths["exposures"],
        truth=paths["lives"],
        workspace_file=folder / "ebbtide.toml",
        rows=int(counts[0]),
        copies=int(counts[1]),
        faults=int(counts[2]),
    )
