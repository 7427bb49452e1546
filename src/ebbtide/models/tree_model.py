"""What all models of LightGBM trees share: texts on disk, our own engine for margins and exact reasons."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Self

import lightgbm as lgb
import numpy as np

from ebbtide.core.errors import DefectError
from ebbtide.models.base import Matrix, Rows, Vector, logit
from ebbtide.models.tree_ensemble import TreeEnsemble
from ebbtide.models.tree_text import read_trees

EVERYWHERE = {
    "objective": "binary",
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
"""What every booster is told, so that its trees depend on no machine."""

_PRIOR_ROWS = 4.0


class TreeModel:
    """Boosters as texts, whose margins are averaged. A subclass fills `_texts` in its `fit`."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._trees: TreeEnsemble | None = None

    def margin(self, X: Matrix) -> Vector:
        """Log-odds of churn, (N,)."""
        return self._ensemble().margin(X)

    def contributions(self, X: Matrix) -> Vector:
        """Exact TreeSHAP terms, (N, F + 1)."""
        return self._ensemble().contributions(X)

    def save(self, folder: Path) -> None:
        """One LightGBM text file a booster."""
        folder.mkdir(parents=True, exist_ok=True)
        for k, text in enumerate(self._texts):
            (folder / f"trees-{k}.txt").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        model = cls()
        model._texts = [p.read_text(encoding="utf-8") for p in sorted(folder.glob("trees-*.txt"))]
        return model

    def _keep(self, texts: list[str]) -> Self:
        self._texts, self._trees = texts, None
        return self

    def _ensemble(self) -> TreeEnsemble:
        if self._trees is None:
            if not self._texts:
                raise DefectError("the trees are used before they are fitted", "树模型尚未拟合就被使用")
            self._trees = TreeEnsemble.from_text(self._texts)
        return self._trees


def grow(rows: Rows, parameters: Sequence[dict[str, Any]], rounds: int) -> list[lgb.Booster]:
    """One booster for each of the parameter sets, side by side: each on one thread."""
    data = lgb.Dataset(rows.X, rows.y, params=parameters[0], free_raw_data=False).construct()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(lambda p: lgb.train(p, data, rounds), parameters))


def with_odds_in_leaves(booster: lgb.Booster, base_rate: float) -> lgb.Booster:
    """The booster with the log-odds of its own training rows in every leaf, as if 4 more of the base rate stood in it.

    For trees that were each grown in one step from the base rate p (one tree with learning rate 1, a random forest,
    without ridge). LightGBM leaves a Newton step there, logit(p) + (q - p) / (p (1 - p)) where the share q churned,
    which overshoots the log-odds of q wherever p is far from a half; so q is read from it and turned into log-odds.
    """
    variance, centre = base_rate * (1 - base_rate), float(logit(np.array([base_rate]), floor=0.0)[0])
    for index, tree in enumerate(read_trees(booster.model_to_string())[0]):
        step = np.array([booster.get_leaf_output(index, leaf) - centre for leaf in range(len(tree.value))])
        if len(step) == 1:
            step[:] = 0.0  # a tree without a split knows the base rate; LightGBM may have left 0 in it
        share = np.clip(base_rate + step * variance, 0.0, 1.0)
        odds = logit((share * tree.count + base_rate * _PRIOR_ROWS) / (tree.count + _PRIOR_ROWS), floor=0.0)
        for leaf, value in enumerate(odds):
            booster.set_leaf_output(index, leaf, float(value))
    return booster
