"""A small convolutional autoencoder: a picture through a narrow code and back. Needs PyTorch (extra `deep`).

Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural networks", Science 2006.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

SIZE = 64
_CELLS = 8 * 8
_BATCH = 64


class Autoencoder(nn.Module):
    """(B, 3, 64, 64) in [0, 1] -> code (B, D) -> (B, 3, 64, 64)."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.down1 = nn.Conv2d(3, 16, 4, stride=2, padding=1)
        self.down2 = nn.Conv2d(16, 32, 4, stride=2, padding=1)
        self.down3 = nn.Conv2d(32, 64, 4, stride=2, padding=1)
        self.code = nn.Linear(64 * _CELLS, dims)
        self.open = nn.Linear(dims, 64 * _CELLS)
        self.up1 = nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1)
        self.up2 = nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1)
        self.up3 = nn.ConvTranspose2d(16, 3, 4, stride=2, padding=1)

    def encode(self, x: Tensor) -> Tensor:
        x = F.gelu(self.down1(x))  # (B, 16, 32, 32)
        x = F.gelu(self.down2(x))  # (B, 32, 16, 16)
        x = F.gelu(self.down3(x))  # (B, 64, 8, 8)
        return self.code(x.flatten(1))  # (B, D)

    def decode(self, code: Tensor) -> Tensor:
        x = F.gelu(self.open(code)).view(-1, 64, 8, 8)  # (B, 64, 8, 8)
        x = F.gelu(self.up1(x))  # (B, 32, 16, 16)
        x = F.gelu(self.up2(x))  # (B, 16, 32, 32)
        return torch.sigmoid(self.up3(x))  # (B, 3, 64, 64)

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))  # (B, 3, 64, 64)


def train_autoencoder(pixels: NDArray[np.uint8], dims: int, epochs: int, seed: int) -> Autoencoder:
    """Learn to give these pictures (N, 64, 64, 3) back, by squared error, `epochs` times over."""
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net: Autoencoder = Autoencoder(dims)
    net.to(device)
    steps = epochs * -(-len(pixels) // _BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps)
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        for x in _batches(pixels[rng.permutation(len(pixels))], device):
            loss = F.mse_loss(net(x), x)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    net.cpu().eval()
    return net


def codes(net: Autoencoder, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 64, 64, 3) -> (N, D)."""
    with torch.no_grad():
        parts = [net.encode(x).numpy() for x in _batches(pixels, "cpu")]
    return np.concatenate([np.zeros((0, net.code.out_features), np.float32), *parts])


def _batches(pixels: NDArray[np.uint8], device: str) -> Iterator[Tensor]:
    for start in range(0, len(pixels), _BATCH):
        x = torch.from_numpy(pixels[start : start + _BATCH]).to(device)  # (B, 64, 64, 3)
        yield x.permute(0, 3, 1, 2).float() / 255  # (B, 3, 64, 64)


def weights_of(net: Autoencoder) -> dict[str, NDArray[np.float32]]:
    """The weights as arrays, by name."""
    return {name: value.numpy() for name, value in net.state_dict().items()}


def with_weights(weights: dict[str, NDArray[np.float32]]) -> Autoencoder:
    """The net with these weights."""
    net: Autoencoder = Autoencoder(len(weights["code.bias"]))
    net.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    net.eval()
    return net
