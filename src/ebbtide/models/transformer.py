"""A Transformer over a user's events (Vaswani et al. 2017), normed before each part (Xiong et al. 2020).

Order and pauses are in the events' time encoding, so there are no positions to learn; every event sees every other.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ebbtide.core.language import Text
from ebbtide.models.neural.column import NeuralColumn, Shape
from ebbtide.models.neural.embedding import EventEmbedding
from ebbtide.models.neural.tensors import Events

_LAYERS = 2
_HEAD_WIDTH = 16


class Block(nn.Module):
    """Attention, then a dense part; both add to what passes."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads_of(width)
        self.norm_attention, self.norm_dense = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ask = nn.Linear(width, 3 * width)
        self.tell = nn.Linear(width, width)
        self.dense = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, keys: Tensor) -> Tensor:
        B, T, W = x.shape
        parts = self.ask(self.norm_attention(x)).view(B, T, 3, self.heads, -1)  # (B, T, 3, H, W/H)
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # each (B, H, T, W/H)
        heard = F.scaled_dot_product_attention(q, k, v, attn_mask=keys)  # (B, H, T, W/H)
        x = x + self.dropout(self.tell(heard.transpose(1, 2).reshape(B, T, W)))  # (B, T, W)
        return x + self.dropout(self.dense(self.norm_dense(x)))  # (B, T, W)


class TransformerNet(nn.Module):
    """Blocks over all events; a learned question weighs their states into one that tells the log-odds."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, dropout = shape.deep.hidden, shape.deep.dropout
        self.embed = EventEmbedding(shape.sizes, shape.numbers, width, dropout=dropout)
        self.blocks = nn.ModuleList(Block(width, dropout) for _ in range(_LAYERS))
        self.norm = nn.LayerNorm(width)
        self.weigh = nn.Linear(width, 1)
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, events: Events, base: Tensor | None) -> Tensor:
        mask = events.mask()  # (B, T)
        x = events.blended(self.embed(events.codes, events.numbers))  # (B, T, W)
        for block in self.blocks:
            x = block(x, mask[:, None, None, :])  # (B, T, W)
        x = self.norm(x)  # (B, T, W)
        weight = self.weigh(x).squeeze(-1).masked_fill(~mask, -torch.inf).softmax(1)  # (B, T)
        state = torch.einsum("bt,btw->bw", weight, x)  # (B, W)
        return self.head(state).squeeze(1)  # (B,)


def heads_of(width: int) -> int:
    """Heads of about 16 values each, as many as divide the width.

    >>> [heads_of(w) for w in (8, 16, 64, 100, 101)]
    [1, 1, 4, 5, 1]
    """
    return next(heads for heads in range(max(1, width // _HEAD_WIDTH), 0, -1) if width % heads == 0)


class TransformerColumn(NeuralColumn):
    """`transformer`: attention over all events."""

    name: ClassVar[str] = "transformer"
    words: ClassVar[Text] = Text(
        "what recent events say when seen together (Transformer)", "综合近期全部事件的含义（Transformer）"
    )

    def build(self, shape: Shape) -> nn.Module:
        """The net."""
        return TransformerNet(shape)
