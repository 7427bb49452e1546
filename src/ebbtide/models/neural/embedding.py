"""An event as a vector: the sum of its tokens' embeddings and an encoding of its times."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_OCTAVES = 4


class TimeEncoding(nn.Module):
    """Scaled log times, each with sines and cosines of a few octaves: near and far are both told apart."""

    def __init__(self, numbers: int, width: int) -> None:
        super().__init__()
        self.register_buffer("octave", torch.pi * 2.0 ** torch.arange(_OCTAVES), persistent=False)
        self.mix = nn.Linear(numbers * (1 + 2 * _OCTAVES), width)

    def forward(self, numbers: Tensor) -> Tensor:
        turned = numbers.unsqueeze(-1) * self.octave  # (B, T, N, O)
        parts = [numbers, turned.sin().flatten(-2), turned.cos().flatten(-2)]
        return self.mix(torch.cat(parts, dim=-1))  # (B, T, W)


class EventEmbedding(nn.Module):
    """Tokens and times of events to vectors; `sizes` are the numbers of codes of each token, as in `Vocabulary.sizes`."""

    def __init__(self, sizes: Sequence[int], numbers: int, width: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        starts = torch.tensor([0, *sizes[:-1]]).cumsum(0)
        self.register_buffer("starts", starts, persistent=False)
        self.table = nn.Parameter(torch.randn(sum(sizes), width) * 0.1)
        self.time = TimeEncoding(numbers, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, codes: Tensor, numbers: Tensor) -> Tensor:
        B, T, K = codes.shape
        rows = codes + self.starts  # (B, T, K)
        if torch.onnx.is_in_onnx_export():  # ONNX has no bags: they would become a loop over the events
            tokens = F.embedding(rows, self.table).sum(dim=2)  # (B, T, W)
        else:
            tokens = F.embedding_bag(rows.view(B * T, K), self.table, mode="sum").view(B, T, -1)  # (B, T, W)
        return self.dropout(self.norm(tokens + self.time(numbers)))  # (B, T, W)
