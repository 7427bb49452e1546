"""A small Wasserstein GAN with gradient penalty that makes up rows (Gulrajani et al. 2017), in plain PyTorch."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ebbtide.models.base import Matrix
from ebbtide.models.neural.loop import memory_in_words

_NOISE, _WIDTH, _BATCH = 16, 64, 128
_CRITIC_STEPS, _PENALTY, _RATE = 5, 10.0, 5e-4


class Generator(nn.Module):
    """Noise (B, _NOISE) to rows (B, 2 F): values, then how surely each is unknown."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.dense = nn.Sequential(
            nn.Linear(_NOISE, _WIDTH), nn.LeakyReLU(0.2), nn.Linear(_WIDTH, _WIDTH), nn.LeakyReLU(0.2)
        )
        self.value, self.unknown = nn.Linear(_WIDTH, columns), nn.Linear(_WIDTH, columns)

    def forward(self, noise: Tensor) -> Tensor:
        x = self.dense(noise)  # (B, W)
        unknown = self.unknown(x).sigmoid()  # (B, F)
        return torch.cat([self.value(x) * (1 - unknown), unknown], dim=1)  # (B, 2 F)


def make_critic(columns: int) -> nn.Sequential:
    """Rows (B, 2 F) to how real they look, (B, 1)."""
    layers = [nn.Linear(2 * columns, _WIDTH), nn.LeakyReLU(0.2), nn.Linear(_WIDTH, _WIDTH), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Linear(_WIDTH, 1))


def imagined_rows(z: Matrix, count: int, *, seed: int, steps: int = 400) -> Matrix:
    """`count` rows like those of z (N, F), standardised with NaN = unknown; each value within its column's range.

    `steps` of the generator, each after five of the critic. The same seed on the same machine gives the same rows.
    Raises RetryError if memory runs out.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    unknown = np.isnan(z)
    real = torch.from_numpy(np.hstack([np.nan_to_num(z, nan=0.0), unknown]).astype(np.float32))  # (N, 2 F)
    with memory_in_words():
        generator = _trained(real, rng, steps)
    with torch.no_grad():
        value, unsure = generator(torch.randn(count, _NOISE)).chunk(2, dim=1)  # (count, F) each
    low, high = np.nan_to_num(np.fmin.reduce(z, axis=0)), np.nan_to_num(np.fmax.reduce(z, axis=0))
    made = np.clip(value.numpy(), low, high)
    return np.where((unsure.numpy() > 0.5) & unknown.any(axis=0), np.nan, made).astype(np.float32)


def _trained(real: Tensor, rng: np.random.Generator, steps: int) -> Generator:
    columns = real.shape[1] // 2
    generator, critic = Generator(columns), make_critic(columns)
    makes = torch.optim.Adam(generator.parameters(), lr=_RATE, betas=(0.0, 0.9))
    judges = torch.optim.Adam(critic.parameters(), lr=_RATE, betas=(0.0, 0.9))
    for _ in range(steps):
        for _ in range(_CRITIC_STEPS):
            rows = real[torch.from_numpy(rng.integers(0, len(real), _BATCH))]  # (B, 2 F)
            with torch.no_grad():
                made = generator(torch.randn(_BATCH, _NOISE))  # (B, 2 F)
            loss = critic(made).mean() - critic(rows).mean() + _PENALTY * _steepness(critic, rows, made)
            judges.zero_grad(set_to_none=True)
            loss.backward()
            judges.step()
        loss = -critic(generator(torch.randn(_BATCH, _NOISE))).mean()
        makes.zero_grad(set_to_none=True)
        loss.backward()
        makes.step()
    return generator


def _steepness(critic: nn.Module, rows: Tensor, made: Tensor) -> Tensor:
    """How far the critic's slope is from 1 between real and made-up rows, squared: the gradient penalty."""
    way = torch.rand(len(rows), 1)  # (B, 1)
    between = (rows + way * (made - rows)).requires_grad_()  # (B, 2 F)
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)  # (B, 2 F)
    return F.mse_loss(slope.norm(dim=1), torch.ones(len(rows)))
