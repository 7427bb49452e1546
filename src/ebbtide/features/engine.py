"""The engine: features of many (user, moment) rows of one encoded shard."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.errors import InputError
from ebbtide.features.catalogue import Catalogue
from ebbtide.features.columns import frozen_array, no_items
from ebbtide.features.encode import EncodedShard
from ebbtide.features.kernels.rows import fill_rows
from ebbtide.features.plan import plan_of
from ebbtide.features.tables import ItemTable

_SMALL_WORK = 200_000  # events to visit below which starting threads costs more than it saves
_PARTS_PER_THREAD = 8


def compute(
    shard: EncodedShard,
    at_user: NDArray[np.int32],
    at_us: NDArray[np.int64],
    catalogue: Catalogue,
    *,
    tables: ItemTable | None = None,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Features of user `at_user[i]` at moment `at_us[i]`, (N, F); NaN = unknown.

    An event counts if it occurred and was ingested at or before the moment. Rows ordered by (user, moment) run
    fastest; any order gives the same bits, as does any number of `threads` (default: all cores for large work, one for
    small). Without `tables` the columns that need the item table are NaN.
    Raises InputError if `at_user` names no user of the shard.
    """
    at_user = frozen_array(np.asarray(at_user, np.int32))
    at_us = frozen_array(np.asarray(at_us, np.int64))
    if len(at_user) and (at_user.min() < 0 or at_user.max() >= len(shard)):
        raise InputError(
            "a row asks for a user that the shard does not hold: it holds {users} users",
            "有一行指定的用户不在该分片中：分片共有 {users} 位用户",
            users=len(shard),
        )
    if not len(at_user):
        return np.empty((0, len(catalogue)), np.float32)
    plan, needs = plan_of(catalogue, shard.outcome)
    columns = shard.columns(needs)
    asked = tables if plan.cells.tells_items.any() else None
    items = no_items() if asked is None else asked.look_up(shard.events["item_id"])
    out = np.empty((len(at_user), len(catalogue)), np.float32)
    rows = _ordered(at_user, at_us)
    cores = threads or os.cpu_count() or 1
    parts = _parts(shard.start, rows, at_user, cores, always=threads is not None)
    if len(parts) == 1:
        fill_rows(parts[0], at_user, at_us, columns, items, plan, out)
    else:
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(lambda part: fill_rows(part, at_user, at_us, columns, items, plan, out), parts))
    return out


def _ordered(at_user: NDArray[np.int32], at_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row numbers by (user, moment)."""
    step = np.diff(at_user)
    if np.all((step > 0) | ((step == 0) & (np.diff(at_us) >= 0))):
        return np.arange(len(at_user))
    return np.lexsort((at_us, at_user))


def _parts(
    start: NDArray[np.int64], rows: NDArray[np.int64], at_user: NDArray[np.int32], cores: int, *, always: bool
) -> list[NDArray[np.int64]]:
    """Split the rows into parts of about equal work, never within a user; one part if threads do not pay."""
    user = at_user[rows]
    work = np.cumsum(np.diff(start)[user] + 20)
    if not len(rows) or cores == 1 or (work[-1] < _SMALL_WORK and not always):
        return [frozen_array(rows)]
    ends = np.linspace(0, work[-1], _PARTS_PER_THREAD * cores + 1)[1:-1]
    cuts = np.minimum(np.searchsorted(work, ends), len(user) - 1)
    cuts = np.unique(np.searchsorted(user, user[cuts]))
    return [frozen_array(part) for part in np.split(rows, cuts) if len(part)]
