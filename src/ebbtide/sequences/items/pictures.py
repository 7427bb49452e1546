"""Pictures by an autoencoder that is trained on the shop's own (extra `deep`); no labels, no download."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ebbtide.core.errors import DataError, MissingExtraError
from ebbtide.core.ids import hash_texts
from ebbtide.core.language import Text
from ebbtide.sequences.items.encoder import Encoded, Vectors, placed, unknown
from ebbtide.sequences.items.picture_files import Pixels, read_pictures

_MOST_PICTURES = 20_000
_STEPS = 1_500
_SIZE = 64
_FILE = "pictures.npz"


@dataclass(frozen=True)
class PictureEncoder:
    """Item pictures in `dims` numbers; `weights` of `autoencoder.Autoencoder`, empty before `fit`."""

    name: ClassVar[str] = "pictures"
    column: ClassVar[str] = "picture"
    dims: int = 64
    epochs: int = 0
    """Passes over the pictures; 0: as many as make about 1,500 steps, and at most 60."""
    weights: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def fit(self, items: pl.DataFrame, seed: int) -> Self:
        """Train on the distinct pictures, or a stable sample of 20,000 of them."""
        torch_side = _torch_side()
        pixels = readable_pictures(items, _SIZE, _MOST_PICTURES)
        epochs = self.epochs or min(60, max(1, _STEPS * 64 // len(pixels)))
        net = torch_side.train_autoencoder(pixels, self.dims, epochs, seed)
        return replace(self, weights=torch_side.weights_of(net))

    def encode(self, items: pl.DataFrame) -> Encoded:
        """Unknown: no picture, or one that cannot be read."""
        torch_side = _torch_side()
        net = torch_side.with_weights(self.weights)
        return encode_pictures(items, _SIZE, self.dims, lambda pixels: torch_side.codes(net, pixels))

    def save(self, folder: Path) -> None:
        """Write `pictures.npz`."""
        arrays: dict[str, Any] = dict(self.weights)
        np.savez_compressed(folder / _FILE, **arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(folder / _FILE, allow_pickle=False) as arrays:
            weights = {name: arrays[name] for name in arrays.files}
        return cls(dims=len(weights["code.bias"]), weights=weights)


def readable_pictures(items: pl.DataFrame, size: int, most: int) -> Pixels:
    """The distinct pictures that can be read, (N, size, size, 3); beyond `most`, a stable sample of the files.

    Raises DataError if there are none.
    """
    paths = items["picture"].drop_nulls().unique()
    chosen = paths.gather(np.argsort(hash_texts(paths), kind="stable")[:most]).sort()
    pixels = [pictures.pixels for _, pictures in read_pictures(chosen.to_list(), size)]
    found = np.concatenate(pixels) if pixels else np.zeros((0, size, size, 3), np.uint8)
    if not len(found):
        raise DataError(
            "none of the {count:,} pictures of the items can be read: `picture` must hold paths of image files, relative "
            "to the workspace or absolute",
            "{count:,} 张商品图片均无法读取：`picture` 应为图片文件路径（相对于工作区或绝对路径）",
            count=len(paths),
        )
    return found


def encode_pictures(items: pl.DataFrame, size: int, dims: int, code: Callable[[Pixels], Vectors]) -> Encoded:
    """The vector of each item's picture, each file read once; problems are counted by items."""
    paths = items["picture"].drop_nulls().unique().sort()
    vectors = unknown(len(paths), dims)
    problems: Counter[str] = Counter(empty=items["picture"].null_count())
    for start, pictures in read_pictures(paths.to_list(), size):
        if len(pictures.at):
            vectors[start + pictures.at] = code(pictures.pixels)
        problems.update(pictures.problems)
    return Encoded(placed(vectors, paths, items["picture"]), +problems)


def _torch_side() -> Any:
    """`autoencoder.py`, which needs PyTorch."""
    try:
        return import_module("ebbtide.sequences.items.autoencoder")
    except ImportError as fault:
        if fault.name != "torch":
            raise
        raise MissingExtraError("deep", Text("an encoder of item pictures", "商品图片编码器")) from None
