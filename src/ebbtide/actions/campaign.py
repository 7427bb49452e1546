"""The record of a campaign: what was planned, who was drawn, what came back. Nothing is ever changed but its status.

`.ebbtide/campaigns/NAME/`: `campaign.json`, and numbered parts of three tables, each written once: `assigned-*`,
`results-*`, `refused-*`. This file is the only one that reads and writes them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import polars as pl

from ebbtide.core.errors import InputError
from ebbtide.core.json_file import read_json_file, write_json_file
from ebbtide.events.schema import TIME

Status = Literal["running", "stopped"]
Table = Literal["assigned", "results", "refused"]
NAME = re.compile(r"\w[\w.-]{0,63}", re.ASCII)

ASSIGNED: dict[str, pl.DataType] = {
    "user_id": pl.String(),
    "arm": pl.String(),
    "action": pl.String(),
    "cost": pl.Float64(),
    "expected_gain": pl.Float64(),
    "propensity": pl.Float64(),
    "bucket": pl.Int64(),
    "assigned_at": TIME,
    "churn_probability": pl.Float64(),
    "expected_orders": pl.Float64(),
    "value_at_risk": pl.Float64(),
    "band": pl.String(),
    "stage": pl.String(),
    "segment": pl.String(),
    "why": pl.String(),
    "not_before": TIME,
    "deadline": TIME,
}
"""`action`: what was planned, also for control, which gets nothing. `cost`: of that action. `propensity`: the chance
of what the user was drawn for, the action or nothing. Risk, stage and segment are those of the moment of assignment.
`not_before`, `deadline`: outside quiet hours in the user's zone, and until when it makes sense; null: no such bound."""

RESULTS: dict[str, pl.DataType] = {
    "user_id": pl.String(),
    "occurred_at": TIME,
    "retained": pl.Float64(),
    "orders": pl.Float64(),
    "value": pl.Float64(),
    "refund": pl.Float64(),
    "discount": pl.Float64(),
    "unsubscribed": pl.Float64(),
    "cost": pl.Float64(),
    "action": pl.String(),
}
"""One fact of one user, from a file. `action`: what the user really got."""

REFUSED: dict[str, pl.DataType] = {"reason": pl.String(), "row": pl.String()}
"""A row of a results file that could not be taken, as JSON text, and why."""

_SCHEMAS: dict[Table, dict[str, pl.DataType]] = {"assigned": ASSIGNED, "results": RESULTS, "refused": REFUSED}


@dataclass(frozen=True)
class Campaign:
    """What was settled before anybody was drawn. `started_at` is the moment of knowledge of the first draw; `planned`
    its number of users, for which the confidence sequence is narrowest; `known_until` the newest moment that a results
    file told of."""

    name: str
    layer: str
    control: float
    holdout: float
    started_at: datetime
    planned: int
    definition: dict[str, Any]
    bundle: str | None
    explained: float
    status: Status = "running"
    stopped_at: datetime | None = None
    known_until: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields; `from_json` is the inverse."""
        times = {
            n: t and t.isoformat() for n in ("started_at", "stopped_at", "known_until") for t in [getattr(self, n)]
        }
        return asdict(self) | times

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Campaign:
        """Read what `to_json` wrote."""
        times = {n: data[n] and datetime.fromisoformat(data[n]) for n in ("started_at", "stopped_at", "known_until")}
        return cls(**{**data, **times})


@dataclass(frozen=True)
class Campaigns:
    """All campaigns of a workspace, under `folder`."""

    folder: Path

    def names(self) -> list[str]:
        """In the order in which they started."""
        found = [self.load(p.parent.name) for p in self.folder.glob("*/campaign.json")]
        return [c.name for c in sorted(found, key=lambda c: (c.started_at, c.name))]

    def has(self, name: str) -> bool:
        """Whether there is one of this name."""
        return bool(NAME.fullmatch(name)) and (self.folder / name / "campaign.json").is_file()

    def load(self, name: str) -> Campaign:
        """The record. Raises InputError if there is none of that name."""
        if not self.has(name):
            listed = ", ".join(sorted(p.parent.name for p in self.folder.glob("*/campaign.json"))) or "-"
            raise InputError(
                "there is no campaign `{name}`; the campaigns are {listed}",
                "没有活动 `{name}`；已有活动：{listed}",
                name=name,
                listed=listed,
            )
        return Campaign.from_json(read_json_file(self.folder / name / "campaign.json"))

    def save(self, campaign: Campaign) -> None:
        """Write the record, whole or not at all."""
        write_json_file(self.folder / campaign.name / "campaign.json", campaign.to_json())

    def stop(self, name: str, at: datetime) -> Campaign:
        """Note the end; nobody is drawn any more, and outcomes go on to count. A stopped one stays as it is."""
        campaign = self.load(name)
        if campaign.status == "running":
            campaign = replace(campaign, status="stopped", stopped_at=at)
            self.save(campaign)
        return campaign

    def read(self, name: str, table: Table) -> pl.DataFrame:
        """All rows of a table in the order in which they came; an empty frame if there are none."""
        parts = sorted((self.folder / name).glob(f"{table}-*.parquet"))
        schema = _SCHEMAS[table]
        frames = [_in_schema(pl.read_parquet(p, hive_partitioning=False), schema) for p in parts]
        return pl.concat(frames) if frames else pl.DataFrame(schema=schema)

    def add(self, name: str, table: Table, rows: pl.DataFrame) -> None:
        """Append rows as one new part, whole or not at all; missing columns are null."""
        if not rows.height:
            return
        schema = _SCHEMAS[table]
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.glob(f"{table}-*.parquet"))) + 1
        file = folder / f"{table}-{number:05d}.parquet"
        aside = file.with_name(f".{file.name}-{os.getpid()}")
        try:
            with aside.open("wb") as handle:
                _in_schema(rows, schema).write_parquet(handle)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(aside, file)
        finally:
            aside.unlink(missing_ok=True)


def _in_schema(rows: pl.DataFrame, schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """The declared columns; one that is not there, for example in an older part, is null."""
    return rows.select((pl.col(n) if n in rows.columns else pl.lit(None)).cast(t).alias(n) for n, t in schema.items())
