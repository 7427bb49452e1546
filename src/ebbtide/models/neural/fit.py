"""How a net is fitted to rows: which users it learns from, which ones tell it when to stop, in what batches.

Early stopping watches a tenth of the users, who are not trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from ebbtide.core.errors import DataError
from ebbtide.core.language import Text
from ebbtide.core.settings import DeepConfig
from ebbtide.models.base import Rows
from ebbtide.models.basis import Basis
from ebbtide.models.neural.loop import LoopConfig, Work, train_loop
from ebbtide.models.setting import Setting
from ebbtide.sequences.batches import by_length

_HELD_OUT = 10
Chosen = NDArray[np.int64]
Loss = Callable[[Chosen, np.random.Generator | None], Tensor]
"""Mean loss of the rows at these places; the generator is there in training only, for what is changed at random."""


@dataclass(frozen=True)
class Fitting:
    """Whose fit it is, with which settings and seed."""

    name: str
    deep: DeepConfig
    setting: Setting
    seed: int


def fit_net(net: nn.Module, rows: Rows, loss: Loss, fitting: Fitting, lengths: NDArray[np.int64] | None = None) -> None:
    """Train in place on all rows but those of every tenth user. `lengths` (N,): events of each row, 1 by default.

    Raises DataError if the loss is not finite, RetryError if memory runs out.
    """
    deep, seed = fitting.deep, fitting.seed
    long = np.ones(len(rows), np.int64) if lengths is None else lengths
    watched = rows.user % np.uint64(_HELD_OUT) == np.uint64(seed % _HELD_OUT)
    if not 0 < rows.y[watched].sum() < watched.sum():
        watched[:] = False
    learnt, held = np.flatnonzero(~watched), np.flatnonzero(watched)
    share = min(1.0, deep.max_events / deep.epochs / max(int(long[learnt].sum()), 1))
    count = max(1, int(len(learnt) * share))

    def batches(epoch: int) -> Iterator[tuple[Chosen, np.random.Generator]]:
        rng = np.random.default_rng((seed, epoch))
        drawn = learnt if count == len(learnt) else rng.choice(learnt, count, replace=False)
        for part in by_length(long[drawn], deep.batch, rng):
            yield drawn[part], rng

    def held_out() -> float:
        parts = [held[i] for i in by_length(long[held], deep.batch, None)]
        return sum(float(loss(part, None)) * len(part) for part in parts) / len(held)

    folder, key = fitting.setting.checkpoints, fingerprint(rows, fitting)
    config = LoopConfig(
        epochs=deep.epochs,
        learning_rate=deep.learning_rate,
        patience=deep.patience,
        checkpoint=folder and folder / f"{fitting.name}-{key[:16]}.safetensors",
        key=key,
    )
    work = Work(batches, -(-count // deep.batch), lambda batch: loss(*batch), held_out if len(held) else None)
    stage = Text(f"training {fitting.name}", f"训练 {fitting.name}")
    train_loop(net, work, config, progress=fitting.setting.progress, stage=stage)


def fit_basis(rows: Rows) -> Basis:
    """The scale on which nets read columns. Raises DataError if no column varies."""
    basis = Basis.fit(rows.X)
    if not basis.regressors:
        raise DataError(
            "a model needs a column that differs between users: all {count} are constant; wait for data",
            "模型需要至少一列在用户之间有差异：全部 {count} 列都是常数；请等待更多数据",
            count=rows.X.shape[1],
        )
    return basis


def fingerprint(rows: Rows, fitting: Fitting) -> str:
    """Of all that the weights depend on: a checkpoint of other data or settings is not gone on with."""
    setting = fitting.setting
    told = (fitting.name, fitting.seed, fitting.deep.model_dump_json(), setting.augment.model_dump_json(), rows.names)
    digest = hashlib.sha256(repr((told, version("ebbtide"))).encode())
    parts = [rows.X, rows.y, rows.as_of_us, rows.user]
    if rows.sequences is not None:
        log = rows.sequences.log
        parts += [log.start, log.time, log.known, log.type, log.item, log.price]
    if setting.item_vectors is not None:
        parts.append(setting.item_vectors.vector)
    for part in parts:
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
