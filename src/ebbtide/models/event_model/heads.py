"""The multi-task head: churn, silence at shorter horizons, orders, money and the time to the next order, of one state."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ebbtide.models.event_model.targets import SHARES

_CHURN, _SILENT, _ORDERS, _PAYS, _MONEY, _WAIT = (
    0,
    1,
    1 + len(SHARES),
    2 + len(SHARES),
    3 + len(SHARES),
    5 + len(SHARES),
)
_OUTPUTS = _WAIT + 2
_ASIDE = 0.2  # weight of each task beside churn


class Heads(nn.Module):
    """One hidden layer shared by all tasks. Money is zero-inflated lognormal (Wang, Liu, Miao 2019), the wait lognormal
    and censored at the horizon, orders Poisson."""

    def __init__(self, width: int, horizon_days: float, base: int = 0, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.horizon_days = horizon_days
        self.mix = nn.Sequential(
            nn.LayerNorm(width + base), nn.Dropout(dropout), nn.Linear(width + base, width), nn.GELU()
        )
        self.out = nn.Linear(width, _OUTPUTS)

    def forward(self, state: Tensor) -> Tensor:
        return self.out(self.mix(state))  # (B, outputs)

    def churn(self, state: Tensor) -> Tensor:
        """Log-odds of churn, (B,)."""
        return self(state)[:, _CHURN]

    def loss(self, state: Tensor, target: dict[str, Tensor]) -> Tensor:
        """Churn's cross-entropy and a fifth of each other task's loss."""
        told = self(state).float()  # (B, outputs)
        churn = F.binary_cross_entropy_with_logits(told[:, _CHURN], target["churned"])
        silent = F.binary_cross_entropy_with_logits(told[:, _SILENT : _SILENT + len(SHARES)], target["silent"])
        orders = F.poisson_nll_loss(told[:, _ORDERS].clamp(max=6.0), target["orders"])
        return churn + _ASIDE * (
            silent + orders + self._money(told, target["value"]) + self._wait(told, target["wait"])
        )

    def outlook(self, state: Tensor) -> dict[str, Tensor]:
        """What each task expects: orders, money (shop currency) and the median days to the next order, (B,) each."""
        told = self(state)
        scale = F.softplus(told[:, _MONEY + 1])
        spent = torch.sigmoid(told[:, _PAYS]) * torch.exp((told[:, _MONEY] + 0.5 * scale**2).clamp(max=20.0))
        return {
            "orders": torch.exp(told[:, _ORDERS].clamp(max=6.0)),
            "money": spent,
            "wait_days": torch.exp(told[:, _WAIT].clamp(max=12.0)),
        }

    def _money(self, told: Tensor, value: Tensor) -> Tensor:
        pays = (value > 0).float()  # (B,)
        zero = F.binary_cross_entropy_with_logits(told[:, _PAYS], pays)
        scale = F.softplus(told[:, _MONEY + 1]) + 1e-3  # (B,)
        logs = value.clamp(min=1e-6).log()  # (B,)
        amount = 0.5 * ((logs - told[:, _MONEY]) / scale) ** 2 + scale.log()  # (B,)
        return zero + (amount * pays).sum() / pays.sum().clamp(min=1.0)

    def _wait(self, told: Tensor, wait: Tensor) -> Tensor:
        """Lognormal likelihood of the wait; who did not order is known to wait longer than the horizon."""
        seen = ~wait.isnan()  # (B,)
        scale = F.softplus(told[:, _WAIT + 1]) + 1e-2  # (B,)
        days = torch.where(seen, wait, self.horizon_days).clamp(min=0.02).log()  # (B,)
        z = (days - told[:, _WAIT]) / scale  # (B,)
        density = 0.5 * z**2 + scale.log()
        longer = -torch.special.log_ndtr(-z)
        return torch.where(seen, density, longer).mean() / math.log(1 + self.horizon_days)
