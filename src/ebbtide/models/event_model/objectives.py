"""What the event model learns without labels: what comes next, what the next window holds, and whose slice this is
(not by default: habits that stay tell less of churn than moods that move)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ebbtide.models.neural.tensors import Events
from ebbtide.sequences.tokens import TOKENS

NEXT = {"type": 1.0, "repeat": 1.0, "category": 0.1, "price": 0.1}
"""The tokens of the next event that are predicted, the type first, and how much each counts: an order of kinds of events
and of coming back to the same item tells of intentions, what the item is hardly does."""
GAPS = 18
"""Bins of the next event's gap, a unit of its logarithm each: the last one is from 280 days on."""
_NEGATIVES = 5
_PADDING = -100
_MARGIN = 0.5


class Objectives(nn.Module):
    """Heads that only pretraining needs. Windows: counts of each event type in the horizon after the slice."""

    def __init__(self, width: int, sizes: Sequence[int], types: int, *, contrast: str = "none") -> None:
        super().__init__()
        self.places = [TOKENS.index(name) for name in NEXT]
        self.parts = [*(sizes[place] for place in self.places[1:]), GAPS]
        self.kind = nn.Linear(width, sizes[self.places[0]])
        self.mix = nn.Linear(width, width)
        self.given = nn.Embedding(sizes[self.places[0]], width)
        self.rest = nn.Linear(width, sum(self.parts))
        self.window = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, types))
        self.contrast = contrast

    def forward(self, states: Tensor, last: Tensor, events: Events, counts: Tensor, known: Tensor) -> Tensor:
        """The loss of B rows, two slices of each of B / 2 users one after the other.

        states (B, T, W), last (B, W), counts (B, types) of the window after the slice, known (B,) where it has closed.
        """
        loss = self.next_loss(states, events) + self.window_loss(last, counts, known)
        return loss + CONTRASTS[self.contrast](last) if self.contrast != "none" else loss  # ()

    def next_loss(self, states: Tensor, events: Events) -> Tensor:
        """Cross-entropy of the next event's type, and of its other tokens and its gap given the type: a pause before a
        search and one before a cart are told apart."""
        here, before = events.mask()[:, 1:], states[:, :-1]  # (B, T - 1), (B, T - 1, W)
        codes = events.codes[:, 1:]  # (B, T - 1, K)
        gaps = (events.numbers[:, 1:, 0] * 8).long().clamp(0, GAPS - 1)  # (B, T - 1)
        kind = codes[..., self.places[0]]  # (B, T - 1)
        rest = self.rest(F.gelu(self.mix(before) + self.given(kind)))  # (B, T - 1, sum of sizes)
        wanted = [*(codes[..., place] for place in self.places[1:]), gaps]
        loss = _wrong(self.kind(before), kind, here)
        weights = [*list(NEXT.values())[1:], 1.0]
        for logits, code, weight in zip(rest.split(self.parts, dim=-1), wanted, weights, strict=True):
            loss = loss + weight * _wrong(logits, code, here)
        return loss  # ()

    def window_loss(self, last: Tensor, counts: Tensor, known: Tensor) -> Tensor:
        """Poisson loss of the counts of each type in the window, over the rows whose window has closed."""
        rates = self.window(last).float()  # (B, types)
        loss = F.poisson_nll_loss(rates.clamp(max=6.0), counts, reduction="none").mean(1)  # (B,)
        return (loss * known).sum() / known.sum().clamp(min=1.0)  # ()


def _wrong(logits: Tensor, code: Tensor, here: Tensor) -> Tensor:
    """Mean cross-entropy over the events that are `here`: logits (B, T, C), code (B, T), here (B, T)."""
    wanted = torch.where(here, code, _PADDING)  # (B, T)
    loss = F.cross_entropy(logits.flatten(0, 1).float(), wanted.flatten(), ignore_index=_PADDING, reduction="sum")
    return loss / here.sum().clamp(min=1)


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


CONTRASTS = {"coles": coles_loss, "vicreg": vicreg_loss}
"""Losses of slices of one user being alike, by name."""
