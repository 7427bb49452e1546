"""What a training run leaves behind so that it can go on after a kill: tensors as safetensors, the rest as JSON.

A checkpoint is one folder that is swapped in whole: a kill at any moment leaves the old one or the new one.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn


def save_checkpoint(
    folder: Path,
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: dict[str, Tensor] | None,
    facts: dict[str, Any],
) -> None:
    """Write weights, the optimizer's moments, the best weights so far, and `facts` (JSON-safe)."""
    aside = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    save_file(_plain(net.state_dict()), aside / "net.safetensors")
    if best is not None:
        save_file(_plain(best), aside / "best.safetensors")
    state = optimizer.state_dict()
    moments = {f"{k}.{name}": value for k, row in state["state"].items() for name, value in row.items()}
    save_file(_plain({k: torch.as_tensor(v) for k, v in moments.items()}), aside / "optimizer.safetensors")
    (aside / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(aside, folder)


def load_checkpoint(
    folder: Path, net: nn.Module, optimizer: torch.optim.Optimizer, key: str
) -> tuple[dict[str, Tensor] | None, dict[str, Any]] | None:
    """Put weights and moments back; the best weights and the facts. None if there is no checkpoint of this `key`."""
    if not (folder / "facts.json").is_file():
        return None
    facts: dict[str, Any] = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    if facts.get("key") != key:
        return None
    net.load_state_dict(load_file(folder / "net.safetensors"))
    state = optimizer.state_dict()
    rows: dict[int, dict[str, Tensor]] = {}
    for name, value in load_file(folder / "optimizer.safetensors").items():
        k, part = name.split(".", 1)
        rows.setdefault(int(k), {})[part] = value
    optimizer.load_state_dict({"state": rows, "param_groups": state["param_groups"]})
    best = load_file(folder / "best.safetensors") if (folder / "best.safetensors").is_file() else None
    return best, facts


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
