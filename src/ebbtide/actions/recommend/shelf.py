"""A recommender on disk: a sealed folder of arrays (npz), JSON and the text of trees."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import sparse

from ebbtide.actions.recommend.blend import Blend, Choice
from ebbtide.actions.recommend.factors import AlsConfig, ItemFactors
from ebbtide.actions.recommend.favourites import LovedWeight
from ebbtide.actions.recommend.linear_blend import LinearBlend
from ebbtide.actions.recommend.neighbours import Neighbours
from ebbtide.actions.recommend.recommender import Recommender
from ebbtide.actions.recommend.rhythm import Rhythm
from ebbtide.actions.recommend.tables import ItemTables
from ebbtide.actions.recommend.tree_blend import TreeBlend
from ebbtide.core.errors import MissingBundleError, RetryError
from ebbtide.models.sealed import MANIFEST, read_json, read_sealed, write_json, write_sealed

SCHEMA_VERSION = 1
_ARRAYS = ("category", "log_price", "sold", "looked_at", "age_days")
_SPARSE = ("together", "shared")


def save_recommender(folder: Path, made: Recommender, facts: dict[str, Any]) -> Path:
    """Write `folder` whole or not at all; `facts` stand in its manifest. Raises RetryError if the disk refuses."""

    def fill(aside: Path) -> None:
        arrays: dict[str, Any] = {name: getattr(made.tables, name) for name in _ARRAYS}
        for name in _SPARSE:
            matrix = getattr(made.tables, name).strength
            arrays |= {f"{name}_{part}": getattr(matrix, part) for part in ("data", "indices", "indptr")}
        if made.tables.factors is not None:
            arrays["factors"] = made.tables.factors.Y
        np.savez_compressed(
            aside / "items.npz", gap_days=made.tables.rhythm.gap_days, again=made.tables.rhythm.again, **arrays
        )
        write_json(aside / "items.json", {"items": made.tables.items.to_list()})
        if isinstance(made.blend, LinearBlend):
            write_json(aside / "linear.json", made.blend.to_json())
        if isinstance(made.blend, TreeBlend):
            (aside / "trees.txt").write_text(made.blend.text, encoding="utf-8")

    factors, usual = made.tables.factors, made.tables.rhythm.usual_days
    told = {
        "schema_version": SCHEMA_VERSION,
        "choice": made.choice.to_json(),
        "als": factors and asdict(factors.config),
        "usual_days": usual if np.isfinite(usual) else None,
        "repeats": made.repeats,
        "rest_days": made.rest_days,
        "until_us": made.until_us,
        "facts": facts,
    }
    try:
        return write_sealed(folder, fill, told)
    except OSError as fault:
        raise RetryError(
            "the recommender could not be written ({reason}): make room or give yourself the rights, then try again",
            "无法写出推荐器（{reason}）：请腾出空间或授予写权限后重试",
            reason=fault.strerror or "disk",
        ) from None


def load_recommender(folder: Path) -> tuple[Recommender, dict[str, Any]]:
    """What `save_recommender` wrote, and its facts. Raises MissingBundleError if it is absent, damaged or of old form."""
    if not (folder / MANIFEST).is_file():
        raise MissingBundleError(
            "no recommender yet: run `ebbtide recommend` without a user once",
            "尚无推荐器：请先不带用户运行一次 `ebbtide recommend`",
        )
    told = read_sealed(folder, SCHEMA_VERSION)
    with np.load(folder / "items.npz", allow_pickle=False) as arrays:
        held = {name: arrays[name] for name in arrays.files}
    items = pl.Series("item_id", read_json(folder / "items.json")["items"], dtype=pl.String)
    tables = ItemTables(
        items=items,
        **{name: held[name] for name in _ARRAYS},
        rhythm=Rhythm(held["gap_days"], held["again"], np.nan if told["usual_days"] is None else told["usual_days"]),
        together=_neighbours("together", held, len(items)),
        shared=_neighbours("shared", held, len(items)),
        factors=ItemFactors(held["factors"], _als(told["als"])) if told["als"] else None,
    )
    choice = Choice(**{**told["choice"], "loved": LovedWeight(**told["choice"]["loved"])})
    made = Recommender(
        tables, _blend(folder, choice.kind), choice, told["repeats"], told["rest_days"], told["until_us"]
    )
    return made, told["facts"]


def _neighbours(name: str, held: dict[str, Any], items: int) -> Neighbours:
    parts = tuple(held[f"{name}_{part}"] for part in ("data", "indices", "indptr"))
    return Neighbours(sparse.csr_array(parts, shape=(items, items)))


def _als(told: dict[str, Any]) -> AlsConfig:
    return AlsConfig(**{**told, "kinds": tuple(told["kinds"])})


def _blend(folder: Path, kind: str) -> Blend | None:
    if kind == "linear":
        return LinearBlend.from_json(read_json(folder / "linear.json"))
    return TreeBlend((folder / "trees.txt").read_text(encoding="utf-8")) if kind == "trees" else None
