"""Every column maker by its name, and how a bundle's makers are read back.

To add one: write one file with a class that keeps `columns.ColumnMaker`, and name it here.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np

from ebbtide.core.errors import MissingBundleError, MissingExtraError
from ebbtide.core.language import Text
from ebbtide.models.base import Matrix
from ebbtide.models.columns import ColumnMaker
from ebbtide.models.neural.exported import ExportedColumn, is_exported
from ebbtide.models.projection import Components, Factors
from ebbtide.models.segments import Segments
from ebbtide.models.setting import Setting
from ebbtide.sequences.event_log import Sequences


@dataclass(frozen=True)
class Maker:
    """A column maker in the registry. `reads_events`: it needs the rows' event sequences; `reads_items`: it looks at
    item vectors where there are some. `learns_labels`: only a `ReadModel` may read its columns. `exports`: it tells
    its parts (`neural.parts`) and can be served as an ONNX graph."""

    make: Callable[[Setting], ColumnMaker]
    load: Callable[[Path], ColumnMaker]
    reads_events: bool = True
    reads_items: bool = False
    learns_labels: bool = True
    exports: bool = False


def deep(module: str, name: str) -> Any:
    """A class from a module that needs PyTorch, loaded when it is used. Raises MissingExtraError without the extra."""
    if find_spec("torch") is None:
        raise MissingExtraError("deep", Text("a neural model", "神经网络模型"))
    return getattr(importlib.import_module(f"ebbtide.models.{module}"), name)


def _net(module: str, cls: str, **traits: bool) -> Maker:
    """A neural net, over event sequences and predicting churn unless `traits` say otherwise."""
    return Maker(
        lambda s: cast(ColumnMaker, deep(module, cls)(s)),
        lambda folder: cast(ColumnMaker, deep(module, cls).load(folder)),
        **traits,
    )


def _compression(cls: type[Components] | type[Factors] | type[Segments]) -> Maker:
    """A label-free compression of the base columns."""
    return Maker(lambda _: cls(), cls.load, reads_events=False, learns_labels=False)


MAKERS: dict[str, Maker] = {
    "rnn": _net("rnn", "GruColumn", exports=True),
    "lstm": _net("rnn", "LstmColumn", exports=True),
    "cnn": _net("cnn", "CnnColumn", exports=True),
    "transformer": _net("transformer", "TransformerColumn", exports=True),
    "cnn_rnn": _net("cnn_rnn", "HybridColumn", reads_items=True, exports=True),
    "vae_code": _net("vae", "VaeColumns", reads_events=False, learns_labels=False),
    "pca": _compression(Components),
    "segments": _compression(Segments),
    "factors": _compression(Factors),
    "event_state": _net("event_model.columns", "EventState", learns_labels=False, exports=True),
    "event_model": _net("event_model.columns", "EventModel", exports=True),
}


def reads_events(names: Sequence[str]) -> bool:
    """Whether any of these makers needs event sequences."""
    return any(MAKERS[name].reads_events for name in names)


def reads_items(names: Sequence[str]) -> bool:
    """Whether any of these makers looks at item vectors."""
    return any(MAKERS[name].reads_items for name in names)


def all_columns(makers: Sequence[ColumnMaker], base: Matrix, sequences: Sequences | None) -> Matrix:
    """X as a stack reads it: the base columns (catalogue, expected orders), then those of the makers in order."""
    if not makers:
        return base
    return np.column_stack([base, *(maker.columns(base, sequences) for maker in makers)])


def save_makers(folder: Path, makers: Sequence[ColumnMaker]) -> None:
    """A folder a maker, and their order."""
    folder.mkdir(parents=True, exist_ok=True)
    for maker in makers:
        (folder / maker.name).mkdir()
        maker.save(folder / maker.name)
    (folder / "makers.json").write_text(json.dumps([m.name for m in makers]), encoding="utf-8")


def load_makers(folder: Path) -> tuple[ColumnMaker, ...]:
    """Read what `save_makers` wrote. Raises MissingBundleError on one that this version does not know."""
    names: list[str] = json.loads((folder / "makers.json").read_text(encoding="utf-8"))
    unknown = sorted(set(names) - set(MAKERS))
    if unknown:
        raise MissingBundleError(
            "the bundle holds column makers that this version does not know: {names}; train again",
            "模型包含有此版本不认识的列生成器：{names}；请重新训练",
            names=", ".join(unknown),
        )
    return tuple(
        ExportedColumn.load(folder / name) if is_exported(folder / name) else MAKERS[name].load(folder / name)
        for name in names
    )
