"""Scores as plain rows, for whoever answers about a few users and needs no table: the values of `score_shard`."""

from __future__ import annotations

import math
from typing import Any

from ebbtide.core.language import Language
from ebbtide.models.bundle import Bundle
from ebbtide.pipeline.score import Scored, bands_of, reasons_of


def scored_rows(scored: Scored, bundle: Bundle, *, reasons: bool, language: Language) -> list[dict[str, Any]]:
    """One row a user, in order: the columns of `score_shard` but `as_of`; `reasons` null unless they are asked for."""
    probability = scored.probability
    said = reasons_of(scored, bundle, language).to_dicts() if reasons else [None] * len(probability)
    values = zip(
        scored.user_id.to_list(),
        probability.tolist(),
        bands_of(probability, bundle.config.bands).tolist(),
        said,
        scored.expected_orders.tolist(),
        scored.value_at_risk.tolist(),
        strict=True,
    )
    return [
        {
            "user_id": user, "churn_probability": p, "band": band, "reasons": told,
            "expected_orders": _known(orders), "value_at_risk": _known(worth), "model": bundle.id,
        }
        for user, p, band, told, orders, worth in values
    ]  # fmt: skip


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
