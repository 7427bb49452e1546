"""Events to states: after each event, what is known of the user by then. Causal, so that one pass trains every position."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ebbtide.models.event_model.sizes import EventModelConfig
from ebbtide.models.neural.embedding import EventEmbedding
from ebbtide.models.neural.tensors import Events, last_state


class GruEncoder(nn.Module):
    """Gated recurrent units; time comes in with each event's gap and age."""

    def __init__(self, config: EventModelConfig) -> None:
        super().__init__()
        self.cells = nn.GRU(config.width, config.width, config.layers, batch_first=True)

    def forward(self, x: Tensor, events: Events) -> Tensor:
        return self.cells(x)[0]  # (B, T, W)


class Block(nn.Module):
    """Pre-norm attention and a gated feed-forward net. Positions are the events' times: rotary angles of log age."""

    def __init__(self, config: EventModelConfig) -> None:
        super().__init__()
        width = config.width
        self.heads, self.dropout = config.heads, config.dropout
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        B, T, W = x.shape
        qkv = self.qkv(self.norm_1(x)).view(B, T, 3, self.heads, W // self.heads)  # (B, T, 3, H, D)
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))  # (B, H, T, D) each
        q, k = rotate(q, turn), rotate(k, turn)
        drop = self.dropout if self.training else 0.0
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=drop)  # (B, H, T, D)
        x = x + self.out(seen.transpose(1, 2).reshape(B, T, W))  # (B, T, W)
        hidden = self.down(F.gelu(self.up(self.norm_2(x)), approximate="tanh"))  # (B, T, W)
        return x + F.dropout(hidden, self.dropout, self.training)  # (B, T, W)


class TransformerEncoder(nn.Module):
    """A causal Transformer whose positions are times. Padding stands at the end, so no event ever looks at it."""

    def __init__(self, config: EventModelConfig) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        depth = config.width // config.heads // 2
        self.register_buffer("speed", 400.0 / 64.0 ** (torch.arange(depth) / depth), persistent=False)

    def forward(self, x: Tensor, events: Events) -> Tensor:
        angle = events.numbers[..., 1].unsqueeze(1).unsqueeze(-1) * self.speed  # (B, 1, T, D / 2)
        turn = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
        for block in self.blocks:
            x = block(x, turn)  # (B, T, W)
        return self.norm(x)  # (B, T, W)


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary encoding (Su et al. 2021): x (B, H, T, D), cosines and sines (B, 1, T, D / 2)."""
    cos, sin = turn
    a, b = x.chunk(2, dim=-1)  # (B, H, T, D / 2)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)  # (B, H, T, D)


class EventNet(nn.Module):
    """Events to states. `sizes` are the numbers of codes of each token, as in `Vocabulary.sizes`."""

    def __init__(self, config: EventModelConfig, sizes: Sequence[int], numbers: int) -> None:
        super().__init__()
        self.config = config
        self.embed = EventEmbedding(sizes, numbers, config.width, dropout=config.dropout)
        self.encoder = GruEncoder(config) if config.encoder == "gru" else TransformerEncoder(config)

    def forward(self, events: Events) -> Tensor:
        return self.encoder(self.embed(events.codes, events.numbers), events)  # (B, T, W)

    def compiled(self) -> EventNet:
        """The same net, its blocks compiled, one for all: worth it on a GPU, where batches come in few shapes."""
        if isinstance(self.encoder, TransformerEncoder):
            for block in self.encoder.blocks:
                block.compile(dynamic=False)
        return self

    @property
    def state_width(self) -> int:
        """Numbers in a user state, S."""
        return 2 * self.config.width

    def state(self, events: Events) -> Tensor:
        """The user state, (B, S)."""
        return told(self(events), events)


def told(states: Tensor, events: Events) -> Tensor:
    """The user state of encoder states (B, T, W): the one after the last event, and the mean over all, (B, 2 W)."""
    seen = events.mask().unsqueeze(-1)  # (B, T, 1)
    mean = (states * seen).sum(1) / events.length.unsqueeze(1)  # (B, W)
    return torch.cat([last_state(states, events.length), mean.to(states.dtype)], dim=1)  # (B, 2 W)
