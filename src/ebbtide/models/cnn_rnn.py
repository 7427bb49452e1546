"""The hybrid of the field: a CNN reads each event's item, an RNN the sequence, dense layers join the columns.

An item is its vector (text, picture or given: `sequences/items`), read as a signal along its dimensions; a shop without
item vectors gets a learned signal for each item of the vocabulary instead. An item that came after training has no
vector until the next training.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ebbtide.core.language import Text
from ebbtide.models.neural.column import NeuralColumn, Shape
from ebbtide.models.neural.embedding import EventEmbedding
from ebbtide.models.neural.tensors import Events, last_state

_SIGNAL = 32
_CHANNELS = (8, 16)


class ItemCnn(nn.Module):
    """The item vectors through two convolutions; only the items of a batch are read, each once."""

    def __init__(self, shape: Shape, width: int) -> None:
        super().__init__()
        if shape.vectors is None:
            self.table: Tensor = nn.Parameter(torch.randn(shape.sizes[1], _SIGNAL))
        else:
            self.register_buffer("table", torch.from_numpy(shape.vectors), persistent=False)
        first, second = _CHANNELS
        self.conv = nn.Sequential(
            nn.Conv1d(1, first, 5, stride=2, padding=2), nn.GELU(), nn.Conv1d(first, second, 5, stride=2, padding=2)
        )
        quarter = (self.table.shape[1] + 3) // 4
        self.mix = nn.Linear(second * quarter, width)

    def forward(self, item: Tensor) -> Tensor:
        places, back = item.unique(return_inverse=True)  # (U,), (B, T)
        signal = F.embedding(places, self.table).unsqueeze(1)  # (U, 1, D)
        heard = F.gelu(self.conv(signal)).flatten(1)  # (U, C * D/4)
        return F.embedding(back.view(item.shape), self.mix(heard))  # (B, T, W)


class HybridNet(nn.Module):
    """Events with what the CNN says of their items through a GRU; its last state and the columns tell the log-odds."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, dropout = shape.deep.hidden, shape.deep.dropout
        self.embed = EventEmbedding(shape.sizes, shape.numbers, width, dropout=dropout)
        self.items = ItemCnn(shape, width)
        self.norm = nn.LayerNorm(width)
        self.cell = nn.GRU(width, width, batch_first=True)
        self.columns = nn.Sequential(nn.Linear(shape.base, width), nn.GELU(), nn.Dropout(dropout))
        self.head = nn.Sequential(nn.LayerNorm(2 * width), nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, events: Events, base: Tensor | None) -> Tensor:
        assert base is not None
        told = self.embed(events.codes, events.numbers) + self.items(events.item)  # (B, T, W)
        x = self.norm(events.blended(told))  # (B, T, W)
        states, _ = self.cell(x)  # (B, T, W)
        last = last_state(states, events.length)  # (B, W)
        return self.head(torch.cat([last, self.columns(base)], dim=1)).squeeze(1)  # (B,)


class HybridColumn(NeuralColumn):
    """`cnn_rnn`: items, sequence and columns together."""

    name: ClassVar[str] = "cnn_rnn"
    words: ClassVar[Text] = Text(
        "what items, their order and the other figures say together (hybrid net)",
        "商品、顺序与其他指标综合的含义（混合网络）",
    )
    reads_base: ClassVar[bool] = True
    reads_items: ClassVar[bool] = True

    def build(self, shape: Shape) -> nn.Module:
        """The net."""
        return HybridNet(shape)
