"""What models may need to know beside their rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ebbtide.core.progress import Progress, silent
from ebbtide.core.settings import AugmentConfig, DeepConfig
from ebbtide.models.bgnbd import BgNbd
from ebbtide.models.space import COLUMNS, Values
from ebbtide.sequences.items.vectors import ItemVectors


@dataclass(frozen=True)
class Setting:
    """`bgnbd`: parameters fitted on all users known at the end. `tuned`: settings found by `ebbtide tune`, by model.
    `makers`: names of the column makers whose columns every model reads. `item_vectors`: of the items known at the end,
    where a model asked for them and the shop has some. `checkpoints`: where long training may leave what it has, to go
    on after a kill."""

    horizon_days: float
    bgnbd: BgNbd | None = None
    tuned: Mapping[str, Values] = field(default_factory=dict)
    deep: DeepConfig = field(default_factory=DeepConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    makers: tuple[str, ...] = ()
    item_vectors: ItemVectors | None = None
    checkpoints: Path | None = None
    progress: Progress = silent

    def values_of(self, name: str) -> dict[str, Any]:
        """The tuned settings of a model, as its config takes them."""
        return {k: v for k, v in self.tuned.get(name, {}).items() if k != COLUMNS}
