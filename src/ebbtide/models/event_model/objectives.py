"""What the event model learns without labels: whose slice this is, what comes next, what the next window holds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ebbtide.models.neural.tensors import Events
from ebbtide.sequences.tokens import TOKENS

NEXT = ("type", "category", "price", "repeat")
"""The tokens of the next event that are predicted."""
_NEGATIVES = 5
_MARGIN = 0.5


class Objectives(nn.Module):
    """Heads that only pretraining needs. Windows: counts of each event type in the horizon after the slice."""

    def __init__(self, width: int, sizes: Sequence[int], types: int, *, contrast: str = "coles") -> None:
        super().__init__()
        self.places = [TOKENS.index(name) for name in NEXT]
        self.parts = [sizes[place] for place in self.places]
        self.next = nn.Linear(width, sum(self.parts) + 1)
        self.window = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, types))
        self.contrast = contrast

    def forward(self, states: Tensor, last: Tensor, events: Events, counts: Tensor, known: Tensor) -> Tensor:
        """The loss of B rows, two slices of each of B / 2 users one after the other.

        states (B, T, W), last (B, W), counts (B, types) of the window after the slice, known (B,) where it has closed.
        """
        alike = vicreg_loss(last) if self.contrast == "vicreg" else coles_loss(last)
        return self.next_loss(states, events) + self.window_loss(last, counts, known) + alike  # ()

    def next_loss(self, states: Tensor, events: Events) -> Tensor:
        """Cross-entropy of the next event's tokens, and the squared error of its log gap."""
        told = self.next(states[:, :-1]).float()  # (B, T - 1, sum of sizes + 1)
        here = events.mask()[:, 1:].float()  # (B, T - 1)
        codes, gaps = events.codes[:, 1:], events.numbers[:, 1:, 0]  # (B, T - 1, K), (B, T - 1)
        loss = 4.0 * (told[..., -1] - gaps).square()  # (B, T - 1)
        for logits, place in zip(told[..., :-1].split(self.parts, dim=-1), self.places, strict=True):
            wrong = F.cross_entropy(logits.transpose(1, 2), codes[..., place], reduction="none")  # (B, T - 1)
            loss = loss + wrong / len(self.places)
        return (loss * here).sum() / here.sum().clamp(min=1.0)  # ()

    def window_loss(self, last: Tensor, counts: Tensor, known: Tensor) -> Tensor:
        """Poisson loss of the counts of each type in the window, over the rows whose window has closed."""
        rates = self.window(last).float()  # (B, types)
        loss = F.poisson_nll_loss(rates.clamp(max=6.0), counts, reduction="none").mean(1)  # (B,)
        return (loss * known).sum() / known.sum().clamp(min=1.0)  # ()


def coles_loss(last: Tensor) -> Tensor:
    """Contrastive learning of event sequences (Babaev et al. 2022): slices of one user lie close, others apart.

    last (B, W): rows 2i and 2i + 1 are of one user. Each row is held against its 5 nearest strangers, margin 0.5.
    """
    z = F.normalize(last.float(), dim=1)  # (B, W)
    distance = (2 - 2 * z @ z.T).clamp(min=1e-7).sqrt()  # (B, B)
    user = torch.arange(len(z), device=z.device) // 2  # (B,)
    same = user.unsqueeze(0) == user.unsqueeze(1)  # (B, B)
    twin = torch.arange(len(z), device=z.device) ^ 1  # (B,)
    near = distance.gather(1, twin.unsqueeze(1)).square().mean()  # ()
    strangers = distance.masked_fill(same, torch.inf)  # (B, B)
    nearest = strangers.topk(min(_NEGATIVES, max(len(z) - 2, 1)), dim=1, largest=False).values  # (B, 5)
    return near + F.relu(_MARGIN - nearest).square().mean()  # ()


def vicreg_loss(last: Tensor) -> Tensor:
    """Variance, invariance, covariance (Bardes, Ponce, LeCun 2022), last (B, W) as in `coles_loss`."""
    z = last.float()
    invariance = F.mse_loss(z[0::2], z[1::2])
    centred = z - z.mean(0)  # (B, W)
    variance = F.relu(1 - (centred.var(0) + 1e-4).sqrt()).mean()
    covariance = centred.T @ centred / max(len(z) - 1, 1)  # (W, W)
    off = covariance - torch.diag(covariance.diag())
    return invariance + variance + 0.04 * off.square().sum() / z.shape[1]  # ()
