"""Pretraining: an event net from raw event streams, without labels, on one machine or with `torchrun` on many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from ebbtide.core.errors import DataError
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.models.event_model.encoder import EventNet, told
from ebbtide.models.event_model.objectives import Objectives
from ebbtide.models.event_model.slices import Slices
from ebbtide.models.event_model.throughput import Throughput
from ebbtide.models.neural.loop import LoopConfig, Work, train_loop
from ebbtide.models.neural.tensors import Events, to_events
from ebbtide.sequences.batches import Batch

_HELD_OUT = 20
_POOL = 16


@dataclass(frozen=True)
class PretrainConfig:
    """`epochs`: most passes, each over as many events as the shops have; `users`: in a batch, two slices each;
    `max_events`: read in all; `contrast`: none, coles or vicreg. Batches are padded to
    multiples of `multiple` events, for nets that are compiled for each shape. `watched`: a twentieth of the users is
    held out and tells when to stop."""

    epochs: int = 10
    users: int = 64
    learning_rate: float = 2e-3
    max_events: int = 5_000_000
    patience: int = 3
    contrast: str = "none"
    multiple: int = 1
    watched: bool = True
    checkpoint: Path | None = None
    key: str = ""


@dataclass(frozen=True)
class Drawn:
    """One batch of slices and their windows."""

    batch: Batch
    counts: NDArray[np.float32]
    known: NDArray[np.float32]


class _Task(nn.Module):
    """Net and heads as one module whose forward is the loss, so that data parallel training wraps it whole."""

    def __init__(self, net: EventNet, objectives: Objectives) -> None:
        super().__init__()
        self.net, self.objectives = net, objectives

    def forward(self, events: Events, counts: Tensor, known: Tensor) -> Tensor:
        states = self.net(events)  # (B, T, W)
        return self.objectives(states, told(states, events), events, counts, known)  # ()


def pretrain(
    net: EventNet,
    shops: Sequence[Slices],
    sizes: Sequence[int],
    config: PretrainConfig,
    *,
    seed: int,
    progress: Progress = silent,
    measured: Callable[[Throughput], None] | None = None,
) -> list[float]:
    """Pretrain `net` in place on the histories of one or more shops; the held-out loss of each pass.

    Under `torchrun` each process takes its share
    of the users of a pass. `measured` hears of the throughput after each pass.
    Raises DataError if no shop has users with enough events.
    """
    device = next(net.parameters()).device
    people = [s.users() for s in shops]
    learnt = [u[u % _HELD_OUT != 0] for u in people]
    held = [u[u % _HELD_OUT == 0] for u in people]
    if not any(len(u) > 1 for u in learnt):
        raise DataError(
            "no user has enough events to pretrain on: at least 4 each are needed; ingest more of the log",
            "没有用户具备足够的事件用于预训练：每位至少需要 4 个；请导入更多日志",
        )
    task: nn.Module = _Task(net, Objectives(net.config.width, sizes, shops[0].types, contrast=config.contrast)).to(
        device
    )
    rank, world = _place()
    module = task
    if world > 1:
        module = nn.parallel.DistributedDataParallel(task, [device.index] if device.type == "cuda" else None)
    meter = Throughput.of(net, device)
    has = np.concatenate([s.counts()[u] for s, u in zip(shops, learnt, strict=True)])  # (U,)
    mean_len = float(np.mean([s.shortest + min(s.max_len, has.mean()) for s in shops])) / 2
    events_a_pass = min(float(has.sum()), config.max_events / config.epochs)
    steps = max(1, int(events_a_pass / (2 * mean_len * config.users) / world))

    def loss(drawn: Drawn) -> Tensor:
        events = to_events(drawn.batch, device)
        meter.add(drawn.batch)
        return module(events, *(torch.from_numpy(part).to(device) for part in (drawn.counts, drawn.known)))

    def batches(epoch: int) -> Iterator[Drawn]:
        rng = np.random.default_rng((seed, epoch, rank))
        meter.start()
        yield from ahead(_pooled(shops, learnt, config, steps, rng))
        meter.stop(device)
        if measured is not None:
            measured(meter)

    def held_out() -> float:
        rng = np.random.default_rng((seed, 1_000_003))
        return float(np.mean([float(loss(drawn)) for drawn in _pooled(shops, held, config, min(8, steps), rng)]))

    watch = config.watched and world == 1 and all(len(u) > 1 for u in held)
    work = Work(batches, steps, loss, held_out if watch else None)
    loop = LoopConfig(
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        patience=config.patience,
        checkpoint=config.checkpoint,
        key=config.key,
    )
    return train_loop(task, work, loop, progress=progress, stage=Text("pretraining the event model", "预训练事件模型"))


def _pooled(
    shops: Sequence[Slices],
    users: Sequence[NDArray[np.int64]],
    config: PretrainConfig,
    steps: int,
    rng: np.random.Generator,
) -> Iterator[Drawn]:
    """`steps` batches, each of one shop, chosen in proportion to its users; drawn in pools and sorted by length within
    them, so that little is padded."""
    weight = np.array([len(u) for u in users], np.float64)
    left = steps
    while left > 0:
        shop = int(rng.choice(len(shops), p=weight / weight.sum()))
        size = min(config.users, len(users[shop]))
        count = min(left, _POOL)
        chosen = rng.choice(users[shop], count * size, replace=count * size > len(users[shop]))
        rows = shops[shop].draw(chosen, rng)
        counts, known = shops[shop].windows(rows)
        longer = rows.lengths().reshape(-1, 2).max(axis=1)
        order = np.argsort(longer, kind="stable")
        for k in rng.permutation(count):
            own = order[k * size : (k + 1) * size]
            pair = (2 * own[:, None] + np.arange(2)).ravel()
            yield Drawn(rows.batch(pair, multiple=config.multiple), counts[pair], known[pair])
        left -= count


def ahead(batches: Iterator[Drawn]) -> Iterator[Drawn]:
    """The same batches, each made while the one before it is used."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch


def _place() -> tuple[int, int]:
    """This process's rank and the number of processes; (0, 1) outside `torchrun`."""
    if not dist.is_available() or not dist.is_torchelastic_launched():
        return 0, 1
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return dist.get_rank(), dist.get_world_size()
