"""Made for these tests: item tables, a tiny sentence model, a torchvision of one small net."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ebbtide.events.schema import ITEM_COLUMNS

KINDS = ("mug", "lamp", "scarf")
TEXTS = {
    "mug": ("red coffee mug", "blue coffee mug 300 ml", "white tea mug", "coffee mug with handle", "mug for tea"),
    "lamp": (
        "desk lamp led",
        "floor lamp warm light",
        "bedside lamp dimmable",
        "led lamp for desk",
        "reading light lamp",
    ),
    "scarf": ("wool scarf grey", "silk scarf green", "winter scarf wool", "cotton scarf striped", "warm wool scarf"),
}
CHINESE = {
    "mug": ("红色咖啡杯", "蓝色咖啡杯", "白色茶杯", "带盖咖啡杯", "陶瓷茶杯"),
    "lamp": ("护眼台灯", "落地台灯", "床头台灯", "可调光台灯", "阅读台灯"),
    "scarf": ("羊毛围巾", "真丝围巾", "冬季羊毛围巾", "条纹围巾", "保暖围巾"),
}


def items_of(**columns: list[object]) -> pl.DataFrame:
    """An items table with these columns; the others are empty."""
    height = len(next(iter(columns.values())))
    frame = pl.DataFrame({n: pl.Series(columns.get(n, [None] * height), dtype=t) for n, t in ITEM_COLUMNS.items()})
    return frame if "item_id" in columns else frame.with_columns(item_id=pl.format("i{}", pl.int_range(height)))


def own_kind_share(vectors: np.ndarray, kinds: list[str]) -> float:
    """The share of items whose nearest neighbour by cosine is of their kind."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = unit @ unit.T
    np.fill_diagonal(near, -2)
    return float(np.mean([kinds[i] == kinds[j] for i, j in enumerate(near.argmax(axis=1))]))


def write_tiny_bert(folder: Path, *, seed: int = 0) -> Path:
    """A sentence model of random weights: two layers, 16 wide, words of the test shop and single characters."""
    st = pytest.importorskip("sentence_transformers", reason="the extra `text` is not installed")
    modules = pytest.importorskip("sentence_transformers.sentence_transformer.modules")
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    words = sorted({w for texts in TEXTS.values() for t in texts for w in t.split()})
    bert = folder / "bert"
    bert.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (bert / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    torch.manual_seed(seed)
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    transformers.BertModel(transformers.BertConfig(vocab_size=len(vocabulary), **size)).save_pretrained(bert)
    transformers.BertTokenizer(str(bert / "vocab.txt")).save_pretrained(bert)
    word_model = modules.Transformer(str(bert))
    st.SentenceTransformer(modules=[word_model, modules.Pooling(16)], device="cpu").save(str(folder / "model"))
    return folder / "model"


def fake_torchvision(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put `torchvision.models.tinynet` in place and return the file of its weights."""
    torch = pytest.importorskip("torch", reason="the extra `deep` is not installed")

    class TinyNet(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pool = torch.nn.AdaptiveAvgPool2d(2)
            self.mix = torch.nn.Linear(12, 6)
            self.fc = torch.nn.Linear(6, 1000)

        def forward(self, x):
            return self.fc(self.mix(self.pool(x).flatten(1)))

    module, models = types.ModuleType("torchvision"), types.ModuleType("torchvision.models")
    models.tinynet = lambda weights: TinyNet()  # type: ignore[attr-defined]
    models.othernet = lambda weights: torch.nn.Linear(3, 3)  # type: ignore[attr-defined]
    module.models = models  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", module)
    torch.manual_seed(0)
    file = folder / "tinynet.pth"
    torch.save(TinyNet().state_dict(), file)
    return file


def write_pictures(folder: Path) -> pl.DataFrame:
    """24 pictures of three kinds: red discs, green bars, blue frames, at random places on white."""
    image = pytest.importorskip("PIL.Image", reason="the extra `deep` is not installed")
    pytest.importorskip("torch", reason="the extra `deep` is not installed")
    rng = np.random.default_rng(1)
    paths, kinds = [], []
    y, x = np.mgrid[:64, :64]
    for n in range(24):
        kind, (top, left) = n % 3, rng.integers(16, 48, 2)
        inside = (
            (y - top) ** 2 + (x - left) ** 2 < 150,
            abs(x - left) < 5,
            (abs(y - top) < 14) & (abs(x - left) < 14),
        )[kind]
        pixels = np.full((64, 64, 3), 255, np.uint8)
        pixels[inside] = np.eye(3, dtype=np.uint8)[kind] * 220
        path = folder / f"{n}.png"
        image.fromarray(pixels).save(path)
        paths.append(str(path))
        kinds.append(str(kind))
    return items_of(picture=paths, category=kinds)
