"""The model of a ready-made table, as a sealed folder.

    manifest.json    what was asked, of which file, with which versions; sha256 of every file, and of itself
    encoding.json    how each column is read and becomes columns of the design
    choice.json      candidates' weights and calibration
    reference.json   usual values, band limits, currency
    metrics.json     the honest figures, with intervals
    model_card.md    the same for people
    models/          the stack's members, as text and JSON
    makers/          the column makers that they read

Nothing is pickled. What `train-table` puts beside it (the list, the page) is not part of the model and not sealed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebbtide.core.errors import MissingBundleError, RetryError
from ebbtide.core.settings import BandsConfig
from ebbtide.features.table_encoding import TableEncoding
from ebbtide.features.table_fields import TableField
from ebbtide.models.calibration import AffineCalibration
from ebbtide.models.columns import ColumnMaker
from ebbtide.models.makers import load_makers, save_makers
from ebbtide.models.registry import load_stack
from ebbtide.models.sealed import MANIFEST, read_json, read_sealed, write_json, write_sealed
from ebbtide.models.stack import StackModel

SCHEMA_VERSION = 2
KIND = "table"


@dataclass(frozen=True)
class TableBundle:
    """Everything that scoring another file of the same kind needs. `usual`: the median of each column of the design,
    NaN-free. The manifest's `question` has label, id and time."""

    manifest: dict[str, Any]
    fields: tuple[TableField, ...]
    encoding: TableEncoding
    stack: StackModel
    makers: tuple[ColumnMaker, ...]
    calibration: AffineCalibration
    usual: dict[str, float]
    bands: BandsConfig
    currency: str
    metrics: dict[str, Any]
    choice: dict[str, Any]

    @property
    def id(self) -> str:
        """Name of the model."""
        return str(self.manifest["id"])

    @property
    def question(self) -> dict[str, Any]:
        """What was asked: the columns label, id and time, the value that means churned, the horizon."""
        return dict(self.manifest["question"])


def write_table_bundle(folder: Path, bundle: TableBundle, model_card: str) -> Path:
    """Write the model to `folder`, whole or not at all; a model that stands there is replaced.

    Raises RetryError if the disk refuses.
    """

    def fill(aside: Path) -> None:
        bundle.stack.save(aside / "models")
        save_makers(aside / "makers", bundle.makers)
        encoding = {"fields": [f.to_json() for f in bundle.fields], "encoding": bundle.encoding.to_json()}
        write_json(aside / "encoding.json", encoding)
        write_json(aside / "choice.json", bundle.choice)
        reference = {"usual": bundle.usual, "bands": bundle.bands.model_dump(), "currency": bundle.currency}
        write_json(aside / "reference.json", reference)
        write_json(aside / "metrics.json", bundle.metrics)
        (aside / "model_card.md").write_text(model_card, encoding="utf-8")

    try:
        return write_sealed(folder, fill, bundle.manifest | {"schema_version": SCHEMA_VERSION, "kind": KIND})
    except OSError as fault:
        raise RetryError(
            "the model could not be written ({reason}): make room or give yourself the rights, then train again",
            "无法写出模型（{reason}）：请腾出空间或授予写权限后重新训练",
            reason=fault.strerror or "disk",
        ) from None


def is_table_bundle(folder: Path) -> bool:
    """Whether a folder holds the model of a table, sound or not."""
    try:
        return bool(read_json(folder / MANIFEST).get("kind") == KIND)
    except (OSError, ValueError):
        return False


def load_table_bundle(folder: Path) -> TableBundle:
    """Read a model and verify it. Raises MissingBundleError if it is absent, damaged or of another kind."""
    if not (folder / MANIFEST).is_file():
        raise MissingBundleError(
            "there is no model in {folder}: run `ebbtide train-table` first",
            "{folder} 中没有模型：请先运行 `ebbtide train-table`",
            folder=str(folder),
        )
    manifest = read_sealed(folder, SCHEMA_VERSION)
    if manifest.get("kind") != KIND:
        raise MissingBundleError(
            "{folder} holds the model of a shop's events, not of a table: score it with `ebbtide score`",
            "{folder} 中是基于事件的店铺模型，而非表模型：请用 `ebbtide score` 评分",
            folder=str(folder),
        )
    told, reference, choice = (read_json(folder / f"{n}.json") for n in ("encoding", "reference", "choice"))
    return TableBundle(
        manifest=manifest,
        fields=tuple(TableField.from_json(f) for f in told["fields"]),
        encoding=TableEncoding.from_json(told["encoding"]),
        stack=load_stack(folder / "models"),
        makers=load_makers(folder / "makers"),
        calibration=AffineCalibration.from_json(choice["calibration"]),
        usual=reference["usual"],
        bands=BandsConfig(**reference["bands"]),
        currency=reference["currency"],
        metrics=read_json(folder / "metrics.json"),
        choice=choice,
    )
