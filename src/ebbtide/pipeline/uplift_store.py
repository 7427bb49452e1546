"""The effects that a shop's own campaigns taught, as a sealed folder, and what they say of a shard.

    manifest.json   the definition, the catalogue, until when; sha256 of every file, and of itself
    uplift.json     actions, verdict, the lines by which effects are drawn towards their average
    effects/        of an outcome, as trees in text and JSON
    money/          of money spent, where the log has it
    items.npz, items.json   what is known of items

Nothing is pickled.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from ebbtide.actions.calibrated import EffectLine, believed
from ebbtide.actions.fitted import Effects, load_effects, save_effects
from ebbtide.churn.definition import ChurnDefinition
from ebbtide.churn.labels import cohort_at
from ebbtide.core.errors import MissingError, RetryError
from ebbtide.core.windows import to_us
from ebbtide.features.catalogue import Catalogue
from ebbtide.features.encode import encode
from ebbtide.features.engine import compute
from ebbtide.features.tables import ItemTable
from ebbtide.models.base import Matrix, Vector
from ebbtide.models.sealed import MANIFEST, read_json, read_sealed, write_json, write_sealed
from ebbtide.pipeline.dataset import known_events
from ebbtide.pipeline.places import Places

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class UpliftModel:
    """actions: the treatments, without `nothing`. lines, money_lines: one an action; money None without money.
    is_followed: whether effects differ between users with confidence: if not, everybody is told the average."""

    definition: ChurnDefinition
    catalogue: Catalogue
    items: ItemTable
    actions: tuple[str, ...]
    effects: Effects
    lines: tuple[EffectLine, ...]
    money: Effects | None
    money_lines: tuple[EffectLine, ...]
    is_followed: bool
    verdict: dict[str, str]
    until: datetime
    judged: dict[str, Any]

    def of_rows(self, X: Matrix) -> tuple[Vector, Vector, Vector]:
        """Effect, lower bound and money effect of each row and action, (N, K - 1) each; money NaN where unknown."""
        effect, lower = believed(self.lines, self.effects.effects(X))
        if self.money is None:
            return effect, lower, np.full(effect.shape, np.nan)
        return effect, lower, believed(self.money_lines, self.money.effects(X))[0]


def save_uplift(places: Places, model: UpliftModel) -> None:
    """Write the model, whole or not at all; an older one is replaced. Raises RetryError if the disk refuses."""

    def fill(folder: Any) -> None:
        save_effects(folder / "effects", model.effects)
        if model.money is not None:
            save_effects(folder / "money", model.money)
        model.items.save(folder)
        told = {
            "actions": model.actions,
            "lines": [line.to_json() for line in model.lines],
            "money_lines": [line.to_json() for line in model.money_lines],
            "is_followed": model.is_followed,
            "verdict": model.verdict,
        }
        write_json(folder / "uplift.json", told)
        write_json(folder / "judged.json", model.judged)

    about = {
        "schema_version": SCHEMA_VERSION,
        "kind": "uplift",
        "definition": model.definition.to_json(),
        "catalogue": model.catalogue.to_json(),
        "until": model.until.isoformat(),
    }
    try:
        write_sealed(places.uplift, fill, about)
    except OSError as fault:
        raise RetryError(
            "the uplift model could not be written ({reason}): make room or give yourself the rights, then try again",
            "无法写出增益模型（{reason}）：请腾出空间或授予写权限后重试",
            reason=fault.strerror or "disk",
        ) from None


def load_uplift(places: Places) -> UpliftModel:
    """Read the model and verify it. Raises MissingError without one, MissingBundleError if it is damaged."""
    folder = places.uplift
    if not (folder / MANIFEST).is_file():
        raise MissingError(
            "no uplift model: run `ebbtide uplift` after a campaign with a control group",
            "没有增益模型：请在有对照组的活动之后运行 `ebbtide uplift`",
        )
    manifest = read_sealed(folder, SCHEMA_VERSION)
    told = read_json(folder / "uplift.json")
    return UpliftModel(
        definition=ChurnDefinition.from_json(manifest["definition"]),
        catalogue=Catalogue.from_json(manifest["catalogue"]),
        items=ItemTable.load(folder),
        actions=tuple(told["actions"]),
        effects=load_effects(folder / "effects"),
        lines=tuple(EffectLine.from_json(line) for line in told["lines"]),
        money=load_effects(folder / "money") if (folder / "money").is_dir() else None,
        money_lines=tuple(EffectLine.from_json(line) for line in told["money_lines"]),
        is_followed=bool(told["is_followed"]),
        verdict=told["verdict"],
        until=datetime.fromisoformat(manifest["until"]),
        judged=read_json(folder / "judged.json"),
    )


def effects_of(model: UpliftModel, events: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """What each action would change for the eligible users of a shard: one row a user and action.

    Out: user_id, action, effect (on the chance of an outcome within the horizon), lower (above it with 95 % confidence),
    money_effect (null in a log without money); by user_id, then action. Events not known at `as_of` are ignored.
    """
    known = known_events(events, as_of)
    members = cohort_at(known, as_of, model.definition)["user_id"]
    shard = encode(known, model.definition)
    at_user = np.flatnonzero(shard.user_ids.is_in(members.implode()).to_numpy()).astype(np.int32)
    at_us = np.full(len(at_user), to_us(as_of), np.int64)
    effect, lower, money = model.of_rows(compute(shard, at_user, at_us, model.catalogue, tables=model.items))
    users, actions = len(at_user), len(model.actions)
    return pl.DataFrame(
        {
            "user_id": shard.user_ids.gather(np.repeat(at_user, actions)),
            "action": pl.Series(model.actions * users, dtype=pl.String),
            "effect": effect.ravel(),
            "lower": lower.ravel(),
            "money_effect": pl.Series(money.ravel()).fill_nan(None),
        }
    )
