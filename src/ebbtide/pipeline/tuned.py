"""The settings that tuning found, as a file beside the bundles, and what makes them fit or not fit for a training."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.errors import DataError, InputError, MissingError, RetryError
from ebbtide.core.json_file import write_json_file
from ebbtide.core.windows import from_us, to_us
from ebbtide.models.space import Space, Value
from ebbtide.pipeline.places import Places


@dataclass(frozen=True)
class Tuned:
    """`settings` of a model, found with the outcomes known at `known_us`, for one churn definition.

    `figures`: how they did at the newest moment, which the search did not see, beside the usual settings; see
    `tune.TuneReport`.
    """

    model: str
    settings: dict[str, Value]
    known_us: int
    definition: dict[str, Any]
    figures: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """JSON-safe fields."""
        return asdict(self) | {"known_us": None, "known_until": from_us(self.known_us).isoformat()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_json`."""
        known = to_us(datetime.fromisoformat(data["known_until"]))
        return cls(data["model"], data["settings"], known, data["definition"], data["figures"])

    def save(self, root: Path) -> None:
        """Write it as `.ebbtide/tuning/<model>.json`. Raises RetryError if the disk is full or the folder closed."""
        try:
            write_json_file(Places(root).tuning / f"{self.model}.json", self.to_json())
        except OSError as fault:
            raise RetryError(
                "the tuned settings could not be written ({reason}): mend this and tune again, the trials are kept",
                "无法写入调参结果（{reason}）：请排除故障后重新调参，已完成的试验会保留",
                reason=fault.strerror or "disk",
            ) from None

    def check(self, definition: ChurnDefinition, space: Space, tested_us: int | None) -> None:
        """May a training of this question that is tested at `tested_us` use the settings?

        Not if they answer another question or speak of settings that the model has no more, nor if they were chosen by outcomes that became known after the test
        moment: the figures of the bundle would not be honest. Raises InputError, DataError.
        """
        if self.definition != definition.to_json() or not set(self.settings) <= set(space):
            raise InputError(
                "the settings of `{model}` were tuned for another churn definition or by another version: run"
                " `ebbtide tune --model {model}`",
                "`{model}` 的参数是针对另一种流失定义或由另一版本调出的：请运行 `ebbtide tune --model {model}`",
                model=self.model,
            )
        if tested_us is None or tested_us < self.known_us:
            raise DataError(
                "the settings of `{model}` were tuned with outcomes known at {known:%Y-%m-%d}, after the moment at which"
                " this training is tested: its figures would not be honest; tune with the same --until",
                "`{model}` 的参数使用了截至 {known:%Y-%m-%d} 的结果，晚于本次训练的检验时点：其指标将不可信；请用相同的"
                " --until 重新调参",
                model=self.model,
                known=from_us(self.known_us),
            )


def load_tuned(root: Path, models: Iterable[str]) -> dict[str, Tuned]:
    """What was tuned, of these models. Raises MissingError if nothing was."""
    files = {name: Places(root).tuning / f"{name}.json" for name in models}
    found = {n: Tuned.from_json(json.loads(f.read_text(encoding="utf-8"))) for n, f in files.items() if f.is_file()}
    if not found:
        raise MissingError(
            "[train] tuned = true, but nothing was tuned: run `ebbtide tune --model NAME` with one of {models}",
            "[train] tuned = true，但尚未调参：请运行 `ebbtide tune --model NAME`，模型可选 {models}",
            models=", ".join(files),
        )
    return found
