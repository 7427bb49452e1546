"""Implicit-feedback ALS (Hu, Koren, Volinsky 2008), fitted by the library `implicit`.

Only the items' factors are kept. A user's factors follow from the user's own history by one least-squares step, so
that a user whom the fit has never seen is treated like any other, and what is saved holds nothing about people.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from ebbtide.actions.recommend.interactions import BOUGHT, CART, VIEW, WISH, Interactions
from ebbtide.core.errors import MissingExtraError
from ebbtide.core.language import Text

Matrix = NDArray[np.float32]
WEIGHTS = {BOUGHT: 1.0, CART: 0.5, WISH: 0.5, VIEW: 0.15}
"""How much a basket of each kind says that a user likes an item."""


@dataclass(frozen=True)
class AlsConfig:
    """`confidence`: how much surer one purchase makes (alpha of the paper). `half_life_days`: how long tastes last.
    `kinds`: the meetings that count."""

    factors: int = 64
    regularisation: float = 0.1
    confidence: float = 10.0
    iterations: int = 15
    half_life_days: float = 180.0
    kinds: tuple[int, ...] = (BOUGHT, CART, WISH, VIEW)


@dataclass(frozen=True)
class ItemFactors:
    """Y (I, F): the items' factors."""

    Y: Matrix
    config: AlsConfig

    @classmethod
    def fit(cls, known: Interactions, config: AlsConfig, *, seed: int) -> ItemFactors:
        """Factorise who met what. Raises MissingExtraError without the extra `recommend`."""
        liked = liking(known, config)
        if find_spec("implicit") is None:
            raise MissingExtraError("recommend", Text("matrix factorisation", "矩阵分解"))
        with warnings.catch_warnings(), threadpool_limits(1, "blas"):
            warnings.simplefilter("ignore", RuntimeWarning)  # it warns of BLAS threads, which are limited here
            from implicit.cpu.als import AlternatingLeastSquares  # noqa: PLC0415  an optional dependency

            model: Any = AlternatingLeastSquares(
                factors=config.factors, regularization=config.regularisation, iterations=config.iterations,
                num_threads=1, random_state=seed,
            )  # fmt: skip
            model.fit(sparse.csr_matrix(liked), show_progress=False)
        return cls(np.asarray(model.item_factors, np.float32), config)

    def users(self, known: Interactions) -> Matrix:
        """The factors of each user, (U, F): (Y'Y + Y'(C - I)Y + rI) x = Y'Cp. Zero for a user without history."""
        liked, Y = liking(known, self.config), self.Y.astype(np.float64)
        whole = Y.T @ Y + self.config.regularisation * np.eye(Y.shape[1])
        X = np.zeros((len(known), Y.shape[1]), np.float32)
        with threadpool_limits(1, "blas"):
            for user in np.flatnonzero(np.diff(liked.indptr)):
                span = slice(liked.indptr[user], liked.indptr[user + 1])
                mine, sure = Y[liked.indices[span]], liked.data[span].astype(np.float64)
                X[user] = np.linalg.solve(whole + (mine.T * (sure - 1)) @ mine, sure @ mine)
        return X


def liking(known: Interactions, config: AlsConfig) -> sparse.csr_array:
    """The confidence that each user likes each item met, (U, I): 1 + confidence x decayed weight of the meetings."""
    counted = np.isin(known.kind, config.kinds)
    weight = np.asarray([WEIGHTS[k] for k in range(len(WEIGHTS))])[known.kind[counted]]
    weight = weight * 0.5 ** (known.age_days[counted] / config.half_life_days)
    shape = (len(known), len(known.items))
    met = sparse.csr_array((weight, (known.user[counted], known.item[counted])), shape=shape)
    met.sum_duplicates()
    met.data = (1 + config.confidence * met.data).astype(np.float32)
    return met
