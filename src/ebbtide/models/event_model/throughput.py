"""How fast the event model trains: events a second, and model-FLOPs utilisation."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Self

import torch

from ebbtide.models.event_model.encoder import EventNet
from ebbtide.sequences.batches import Batch

PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "T4": 65e12}
"""Dense bf16 (T4: fp16) multiply-adds of the makers' data sheets, two operations each, by a part of the device's name."""


@dataclass
class Throughput:
    """Counts the real events (padding is not counted) of one pass. `flops`: of one event, forward and backward, without
    embedding look-ups: six for each weight of the encoder, and attention's 12 x layers x width x length / 2 (causal)."""

    weights: int
    attention: int
    device: str
    peak: float | None
    events: int = 0
    pairs: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, net: EventNet, device: torch.device) -> Self:
        """A meter for a net on its device; the peak is known for some GPUs only."""
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
        weights = sum(p.numel() for p in net.encoder.parameters() if p.dim() > 1)
        config = net.config
        attention = 12 * config.layers * config.width // 2 if config.encoder == "transformer" else 0
        return cls(weights, attention, name, next((v for k, v in PEAK_FLOPS.items() if k in name), None))

    def start(self) -> None:
        """Begin a pass."""
        self.events = self.pairs = 0
        self.seconds = -perf_counter()

    def add(self, batch: Batch) -> None:
        """Count a batch."""
        self.events += int(batch.length.sum())
        self.pairs += int((batch.length**2).sum())

    def stop(self, device: torch.device) -> None:
        """End a pass, once the device has done what it was given."""
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        self.seconds += perf_counter()

    @property
    def events_per_second(self) -> float:
        """Real events a second."""
        return self.events / max(self.seconds, 1e-9)

    @property
    def flops_per_second(self) -> float:
        """Floating-point operations that the model needs for these events, a second."""
        return (6 * self.weights * self.events + self.attention * self.pairs) / max(self.seconds, 1e-9)

    @property
    def utilisation(self) -> float | None:
        """Model-FLOPs utilisation (Chowdhery et al. 2022); None on a device whose peak is not known."""
        return self.flops_per_second / self.peak if self.peak else None
