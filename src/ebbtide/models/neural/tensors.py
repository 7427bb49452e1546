"""Batches on a device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebbtide.sequences.batches import Batch
from ebbtide.sequences.tokens import TOKENS


@dataclass(frozen=True)
class Events:
    """A batch as tensors on the device: codes (B, T, K) int64, numbers (B, T, N), length (B,) int64.

    item (B, T) int64: places in the table of item vectors, 0 = none; without such a table, the item's token.
    """

    codes: Tensor
    numbers: Tensor
    length: Tensor
    item: Tensor

    def mask(self) -> Tensor:
        """True where there is an event, (B, T)."""
        return torch.arange(self.codes.shape[1], device=self.codes.device) < self.length.unsqueeze(1)


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
