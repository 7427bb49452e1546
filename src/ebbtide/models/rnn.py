"""Recurrent nets over a user's events, GRU (Cho et al. 2014) and LSTM (Hochreiter, Schmidhuber 1997)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ebbtide.core.language import Text
from ebbtide.models.neural.column import NeuralColumn, Shape
from ebbtide.models.neural.embedding import EventEmbedding
from ebbtide.models.neural.tensors import Events, last_state


class RecurrentNet(nn.Module):
    """Events, oldest first, through one recurrent layer; the state after the last event tells the log-odds."""

    def __init__(self, shape: Shape, cell: type[nn.GRU] | type[nn.LSTM]) -> None:
        super().__init__()
        width = shape.deep.hidden
        self.embed = EventEmbedding(shape.sizes, shape.numbers, width, dropout=shape.deep.dropout)
        self.cell = cell(width, width, batch_first=True)
        self.head = nn.Sequential(nn.LayerNorm(2 * width), nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, events: Events, base: Tensor | None) -> Tensor:
        x = events.blended(self.embed(events.codes, events.numbers))  # (B, T, W)
        states, _ = self.cell(x)  # (B, T, W)
        last = last_state(states, events.length)  # (B, W)
        seen = events.mask().unsqueeze(-1)  # (B, T, 1)
        mean = (states * seen).sum(1) / events.length.unsqueeze(1)  # (B, W)
        return self.head(torch.cat([last, mean], dim=1)).squeeze(1)  # (B,)


class GruColumn(NeuralColumn):
    """`rnn`: gated recurrent units."""

    name: ClassVar[str] = "rnn"
    words: ClassVar[Text] = Text(
        "what the order of recent events says (recurrent net)", "近期事件顺序的含义（循环网络）"
    )

    def build(self, shape: Shape) -> nn.Module:
        """The net."""
        return RecurrentNet(shape, nn.GRU)


class LstmColumn(NeuralColumn):
    """`lstm`: long short-term memory."""

    name: ClassVar[str] = "lstm"
    words: ClassVar[Text] = Text("what the order of recent events says (LSTM)", "近期事件顺序的含义（LSTM）")

    def build(self, shape: Shape) -> nn.Module:
        """The net."""
        return RecurrentNet(shape, nn.LSTM)
