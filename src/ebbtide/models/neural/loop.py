"""The one training loop of all neural nets: batches in, the best weights out.

AdamW with warm-up and a cosine, gradient clipping, bf16 on a GPU, early stopping on a held-out loss, a checkpoint after
each pass to resume from, progress. The same seed on the same machine gives the same net.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ebbtide.core.errors import DataError, RetryError
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.models.neural.checkpoint import load_checkpoint, save_checkpoint

B = TypeVar("B")
_FIRST_SHARE = 0.05  # of the steps, while the learning rate rises


@dataclass(frozen=True)
class LoopConfig:
    """`epochs`: most passes; `patience`: passes without a better held-out loss before stopping; `key`: what a checkpoint
    must have been made for to be resumed. The checkpoint of a finished training stays, and training again ends at once:
    who gave the file's place removes it when all is done; without `checkpoint` nothing is left behind."""

    epochs: int = 10
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    clip: float = 1.0
    patience: int = 3
    checkpoint: Path | None = None
    key: str = ""


@dataclass(frozen=True)
class Work(Generic[B]):
    """What is learnt: `batches(epoch)` of one pass, `steps` in each of them, the mean `loss` of a batch, and the
    held-out loss (None: train to the end)."""

    batches: Callable[[int], Iterable[B]]
    steps: int
    loss: Callable[[B], Tensor]
    held_out: Callable[[], float] | None = None


def train_loop(
    net: nn.Module, work: Work[B], config: LoopConfig, *, progress: Progress = silent, stage: Text | None = None
) -> list[float]:
    """Train in place; the net ends with its best held-out weights. Returns the held-out (else training) loss of each pass.

    Raises DataError if the loss is not finite, RetryError if memory runs out.
    """
    device = next(net.parameters()).device
    optimizer = torch.optim.AdamW(
        net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=device.type == "cuda"
    )
    best: dict[str, Tensor] | None = None
    facts: dict[str, Any] = {"key": config.key, "epoch": 0, "losses": [], "best": math.inf}
    if config.checkpoint is not None:
        found = load_checkpoint(config.checkpoint, net, optimizer, config.key)
        best, facts = found or (best, facts)
    named = stage or Text("training a neural net", "训练神经网络")
    while facts["epoch"] < config.epochs and _since_best(facts["losses"]) < config.patience:
        progress(named, facts["epoch"], config.epochs)
        loss = _one_pass(net, work, optimizer, config, facts["epoch"], device)
        if work.held_out is not None:
            net.eval()
            with torch.no_grad():
                loss = work.held_out()
        facts["losses"].append(loss)
        facts["epoch"] += 1
        if loss < facts["best"]:
            facts["best"] = loss
            best = {name: value.detach().clone() for name, value in net.state_dict().items()}
        if config.checkpoint is not None:
            save_checkpoint(config.checkpoint, net, optimizer, best, facts)
    if best is not None and work.held_out is not None:
        net.load_state_dict(best)
    net.eval()
    progress(named, config.epochs, config.epochs)
    return list(facts["losses"])


def _one_pass(
    net: nn.Module,
    work: Work[B],
    optimizer: torch.optim.Optimizer,
    config: LoopConfig,
    epoch: int,
    device: torch.device,
) -> float:
    """One pass over the training rows; the mean loss."""
    net.train()
    torch.manual_seed(epoch)  # dropout of a resumed pass is that of an unbroken run
    total, count, planned = torch.zeros((), device=device), 0, work.steps * config.epochs
    mixed: Any = torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()
    with memory_in_words():
        for step, batch in enumerate(work.batches(epoch), work.steps * epoch):
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * _rate(step, planned)
            optimizer.zero_grad(set_to_none=True)
            with mixed:
                loss = work.loss(batch)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), config.clip)
            optimizer.step()
            total, count = total + loss.detach(), count + 1  # stays on the device: reading it would wait for the GPU
    mean = float(total) / max(count, 1)
    if not math.isfinite(mean):
        raise DataError(
            "the loss of a neural net is no finite number: lower deep.learning_rate, and look for infinite values in "
            "the data with `ebbtide check`",
            "神经网络的损失不是有限数：请调低 deep.learning_rate，并用 `ebbtide check` 检查数据中的无穷值",
        )
    return mean


@contextmanager
def memory_in_words() -> Iterator[None]:
    """Memory that runs out becomes a RetryError; PyTorch tells it of the CPU in a plain RuntimeError."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as fault:
        if (
            type(fault) is RuntimeError
            and "not enough memory" not in str(fault)
            and "allocate memory" not in str(fault)
        ):
            raise
        raise RetryError(
            "memory ran out while training a neural net: lower deep.batch, deep.max_len or deep.hidden and train again",
            "训练神经网络时内存不足：请调低 deep.batch、deep.max_len 或 deep.hidden 后重新训练",
        ) from None


def _rate(step: int, planned: int) -> float:
    """Share of the peak learning rate: a short rise, then half a cosine down to a tenth.

    >>> [round(_rate(s, 100), 2) for s in (0, 4, 52, 99)]
    [0.2, 1.0, 0.56, 0.1]
    """
    first = max(1, round(planned * _FIRST_SHARE))
    if step < first:
        return (step + 1) / first
    done = min(1.0, (step - first) / max(planned - first, 1))
    return 0.1 + 0.45 * (1 + math.cos(math.pi * done))


def _since_best(losses: list[float]) -> int:
    """Passes since the least loss; 0 before any."""
    return len(losses) - 1 - int(np.argmin(losses)) if losses else 0


def seeded(seed: int) -> None:
    """Start PyTorch's own draws (initial weights, dropout) at a seed."""
    torch.manual_seed(seed)
