"""A fitted net as one ONNX graph: the scaling of the base columns, the embedding and the net together.

Inputs: codes (B, T, K) int64, numbers (B, T, N) float32, length (B,) int64 and, for a net that reads them, base (B, F)
float32 as the row has it, NaN = unknown, and item (B, T) int64, the places of the item vectors, which are in the graph.
Output: log_odds (B,), or the columns (B, C) of a net that gives several. B and T are free.
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from ebbtide.models.basis import Basis
from ebbtide.models.neural.exported import ABOUT, ITEMS, NET
from ebbtide.models.neural.parts import Exportable
from ebbtide.models.neural.tensors import Events
from ebbtide.sequences.items.vectors import ItemVectors
from ebbtide.sequences.tokens import NUMBERS, TOKENS

_ROWS, _EVENTS = 3, 16  # of the example that is traced; the graph takes any
_OPSET = 18


class Scaler(nn.Module):
    """`Basis.design` without hinges, as part of the graph: base columns (B, F) to regressors (B, P)."""

    def __init__(self, basis: Basis) -> None:
        super().__init__()
        lines, gaps = basis.scale > 0, basis.missing_scale > 0
        for name, of, which in (
            ("low", basis.low, lines),
            ("high", basis.high, lines),
            ("mean", basis.mean, lines),
            ("scale", basis.scale, lines),
            ("missing_mean", basis.missing_mean, gaps),
            ("missing_scale", basis.missing_scale, gaps),
        ):
            self.register_buffer(name, torch.tensor(of[which], dtype=torch.float32))
        self.register_buffer("line", torch.tensor(lines.nonzero()[0]))
        self.register_buffer("gap", torch.tensor(gaps.nonzero()[0]))

    def forward(self, base: Tensor) -> Tensor:
        missing = torch.isnan(base)  # (B, F)
        known = torch.where(missing, torch.zeros_like(base), base)  # (B, F)
        u = torch.sign(known) * torch.log(1.0 + torch.abs(known))  # (B, F)
        u = torch.minimum(torch.maximum(u[:, self.line], self.low), self.high)  # (B, L)
        lines = torch.where(missing[:, self.line], torch.zeros_like(u), (u - self.mean) / self.scale)  # (B, L)
        gaps = (missing[:, self.gap].to(base.dtype) - self.missing_mean) / self.missing_scale  # (B, G)
        return torch.cat([lines, gaps], dim=1)  # (B, P)


class _Graph(nn.Module):
    """What is traced: plain tensors in, log-odds out."""

    def __init__(self, net: nn.Module, basis: Basis | None, *, reads_items: bool) -> None:
        super().__init__()
        self.net = net
        self.scaler = Scaler(basis) if basis else None
        self.reads_items = reads_items

    def forward(self, codes: Tensor, numbers: Tensor, length: Tensor, *more: Tensor) -> Tensor:
        own = self.scaler(more[0]) if self.scaler is not None else None  # (B, P)
        item = more[-1] if self.reads_items else codes[..., TOKENS.index("item")]  # (B, T)
        return self.net(Events(codes, numbers, length, item), own)  # (B,) or (B, C)


def export(column: Exportable, folder: Path, *, int8: bool = False) -> None:
    """Write the net as `net.onnx` with all that `ExportedColumn` needs beside it; `int8`: with weights in 8 bits.

    In 8 bits each activation is scaled by its own range when it is met (dynamic quantisation).
    """
    parts = column.parts()
    basis, items = parts.basis, parts.items
    folder.mkdir(parents=True, exist_ok=True)
    graph = _Graph(copy.deepcopy(parts.net).float(), basis, reads_items=items is not None).eval()
    with _quiet():
        _write(graph, _example(basis, items), folder / NET)
        if int8:
            _to_int8(folder / NET)
    parts.vocabulary.save(folder)
    if items is not None:
        np.savez_compressed(folder / ITEMS, item=items.item, valid_from=items.valid_from)
    about: dict[str, Any] = {
        "name": column.name,
        "form": "int8" if int8 else "onnx",
        "max_len": parts.max_len,
        "reads_base": basis is not None,
        "columns": [
            {"name": c.name, "en": c.description.en, "zh": c.description.zh, "family": c.family}
            for c in column.declarations()
        ],
    }
    (folder / ABOUT).write_text(json.dumps(about), encoding="utf-8")


def _example(basis: Basis | None, items: ItemVectors | None) -> dict[str, Tensor]:
    """Inputs by their names, in their order."""
    inputs = {
        "codes": torch.zeros((_ROWS, _EVENTS, len(TOKENS)), dtype=torch.int64),
        "numbers": torch.zeros((_ROWS, _EVENTS, len(NUMBERS))),
        "length": torch.full((_ROWS,), _EVENTS),
    }
    if basis is not None:
        inputs["base"] = torch.zeros((_ROWS, len(basis.scale)))
    if items is not None:
        inputs["item"] = torch.zeros((_ROWS, _EVENTS), dtype=torch.int64)
    return inputs


def _write(graph: _Graph, inputs: dict[str, Tensor], file: Path) -> None:
    """Trace and save; rows and events stay free."""
    by_event = {0: "B", 1: "T"}
    axes = {"codes": by_event, "numbers": by_event, "item": by_event, "length": {0: "B"}, "base": {0: "B"}}
    torch.onnx.export(
        graph,
        tuple(inputs.values()),
        file,
        dynamo=False,  # the other exporter fixes the length of recurrent nets; see docs/decisions.md
        input_names=list(inputs),
        output_names=["log_odds"],
        dynamic_axes={name: axes[name] for name in inputs} | {"log_odds": {0: "B"}},
        opset_version=_OPSET,
    )


def _to_int8(file: Path) -> None:
    """The same graph with weights in 8 bits, in place.

    Of these 7 are used: processors without VNNI add two products in 16 bits, which whole 8 bits can exceed, unsaid.
    """
    wide = file.with_suffix(".wide.onnx")
    file.rename(wide)
    quantize_dynamic(wide, file, weight_type=QuantType.QInt8, reduce_range=True)
    wide.unlink()


@contextmanager
def _quiet() -> Iterator[None]:
    """PyTorch's exporter and ONNX Runtime's quantiser warn of their own deprecations and log every rewrite."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
