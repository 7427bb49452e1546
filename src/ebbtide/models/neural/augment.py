"""Changed copies of batches, in training only: a net that sees a history in several versions learns less by heart.

All off by default: see `docs/benchmarks.md` for what they changed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from ebbtide.core.settings import AugmentConfig
from ebbtide.models.neural.tensors import Events, Mix
from ebbtide.sequences.batches import Batch
from ebbtide.sequences.tokens import TOKENS

_ITEM = TOKENS.index("item")
_GAP = 0


def augmented(batch: Batch, config: AugmentConfig, rng: np.random.Generator) -> Batch:
    """The batch with all changes that `[augment]` asks for; the batch given stays as it is."""
    if config.crop:
        batch = cropped(batch, config.crop, rng)
    if config.mask:
        batch = masked(batch, config.mask, rng)
    if config.jitter:
        batch = jittered(batch, config.jitter, rng)
    return batch


def cropped(batch: Batch, share: float, rng: np.random.Generator) -> Batch:
    """Each row without its oldest events: up to `share` of them, at least one stays, which has no gap before it."""
    drop = np.floor(rng.random(len(batch.length)) * share * batch.length).astype(np.int64)  # (B,)
    drop = np.minimum(drop, batch.length - 1)
    length = batch.length - drop  # (B,)
    width = int(length.max(initial=1))
    place = np.arange(width) + drop[:, None]  # (B, T')
    inside = np.arange(width) < length[:, None]  # (B, T')
    place = np.where(inside, place, 0)
    codes = np.take_along_axis(batch.codes, place[..., None], 1) * inside[..., None]  # (B, T', K)
    numbers = np.take_along_axis(batch.numbers, place[..., None], 1) * inside[..., None]  # (B, T', N)
    item = np.take_along_axis(batch.item, place, 1) * inside  # (B, T')
    numbers[drop > 0, 0, _GAP] = 0
    return Batch(codes, numbers, length, item)


def masked(batch: Batch, share: float, rng: np.random.Generator) -> Batch:
    """A random `share` of the tokens is "none or unknown"; of an item, its vector goes with it."""
    hidden = rng.random(batch.codes.shape) < share  # (B, T, K)
    item = np.where(hidden[..., _ITEM], np.uint64(0), batch.item)
    return replace(batch, codes=np.where(hidden, 0, batch.codes), item=item)


def jittered(batch: Batch, spread: float, rng: np.random.Generator) -> Batch:
    """Gaps and ages times a random factor of their own: the logarithm of the factor has this standard deviation."""
    noise = rng.normal(0, spread / 8, batch.numbers.shape)  # (B, T, N); numbers are logarithms over 8
    moved = np.where(batch.numbers > 0, np.maximum(batch.numbers + noise, 0), batch.numbers)
    return replace(batch, numbers=moved.astype(np.float32))


def mixed(events: Events, alpha: float, rng: np.random.Generator) -> Events:
    """Each row to be blended with another one of the batch (mixup: Zhang et al. 2018), with weights Beta(alpha, alpha).

    The blend happens where events have become vectors (`Events.blended`); a row lasts as long as the longer of both.
    """
    rows = len(events.length)
    partner = torch.from_numpy(rng.permutation(rows)).to(events.length.device)  # (B,)
    drawn: NDArray[np.float64] = rng.beta(alpha, alpha, rows)
    weight = torch.from_numpy(np.maximum(drawn, 1 - drawn)).to(events.numbers)  # (B,), the row itself weighs more
    length = torch.maximum(events.length, events.length[partner])  # (B,)
    return replace(events, length=length, mix=Mix(partner, weight, events.length))
