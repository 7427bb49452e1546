"""A variational autoencoder over the columns (Kingma, Welling 2014): a short code of a user, learnt without labels.

What a user is like in a few numbers, and how unlike all others they are: the error of rebuilding the columns from them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ebbtide.core.errors import DefectError
from ebbtide.core.language import Text
from ebbtide.core.settings import DeepConfig
from ebbtide.models.base import Matrix, Rows
from ebbtide.models.basis import Basis
from ebbtide.models.columns import ModelColumn
from ebbtide.models.neural.fit import Chosen, Fitting, fit_basis, fit_net
from ebbtide.models.neural.loop import memory_in_words
from ebbtide.models.neural.tensors import choose_device
from ebbtide.models.setting import Setting
from ebbtide.sequences.event_log import Sequences

CODE = 8
_BLOCK_ROWS = 8192
_FAMILY = "profile"


class Autoencoder(nn.Module):
    """Columns (B, P) to the mean and log variance of a code (B, CODE), and back."""

    def __init__(self, regressors: int, width: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(regressors, width), nn.GELU(), nn.Linear(width, 2 * CODE))
        self.decoder = nn.Sequential(nn.Linear(CODE, width), nn.GELU(), nn.Linear(width, regressors))

    def forward(self, x: Tensor) -> Tensor:
        """The mean loss: half the squared error, summed over the columns, and the distance of the code from a standard
        normal one. In training the code is drawn, else it is its mean."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)  # (B, CODE) each
        noise = torch.randn_like(mean) if self.training else torch.zeros_like(mean)  # (B, CODE)
        rebuilt = self.decoder(mean + noise * (log_variance / 2).exp())  # (B, P)
        error = (rebuilt - x).square().sum(1) / 2  # (B,)
        distance = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2  # (B,)
        return (error + distance).mean()

    def describe(self, x: Tensor) -> Tensor:
        """The mean of the code, then log(1 + mean squared error), (B, CODE + 1)."""
        mean, _ = self.encoder(x).chunk(2, dim=1)  # (B, CODE)
        error = (self.decoder(mean) - x).square().mean(1, keepdim=True)  # (B, 1)
        return torch.cat([mean, error.log1p()], dim=1)  # (B, CODE + 1)


class VaeColumns:
    """`vae_code`: columns `vae_1` to `vae_8` and `vae_error`."""

    name: ClassVar[str] = "vae_code"

    def __init__(self, setting: Setting) -> None:
        self.deep = setting.deep
        self._setting = setting
        self._basis: Basis | None = None
        self._net: Autoencoder | None = None

    def declarations(self) -> tuple[ModelColumn, ...]:
        """The code, then the error."""
        code = (
            ModelColumn(
                column=f"vae_{k}",
                words=Text(f"learnt trait {k} of the customer's profile", f"自动学习的顾客特征 {k}"),
                kind=_FAMILY,
            )
            for k in range(1, CODE + 1)
        )
        unusual = Text("how unlike other customers the profile is", "与其他顾客的差异程度")
        return (*code, ModelColumn(column="vae_error", words=unusual, kind=_FAMILY))

    def fit(self, rows: Rows, *, seed: int) -> Self:
        """Learn from the columns of all rows but those of every tenth user, who tell when to stop; no label is read
        but to see whether these users are a fair sample.

        Raises DataError if no column varies, RetryError if memory runs out.
        """
        self._basis = fit_basis(rows)
        torch.manual_seed(seed)
        device = choose_device(self.deep.device)
        with memory_in_words():
            net = Autoencoder(self._basis.regressors, self.deep.hidden).to(device)
        x = torch.from_numpy(self._basis.design(rows.X))  # (N, P)

        def loss(chosen: Chosen, rng: np.random.Generator | None) -> Tensor:
            told: Tensor = net(x[torch.from_numpy(chosen)].to(device))  # ()
            return told

        fit_net(net, rows, loss, Fitting(self.name, self.deep, self._setting, seed))
        self._net = net.cpu().double().eval()
        return self

    def columns(self, X: Matrix, sequences: Sequences | None) -> Matrix:
        """(N, CODE + 1), worked out in double precision so that company does not matter."""
        basis, net = self._fitted()
        out = np.empty((len(X), CODE + 1), np.float32)
        with torch.no_grad():
            for start in range(0, len(X), _BLOCK_ROWS):
                x = torch.from_numpy(basis.design(X[start : start + _BLOCK_ROWS])).double()  # (B, P)
                out[start : start + _BLOCK_ROWS] = net.describe(x).numpy()
        return out

    def save(self, folder: Path) -> None:
        """Weights as safetensors in single precision, the rest as JSON."""
        basis, net = self._fitted()
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.float().contiguous() for name, value in net.state_dict().items()}
        save_file(weights, folder / "net.safetensors")
        about = {"deep": self.deep.model_dump(), "basis": basis.to_json()}
        (folder / "vae.json").write_text(json.dumps(about), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        about = json.loads((folder / "vae.json").read_text(encoding="utf-8"))
        made = cls(Setting(0.0, deep=DeepConfig(**about["deep"])))
        made._basis = Basis.from_json(about["basis"])
        net = Autoencoder(made._basis.regressors, made.deep.hidden)
        net.load_state_dict(load_file(folder / "net.safetensors"))
        made._net = net.double().eval()
        return made

    def _fitted(self) -> tuple[Basis, Autoencoder]:
        if self._basis is None or self._net is None:
            raise DefectError("a neural net is used before it is fitted", "神经网络尚未拟合就被使用")
        return self._basis, self._net
