"""What sells: how many purchases each item had, where a purchase counts less the longer ago it was."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ebbtide.actions.recommend.interactions import BOUGHT, Interactions


def popularity(known: Interactions, half_life_days: float, *, kind: int = BOUGHT) -> NDArray[np.float64]:
    """The decayed number of baskets with each item, (I,); a basket of one half-life ago counts one half.

    `kind`: which meetings count, by default purchases.
    """
    of_kind = known.kind == kind
    weight = 0.5 ** (known.age_days[of_kind] / half_life_days)
    return np.bincount(known.item[of_kind], weight, minlength=len(known.items)).astype(np.float64)
