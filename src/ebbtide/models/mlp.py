"""A multilayer perceptron over the columns: dense layers on the scale of `Basis`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ebbtide.core.errors import DefectError
from ebbtide.core.settings import DeepConfig
from ebbtide.models.attribution import permutation_terms, reference_row
from ebbtide.models.base import Matrix, Rows, Vector
from ebbtide.models.basis import Basis
from ebbtide.models.neural.fit import Chosen, Fitting, fit_basis, fit_net
from ebbtide.models.neural.loop import memory_in_words
from ebbtide.models.neural.tensors import choose_device
from ebbtide.models.setting import Setting
from ebbtide.models.trainable import check_trainable

_BLOCK_ROWS = 8192


def dense_net(regressors: int, deep: DeepConfig) -> nn.Sequential:
    """(B, P) -> (B, 1): two hidden layers, each normed within the row, so that company does not matter."""
    width = deep.hidden

    def layer(inputs: int) -> list[nn.Module]:
        return [nn.Linear(inputs, width), nn.LayerNorm(width), nn.GELU(), nn.Dropout(deep.dropout)]

    return nn.Sequential(*layer(regressors), *layer(width), nn.Linear(width, 1))


class MlpModel:
    """`mlp`: margin in double precision; contributions by walks from a usual training row (`attribution`)."""

    name: ClassVar[str] = "mlp"

    def __init__(self, setting: Setting) -> None:
        self.deep = setting.deep.model_copy(update=setting.values_of(self.name))
        self._setting = setting
        self._basis: Basis | None = None
        self._net: nn.Module | None = None
        self._reference: NDArray[np.float32] = np.zeros(0, np.float32)

    def fit(self, rows: Rows, *, seed: int) -> Self:
        """Train on all rows but those of every tenth user, who tell when to stop.

        Raises DataError if the rows have one class or no column that varies; RetryError if memory runs out.
        """
        check_trainable(rows)
        self._basis, self._reference = fit_basis(rows), reference_row(rows.X)
        torch.manual_seed(seed)
        device = choose_device(self.deep.device)
        with memory_in_words():
            net = dense_net(self._basis.regressors, self.deep).to(device)
        x = torch.from_numpy(self._basis.design(rows.X))  # (N, P)
        y = torch.from_numpy(rows.y.astype(np.float32))  # (N,)

        def loss(chosen: Chosen, rng: np.random.Generator | None) -> Tensor:
            picked = torch.from_numpy(chosen)  # (B,)
            odds = net(x[picked].to(device)).squeeze(1)  # (B,)
            return F.binary_cross_entropy_with_logits(odds.float(), y[picked].to(device))

        fit_net(net, rows, loss, Fitting(self.name, self.deep, self._setting, seed))
        self._net = net.cpu().double().eval()
        return self

    def margin(self, X: Matrix) -> Vector:
        """Log-odds of churn, (N,)."""
        basis, net = self._fitted()
        out = np.empty(len(X))
        with torch.no_grad():
            for start in range(0, len(X), _BLOCK_ROWS):
                x = torch.from_numpy(basis.design(X[start : start + _BLOCK_ROWS])).double()  # (B, P)
                out[start : start + _BLOCK_ROWS] = net(x).squeeze(1).numpy()
        return out

    def contributions(self, X: Matrix) -> Vector:
        """(N, F + 1): terms against a usual training row, the last one its margin."""
        basis, _ = self._fitted()
        active = (basis.scale > 0) | (basis.missing_scale > 0)
        return permutation_terms(self.margin, X, self._reference, active=active)

    def save(self, folder: Path) -> None:
        """Weights as safetensors in single precision, the rest as JSON."""
        basis, net = self._fitted()
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.float().contiguous() for name, value in net.state_dict().items()}
        save_file(weights, folder / "net.safetensors")
        reference = [None if np.isnan(v) else float(v) for v in self._reference]
        about = {"deep": self.deep.model_dump(), "basis": basis.to_json(), "reference": reference}
        (folder / "mlp.json").write_text(json.dumps(about), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        about = json.loads((folder / "mlp.json").read_text(encoding="utf-8"))
        model = cls(Setting(0.0, deep=DeepConfig(**about["deep"])))
        model._basis = Basis.from_json(about["basis"])
        model._reference = np.array([np.nan if v is None else v for v in about["reference"]], np.float32)
        net = dense_net(model._basis.regressors, model.deep)
        net.load_state_dict(load_file(folder / "net.safetensors"))
        model._net = net.double().eval()
        return model

    def _fitted(self) -> tuple[Basis, nn.Module]:
        if self._basis is None or self._net is None:
            raise DefectError("a neural net is used before it is fitted", "神经网络尚未拟合就被使用")
        return self._basis, self._net
