"""Gradient-boosted trees (LightGBM): small, heavily regularised trees with random thresholds, averaged over seeds.

Extremely randomised thresholds and averaging cost little and gain most where a log has few users. How many rounds
to boost is chosen outside, on moments that the model had not learnt from: `margin_path` gives the margins after each
number of rounds in one fit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import lightgbm as lgb
import numpy as np

from ebbtide.models.base import Matrix, Rows, Vector
from ebbtide.models.continues import newer_than
from ebbtide.models.space import ANY_COLUMNS, COLUMNS, OneOf, Real, Space, Whole
from ebbtide.models.trainable import check_trainable
from ebbtide.models.tree_model import EVERYWHERE, TreeModel, grow


@dataclass(frozen=True)
class BoostingConfig:
    """Settings of one boosted ensemble. `leaf_share`: least share of the training rows in one leaf.

    `seeds` boosters are averaged where there are at most `few_rows` rows, which need it most; half as many beyond, and
    `rehearsal_seeds` when held-out moments are predicted.
    """

    leaves: int = 15
    depth: int = 6
    learning_rate: float = 0.06
    seeds: int = 6
    few_rows: int = 100_000
    rehearsal_seeds: int = 2
    leaf_rows: int = 40
    leaf_share: float = 0.002
    column_share: float = 0.4
    row_share: float = 0.7
    ridge: float = 10.0
    random_thresholds: bool = True

    def seeds_for(self, rows: int) -> int:
        """How many boosters to average."""
        return self.seeds if rows <= self.few_rows else max(1, self.seeds // 2)

    def parameters(self, rows: int, seed: int) -> dict[str, Any]:
        """What LightGBM is told."""
        return {
            **EVERYWHERE,
            "num_leaves": self.leaves,
            "max_depth": self.depth,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": max(min(self.leaf_rows, rows // 20), int(self.leaf_share * rows), 1),
            "feature_fraction": self.column_share,
            "bagging_fraction": self.row_share,
            "bagging_freq": 1,
            "lambda_l2": self.ridge,
            "extra_trees": self.random_thresholds,
            "max_bin": 127,
            "seed": seed,
        }


class LightGbmModel(TreeModel):
    """LightGBM behind the model protocol. Margins and contributions come from our own tree engine."""

    name: ClassVar[str] = "lightgbm"
    space: ClassVar[Space] = {
        "leaves": Whole(4, 63, usual=15, log=True),
        "depth": Whole(3, 10, usual=6),
        "learning_rate": Real(0.03, 0.12, usual=0.06, log=True),
        "leaf_rows": Whole(10, 160, usual=40, log=True),
        "column_share": Real(0.1, 1.0, usual=0.4),
        "row_share": Real(0.4, 1.0, usual=0.7),
        "ridge": Real(0.1, 100.0, usual=10.0, log=True),
        "random_thresholds": OneOf((True, False), usual=True),
        COLUMNS: ANY_COLUMNS,
    }
    ways: ClassVar[tuple[str, ...]] = ("boost", "leaves")
    rounds_grid: ClassVar[tuple[int, ...]] = (20, 40, 60, 85, 115, 150, 190, 240)
    usual_rounds: ClassVar[int] = 85

    def __init__(self, config: BoostingConfig | None = None, rounds: int | None = None) -> None:
        super().__init__()
        self.config = config or BoostingConfig()
        self.rounds = rounds or self.usual_rounds
        self.seen_us: int | None = None

    def fit(self, rows: Rows, *, seed: int) -> Self:
        """Fit `rounds` rounds on all rows. Raises DataError if the rows cannot be learnt from."""
        boosters = self._boosters(rows, self.rounds, self.config.seeds_for(len(rows)), seed)
        self.seen_us = int(rows.as_of_us.max())
        return self._keep([b.model_to_string() for b in boosters])

    def fit_more(self, rows: Rows, *, seed: int, way: str) -> Self:
        """Go on with the rows of newer moments, whose share of all rows says how far.

        `boost`: more rounds on the new rows, as many as their share of the rounds so far. `leaves`: the trees stay, and
        each leaf's value moves by that share towards what the new rows say.
        """
        new, more = newer_than(rows, self.seen_us), type(self)(self.config, self.rounds)
        if len(new) == 0:
            more.seen_us = self.seen_us
            return more._keep(self._texts)
        share, more.seen_us = len(new) / len(rows), int(new.as_of_us.max())
        if way == "leaves":
            return more._keep([_with_new_leaves(t, new, share) for t in self._texts])
        further = max(1, round(share * self.rounds))
        more.rounds += further
        parameters = [
            self.config.parameters(len(new), seed + 1000 * k + 1 + self.rounds) for k in range(len(self._texts))
        ]
        return more._keep([_boosted(t, new, p, further) for t, p in zip(self._texts, parameters, strict=True)])

    def margin_path(self, rows: Rows, X: Matrix, *, seed: int) -> Vector:
        """Margins on X after each number of rounds of `rounds_grid`, (V, N), from one fit on `rows`."""
        boosters = self._boosters(rows, self.rounds_grid[-1], self.config.rehearsal_seeds, seed)
        return np.asarray(np.mean([_staged(b, X, self.rounds_grid) for b in boosters], axis=0))

    def save(self, folder: Path) -> None:
        """The trees, and the settings, for going on from here."""
        super().save(folder)
        about = {"config": asdict(self.config), "rounds": self.rounds, "seen_us": self.seen_us}
        (folder / "boosting.json").write_text(json.dumps(about), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        model, about = super().load(folder), folder / "boosting.json"
        if about.is_file():  # bundles of earlier versions lack it
            data = json.loads(about.read_text(encoding="utf-8"))
            model.config, model.rounds = BoostingConfig(**data["config"]), data["rounds"]
            model.seen_us = data["seen_us"]
        return model

    def _boosters(self, rows: Rows, rounds: int, seeds: int, seed: int) -> list[lgb.Booster]:
        check_trainable(rows)
        return grow(rows, [self.config.parameters(len(rows), seed + 1000 * k + 1) for k in range(seeds)], rounds)


def _boosted(text: str, rows: Rows, parameters: dict[str, Any], rounds: int) -> str:
    """The trees of `text` and `rounds` more, grown on `rows` from where the trees leave off."""
    data = lgb.Dataset(rows.X, rows.y, params=parameters, free_raw_data=False)
    return str(lgb.train(parameters, data, rounds, init_model=lgb.Booster(model_str=text)).model_to_string())


def _with_new_leaves(text: str, rows: Rows, share: float) -> str:
    """The trees of `text`, each leaf's value moved by `share` towards the best one for `rows`."""
    before = lgb.Booster(model_str=text)
    return str(before.refit(rows.X, rows.y, decay_rate=1.0 - share).model_to_string())


def _staged(booster: lgb.Booster, X: Matrix, grid: Sequence[int]) -> Vector:
    """Margins after each number of rounds, (V, N)."""
    parts, start = [], 0
    for rounds in grid:
        parts.append(booster.predict(X, raw_score=True, start_iteration=start, num_iteration=rounds - start))
        start = rounds
    return np.asarray(np.cumsum(parts, axis=0))
