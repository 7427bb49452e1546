"""Fewer rows where they are many: some users with all their rows, chosen by hash, so that no order matters."""

from __future__ import annotations

import numpy as np

from ebbtide.models.base import Rows


def thinned(rows: Rows, most: int) -> Rows:
    """About `most` rows at most, chosen by user; all of them where the few would hold one class only."""
    if len(rows) <= most:
        return rows
    ceiling = np.quantile(rows.user.astype(np.float64), most / len(rows))
    kept = rows.take(rows.user.astype(np.float64) <= ceiling)
    return kept if 0 < int(kept.y.sum()) < len(kept) else rows
