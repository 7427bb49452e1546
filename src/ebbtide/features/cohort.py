"""Who of an encoded shard is asked about: `churn.labels.cohort_at`, for events that are encoded already."""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from ebbtide.churn.definition import ANY, ChurnDefinition
from ebbtide.core.windows import to_us
from ebbtide.features.encode import EncodedShard
from ebbtide.features.selectors import TYPE_BITS, TYPE_CODES


def eligible_users(shard: EncodedShard, as_of: datetime, definition: ChurnDefinition) -> NDArray[np.int32]:
    """The numbers of the users with an eligible event in `(as_of - eligible_days, as_of]`, ascending.

    All events of the shard were known at `as_of`.
    """
    rows = np.flatnonzero((shard.time > to_us(as_of) - definition.eligible_us) & types_are(shard, definition.eligible))
    return np.unique(np.searchsorted(shard.start, rows, side="right") - 1).astype(np.int32)


def types_are(shard: EncodedShard, types: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which events are of one of these types, (n,); `("any",)` is every event."""
    if types == ANY:
        return np.ones(len(shard.key), np.bool_)
    wanted = np.zeros(TYPE_BITS + 1, np.bool_)
    wanted[[TYPE_CODES[t] for t in types]] = True
    return np.asarray(wanted[shard.key & TYPE_BITS], np.bool_)
