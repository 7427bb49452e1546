"""What a training run leaves behind so that it can go on after a kill: one safetensors file, facts in its header.

The file is swapped in whole: a kill at any moment leaves the old one or the new one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

_NET, _BEST, _MOMENTS = "net.", "best.", "moments."


def save_checkpoint(
    file: Path,
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: dict[str, Tensor] | None,
    facts: dict[str, Any],
) -> None:
    """Write weights, the optimizer's moments, the best weights so far, and `facts` (JSON-safe)."""
    tensors = {_NET + name: value for name, value in net.state_dict().items()}
    tensors |= {_BEST + name: value for name, value in (best or {}).items()}
    for k, row in optimizer.state_dict()["state"].items():
        tensors |= {f"{_MOMENTS}{k}.{name}": torch.as_tensor(value) for name, value in row.items()}
    plain = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}-{os.getpid()}")
    save_file(plain, aside, metadata={"facts": json.dumps(facts)})
    os.replace(aside, file)


def load_checkpoint(
    file: Path, net: nn.Module, optimizer: torch.optim.Optimizer, key: str
) -> tuple[dict[str, Tensor] | None, dict[str, Any]] | None:
    """Put weights and moments back; the best weights and the facts. None if there is no readable checkpoint of `key`."""
    if not file.is_file():
        return None
    try:
        with safe_open(file, "pt") as found:
            facts: dict[str, Any] = json.loads((found.metadata() or {}).get("facts", "{}"))
            tensors: dict[str, Tensor] = {name: found.get_tensor(name) for name in found.keys()}  # noqa: SIM118
    except SafetensorError:
        return None
    if facts.get("key") != key:
        return None
    net.load_state_dict(_part(tensors, _NET))
    rows: dict[int, dict[str, Tensor]] = {}
    for name, value in _part(tensors, _MOMENTS).items():
        k, moment = name.split(".", 1)
        rows.setdefault(int(k), {})[moment] = value
    optimizer.load_state_dict({"state": rows, "param_groups": optimizer.state_dict()["param_groups"]})
    return _part(tensors, _BEST) or None, facts


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
