"""Pictures by a torchvision network with weights from a file (extra `pictures`), reduced to a few numbers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl

from ebbtide.core.errors import InputError, MissingBundleError, MissingExtraError
from ebbtide.core.language import Text
from ebbtide.sequences.items.encoder import Encoded, Vectors
from ebbtide.sequences.items.picture_files import Pixels
from ebbtide.sequences.items.pictures import encode_pictures, readable_pictures
from ebbtide.sequences.items.reduction import Reduction

_SIZE = 224
_MOST_PICTURES = 5_000
_MEAN, _SD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, on which torchvision's weights are trained."""
_HEADS = ("fc", "classifier", "heads", "head")
_BATCH = 32
_ABOUT, _ARRAYS = "backbone.json", "backbone.npz"


@dataclass(frozen=True)
class BackboneEncoder:
    """Item pictures by the torchvision network `model` with the state dict in the file `weights` (`.pth` or
    `.safetensors`), without its last layer. The weights are not copied into a bundle, only their SHA-256."""

    name: ClassVar[str] = "backbone"
    column: ClassVar[str] = "picture"
    model: str
    weights: str
    dims: int = 64
    sha256: str = ""
    reduction: Reduction = field(
        default_factory=lambda: Reduction(np.zeros(0, np.float32), np.zeros((0, 0), np.float32))
    )

    def fit(self, items: pl.DataFrame, seed: int) -> Self:
        """Learn the directions in which the pictures differ most. The network itself is not trained."""
        net = self._net()
        pixels = readable_pictures(items, _SIZE, _MOST_PICTURES)
        reduction = Reduction.fit(_outputs(net, pixels), self.dims, seed)
        return replace(self, sha256=_sha256(Path(self.weights)), reduction=reduction)

    def encode(self, items: pl.DataFrame) -> Encoded:
        """Unknown: no picture, or one that cannot be read."""
        net = self._net()
        dims = len(self.reduction.axes)
        return encode_pictures(items, _SIZE, dims, lambda pixels: self.reduction.apply(_outputs(net, pixels)))

    def save(self, folder: Path) -> None:
        """Write `backbone.json` and `backbone.npz`."""
        about = {name: getattr(self, name) for name in ("model", "weights", "dims", "sha256")}
        (folder / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
        np.savez_compressed(folder / _ARRAYS, centre=self.reduction.centre, axes=self.reduction.axes)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Raises MissingBundleError if the file of weights is gone or another one now."""
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        file = Path(about["weights"])
        if not file.is_file() or _sha256(file) != about["sha256"]:
            raise MissingBundleError(
                "the weights of `{model}` are not those that this bundle was trained with: put {file} back, or train again",
                "`{model}` 的权重与训练此模型包时所用的不同：请恢复 {file}，或重新训练",
                model=about["model"],
                file=file.name,
            )
        with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
            return cls(**about, reduction=Reduction(arrays["centre"], arrays["axes"]))

    def _net(self) -> Any:
        torch, torchvision = _libraries()
        make = getattr(torchvision.models, self.model, None)
        file = Path(self.weights)
        if make is None or not file.is_file():
            raise InputError(
                "items.model must name a network of torchvision.models and items.weights the file of its weights; "
                "got `{model}` and `{file}`",
                "items.model 应为 torchvision.models 中的网络名，items.weights 应为其权重文件；现为 `{model}` 与 `{file}`",
                model=self.model,
                file=self.weights,
            )
        net = make(weights=None)
        try:
            net.load_state_dict(_state(torch, file))
        except (RuntimeError, OSError) as fault:
            raise InputError(
                "the weights in {file} do not fit `{model}` ({kind}): download those of this network",
                "{file} 中的权重不适用于 `{model}`（{kind}）：请下载该网络的权重",
                file=file.name,
                model=self.model,
                kind=type(fault).__name__,
            ) from None
        head = next(name for name in _HEADS if hasattr(net, name))
        setattr(net, head, torch.nn.Identity())
        return net.eval()


def _outputs(net: Any, pixels: Pixels) -> Vectors:
    """(N, 224, 224, 3) -> (N, W), what the network tells before its last layer."""
    torch, _ = _libraries()
    mean, sd = torch.tensor(_MEAN).view(3, 1, 1), torch.tensor(_SD).view(3, 1, 1)
    parts = []
    with torch.no_grad():
        for start in range(0, len(pixels), _BATCH):
            x = torch.from_numpy(pixels[start : start + _BATCH]).permute(0, 3, 1, 2).float() / 255  # (B, 3, 224, 224)
            parts.append(net((x - mean) / sd).flatten(1).numpy())  # (B, W)
    return np.concatenate(parts)


def _state(torch: Any, file: Path) -> Any:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file  # noqa: PLC0415  an optional dependency

        return load_file(file)
    return torch.load(file, map_location="cpu", weights_only=True)


def _libraries() -> tuple[Any, Any]:
    try:
        import torch  # noqa: PLC0415  an optional dependency
        import torchvision  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError(
            "pictures", Text("a torchvision network for item pictures", "商品图片的 torchvision 网络")
        ) from None
    return torch, torchvision


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
