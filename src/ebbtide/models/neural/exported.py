"""A net that was exported: the same column as the trained form, from ONNX Runtime, without PyTorch.

Each row runs through the graph alone, at its own length. So company cannot change a score by a single bit, although
the arithmetic is in single precision or in 8 bits; and no time is lost on padding.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.errors import DefectError, MissingExtraError
from ebbtide.core.language import Text
from ebbtide.models.base import Matrix, Rows
from ebbtide.models.columns import ModelColumn
from ebbtide.sequences.batches import TokenRows, by_length
from ebbtide.sequences.event_log import Sequences
from ebbtide.sequences.items.vectors import version_places
from ebbtide.sequences.vocabulary import Vocabulary

NET, ABOUT, ITEMS = "net.onnx", "exported.json", "items.npz"
_ROWS_AT_ONCE = 512  # whose events are laid out together


_Versions = tuple[NDArray[np.uint64], NDArray[np.int64]]
"""Of the item vectors in a graph, the items' hashes and from when on each counts: `ItemVectors.item`, `.valid_from`."""


@dataclass(frozen=True)
class ExportedColumn:
    """What `export` wrote into `folder`, which must stay there; `form` is onnx or int8."""

    name: str
    form: str
    folder: Path
    about: dict[str, Any]
    vocabulary: Vocabulary
    session: Any
    items: _Versions | None = None

    def fit(self, rows: Rows, *, seed: int) -> Self:
        """Never: there is nothing left to train."""
        raise DefectError("an exported net cannot be trained", "导出的网络无法训练")

    def declarations(self) -> tuple[ModelColumn, ...]:
        """The columns of the trained form."""
        return tuple(
            ModelColumn(column=c["name"], words=Text(c["en"], c["zh"]), kind=c["family"]) for c in self.about["columns"]
        )

    def columns(self, X: Matrix, sequences: Sequences | None) -> Matrix:
        """The columns of the trained form, (N, C): mostly one, log-odds of churn."""
        if sequences is None:
            raise DefectError(f"{self.name} needs event sequences", f"{self.name} 需要事件序列")
        tokens = TokenRows.of(sequences, self.vocabulary, self.about["max_len"])
        out, own = np.empty((len(X), len(self.about["columns"])), np.float32), np.ascontiguousarray(X, np.float32)
        for rows in by_length(tokens.lengths(), _ROWS_AT_ONCE, None):
            batch = tokens.batch(rows)
            places = self._places(batch.item, tokens.at_us[rows])
            for i, (row, length) in enumerate(zip(rows, batch.length, strict=True)):
                inputs = {
                    "codes": batch.codes[i : i + 1, :length],  # (1, T, K)
                    "numbers": batch.numbers[i : i + 1, :length],  # (1, T, N)
                    "length": batch.length[i : i + 1],  # (1,)
                }
                if self.about["reads_base"]:
                    inputs["base"] = own[row : row + 1]  # (1, F)
                if places is not None:
                    inputs["item"] = places[i : i + 1, :length]  # (1, T)
                out[row] = self.session.run(None, inputs)[0][0]
        return out

    def save(self, folder: Path) -> None:
        """Copy the files."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `export` or `save` wrote. Raises MissingExtraError without ONNX Runtime."""
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        items = None
        if (folder / ITEMS).is_file():
            with np.load(folder / ITEMS, allow_pickle=False) as arrays:
                items = arrays["item"], arrays["valid_from"]
        return cls(about["name"], about["form"], folder, about, Vocabulary.load(folder), _session(folder / NET), items)

    def _places(self, item: NDArray[np.uint64], at_us: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """The places of the vectors in force at each row's moment, (B, T), 0 = none; None for a net without vectors."""
        if self.items is None:
            return None
        return version_places(*self.items, item, at_us[:, None]).astype(np.int64) + 1


def is_exported(folder: Path) -> bool:
    """Whether a maker's folder holds an exported net."""
    return (folder / ABOUT).is_file()


def _session(file: Path) -> Any:
    """One thread a session: a row is too little work for more, and shards run side by side."""
    if find_spec("onnxruntime") is None:
        raise MissingExtraError("deep", Text("an exported neural net", "导出的神经网络"))
    import onnxruntime  # noqa: PLC0415  optional

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
