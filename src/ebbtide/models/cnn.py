"""A convolutional net over a user's events: dilated 1-D convolutions (van den Oord et al. 2016; Bai et al. 2018)."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from ebbtide.core.language import Text
from ebbtide.models.neural.column import NeuralColumn, Shape
from ebbtide.models.neural.embedding import EventEmbedding
from ebbtide.models.neural.tensors import Events, pooled

_WINDOW = 3
_DILATIONS = (1, 2, 4)


class ConvBlock(nn.Module):
    """x + what a window of events around each one says; padding counts as zeros, like the world beyond the edges."""

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.conv = nn.Conv1d(width, width, _WINDOW, dilation=dilation, padding=dilation * (_WINDOW // 2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        window = (self.norm(x) * seen).transpose(1, 2)  # (B, W, T)
        heard = F.gelu(self.conv(window)).transpose(1, 2)  # (B, T, W)
        return x + self.dropout(heard)  # (B, T, W)


class ConvNet(nn.Module):
    """Blocks that look ever wider (15 events in all); the mean and the greatest of each value tell the log-odds."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, dropout = shape.deep.hidden, shape.deep.dropout
        self.embed = EventEmbedding(shape.sizes, shape.numbers, width, dropout=dropout)
        self.blocks = nn.ModuleList(ConvBlock(width, dilation, dropout) for dilation in _DILATIONS)
        self.head = nn.Sequential(nn.LayerNorm(2 * width), nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, events: Events, base: Tensor | None) -> Tensor:
        mask = events.mask()  # (B, T)
        x = events.blended(self.embed(events.codes, events.numbers))  # (B, T, W)
        for block in self.blocks:
            x = block(x, mask.unsqueeze(-1))  # (B, T, W)
        return self.head(pooled(x, mask)).squeeze(1)  # (B,)


class CnnColumn(NeuralColumn):
    """`cnn`: convolutions over time."""

    name: ClassVar[str] = "cnn"
    words: ClassVar[Text] = Text(
        "what patterns of neighbouring events say (convolutional net)", "相邻事件模式的含义（卷积网络）"
    )

    def build(self, shape: Shape) -> nn.Module:
        """The net."""
        return ConvNet(shape)
