"""Batches on a device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebbtide.sequences.batches import Batch
from ebbtide.sequences.tokens import TOKENS


@dataclass(frozen=True)
class Mix:
    """How each of B rows is blended with another: partner (B,), weight (B,) of the row itself, own (B,) lengths."""

    partner: Tensor
    weight: Tensor
    own: Tensor

    def blend(self, values: Tensor) -> Tensor:
        """Rows of anything, (B, ...)."""
        weight = self.weight.to(values.dtype).view(-1, *[1] * (values.dim() - 1))  # (B, 1, ...)
        return weight * values + (1 - weight) * values[self.partner]  # (B, ...)


@dataclass(frozen=True)
class Events:
    """A batch as tensors on the device: codes (B, T, K) int64, numbers (B, T, N), length (B,) int64.

    item (B, T) int64: places in the table of item vectors, 0 = none; without such a table, the item's token.
    mix: in training with mixup, the rows that are blended; `length` is then that of the blend.
    """

    codes: Tensor
    numbers: Tensor
    length: Tensor
    item: Tensor
    mix: Mix | None = None

    def mask(self) -> Tensor:
        """True where there is an event, (B, T)."""
        return _seen(self.codes.shape[1], self.length)

    def blended(self, x: Tensor) -> Tensor:
        """Vectors of events (B, T, W), blended where rows are to be."""
        if self.mix is None:
            return x
        return self.mix.blend(x * _seen(x.shape[1], self.mix.own).unsqueeze(-1))  # (B, T, W)


def _seen(width: int, length: Tensor) -> Tensor:
    return torch.arange(width, device=length.device) < length.unsqueeze(1)  # (B, T)


def to_events(batch: Batch, device: torch.device, dtype: torch.dtype = torch.float32) -> Events:
    """Copy a batch to the device."""
    codes, numbers, length = (torch.from_numpy(part) for part in (batch.codes, batch.numbers, batch.length))
    codes = codes.to(device, non_blocking=True)
    item = codes[..., TOKENS.index("item")]
    return Events(codes, numbers.to(device, dtype, non_blocking=True), length.to(device), item)


def pooled(states: Tensor, mask: Tensor) -> Tensor:
    """Mean and greatest value over each row's events: states (B, T, H), mask (B, T) -> (B, 2 H)."""
    seen = mask.unsqueeze(-1)  # (B, T, 1)
    mean = (states * seen).sum(1) / seen.sum(1)  # (B, H)
    most = states.masked_fill(~seen, -torch.inf).amax(1)  # (B, H)
    return torch.cat([mean, most], dim=1)  # (B, 2 H)


def last_state(states: Tensor, length: Tensor) -> Tensor:
    """The state after each row's last event: states (B, T, H), length (B,) -> (B, H)."""
    place = (length - 1).view(-1, 1, 1).expand(-1, 1, states.shape[-1])  # (B, 1, H)
    return states.gather(1, place).squeeze(1)  # (B, H)


def choose_device(name: str) -> torch.device:
    """auto: the GPU if there is one."""
    return torch.device("cuda" if name == "auto" and torch.cuda.is_available() else name.replace("auto", "cpu"))
