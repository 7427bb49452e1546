"""Texts by a sentence-transformers model, from a local folder or the hub (extra `text`)."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl

from ebbtide.core.errors import DataError, InputError, MissingBundleError, MissingExtraError
from ebbtide.core.language import Text
from ebbtide.sequences.items.encoder import Encoded, Vectors, placed
from ebbtide.sequences.items.reduction import Reduction

_PROBE = "Ebbtide reads this text to know the model again. 用于辨认模型的文本。"
_SAME = 1e-3
_ABOUT, _ARRAYS = "sentence.json", "sentence.npz"


@dataclass(frozen=True)
class SentenceEncoder:
    """Item texts by the `model` (a folder or a hub name), reduced to `dims` numbers (0: as they come).

    The model itself is not copied into a bundle, only its name and `probe` (W,), its vector of a fixed sentence, by which
    another model under the same name is found out.
    """

    name: ClassVar[str] = "sentence"
    column: ClassVar[str] = "text"
    model: str
    dims: int = 64
    probe: Vectors = field(default_factory=lambda: np.zeros(0, np.float32))
    reduction: Reduction = field(
        default_factory=lambda: Reduction(np.zeros(0, np.float32), np.zeros((0, 0), np.float32))
    )

    def fit(self, items: pl.DataFrame, seed: int) -> Self:
        """Learn the directions in which the distinct texts differ most. The model itself is not trained."""
        texts = items["text"].drop_nulls().unique().sort()
        if not len(texts):
            raise DataError(
                "no item has a text yet: map a column to `text` in the items source, or choose another items.encoder",
                "还没有商品带有文本：请在商品来源中把一列映射到 `text`，或选择其他 items.encoder",
            )
        vectors = _vectors(self.model, texts)
        probe = _vectors(self.model, pl.Series([_PROBE]))[0]
        return replace(self, probe=probe, reduction=Reduction.fit(vectors, self.dims, seed))

    def encode(self, items: pl.DataFrame) -> Encoded:
        """Unknown: no text."""
        texts = items["text"].drop_nulls().unique().sort()
        vectors = self.reduction.apply(_vectors(self.model, texts)) if len(texts) else self.reduction.axes[:0, :0]
        found = placed(vectors.reshape(len(texts), len(self.reduction.axes)), texts, items["text"])
        return Encoded(found, +Counter(empty=items["text"].null_count()))

    def save(self, folder: Path) -> None:
        """Write `sentence.json` and `sentence.npz`."""
        (folder / _ABOUT).write_text(json.dumps({"model": self.model, "dims": self.dims}), encoding="utf-8")
        np.savez_compressed(folder / _ARRAYS, probe=self.probe, centre=self.reduction.centre, axes=self.reduction.axes)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Raises MissingBundleError if the model of that name is another one now."""
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        with np.load(folder / _ARRAYS, allow_pickle=False) as arrays:
            loaded = cls(**about, probe=arrays["probe"], reduction=Reduction(arrays["centre"], arrays["axes"]))
        now = _vectors(loaded.model, pl.Series([_PROBE]))[0]
        if now.shape != loaded.probe.shape or np.abs(now - loaded.probe).max() > _SAME:
            raise MissingBundleError(
                "the sentence model `{model}` is not the one that this bundle was trained with: put that one back, or train again",
                "句子模型 `{model}` 与训练此模型包时所用的不同：请恢复原模型，或重新训练",
                model=loaded.model,
            )
        return loaded


def _vectors(model: str, texts: pl.Series) -> Vectors:
    """(N, W), rows of length 1. One text at a time would be slow, so they go in batches sorted by length."""
    found = _load(model).encode(
        texts.to_list(), batch_size=64, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
    )
    return np.asarray(found, np.float32)


@lru_cache(maxsize=2)
def _load(model: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415  an optional dependency
    except ImportError:
        raise MissingExtraError("text", Text("a sentence model for item texts", "商品文本的句子模型")) from None
    try:
        return SentenceTransformer(model)
    except (OSError, ValueError) as fault:
        raise InputError(
            "`{model}` is no sentence-transformers model that can be loaded ({kind}): give items.model a folder with one, "
            "or the name of one on the hub while you are online",
            "无法加载 sentence-transformers 模型 `{model}`（{kind}）：请将 items.model 设为模型文件夹，或在联网时使用模型库中的名称",
            model=model,
            kind=type(fault).__name__,
        ) from None
