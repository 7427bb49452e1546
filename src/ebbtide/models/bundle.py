"""The bundle: a trained, self-describing, versioned model folder.

    manifest.json    what was asked, of which data, with which versions; sha256 of every file, and of itself
    choice.json      candidates' weights, calibration and the closed moments behind it
    reference.json   BG/NBD and gamma-gamma parameters, usual values, band limits
    metrics.json     the honest figures, with intervals
    model_card.md    the same for people
    items.npz        what was known of items, week by week
    models/          the stack's members, as text and JSON

Writing is atomic: a folder is complete or not there. Loading verifies every hash. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.config import Config
from ebbtide.core.errors import MissingBundleError, RetryError
from ebbtide.features.catalogue import Catalogue
from ebbtide.features.tables import ItemTable
from ebbtide.models.bgnbd import BgNbd
from ebbtide.models.calibration import AffineCalibration
from ebbtide.models.columns import ModelColumn, model_columns
from ebbtide.models.gamma_gamma import GammaGamma
from ebbtide.models.registry import Setting, load_stack
from ebbtide.models.stack import StackModel

SCHEMA_VERSION = 1
_WRITING = ".writing-"
_FORGET_AFTER_SECONDS = 3600


@dataclass(frozen=True)
class Bundle:
    """Everything that scoring needs. `usual`: what is usual in the cohort, by column; NaN-free.

    `gamma_gamma` is None where the log has no money. `folder` is where it was read from.
    """

    manifest: dict[str, Any]
    config: Config
    definition: ChurnDefinition
    catalogue: Catalogue
    stack: StackModel
    calibration: AffineCalibration
    items: ItemTable
    bgnbd: BgNbd | None
    gamma_gamma: GammaGamma | None
    usual: dict[str, float]
    metrics: dict[str, Any]
    choice: dict[str, Any]

    @property
    def id(self) -> str:
        """Name of the bundle, unique in its workspace."""
        return str(self.manifest["id"])

    @property
    def setting(self) -> Setting:
        """What models need beside rows."""
        return Setting(self.definition.horizon_days, self.bgnbd)

    @property
    def columns(self) -> tuple[Any, ...]:
        """The declarations of X's columns, in order: the catalogue's, then the models'."""
        extra: tuple[ModelColumn, ...] = model_columns(self.definition.horizon_days)
        return (*self.catalogue.features, *extra)


def write_bundle(folder: Path, bundle: Bundle, model_card: str) -> Path:
    """Write the bundle as `folder/<id>`: built aside, hashed, then moved into place in one step.

    Raises RetryError if the disk is full or the folder closed; then nothing is left of it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _forget_killed_writers(folder)
        return _write(folder, bundle, model_card)
    except OSError as fault:
        raise RetryError(
            "the bundle could not be written ({reason}): make room or give yourself the rights, then train again",
            "无法写出模型（{reason}）：请腾出空间或授予写权限后重新训练",
            reason=fault.strerror or "disk",
        ) from None


def _write(folder: Path, bundle: Bundle, model_card: str) -> Path:
    aside = Path(tempfile.mkdtemp(prefix=_WRITING, dir=folder))
    try:
        bundle.stack.save(aside / "models")
        bundle.items.save(aside)
        _write_json(aside / "choice.json", bundle.choice)
        _write_json(aside / "reference.json", _reference(bundle))
        _write_json(aside / "metrics.json", bundle.metrics)
        (aside / "model_card.md").write_text(model_card, encoding="utf-8")
        files = sorted(p for p in aside.rglob("*") if p.is_file())
        hashes = {p.relative_to(aside).as_posix(): _sha256(p) for p in files}
        asked = {
            "schema_version": SCHEMA_VERSION,
            "config": bundle.config.model_dump(exclude={"source": {"__all__": {"url"}}}),
            "definition": bundle.definition.to_json(),
            "catalogue": bundle.catalogue.to_json(),
        }
        manifest = bundle.manifest | asked | {"files": hashes}
        _write_json(aside / "manifest.json", manifest | {"sha256": _seal(manifest)})
        _sync(aside)
        target = folder / bundle.id
        os.replace(aside, target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return target


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle and verify it. Raises MissingBundleError if it is absent, damaged or of another schema."""
    manifest = _manifest(folder)
    damaged = [
        name
        for name, digest in manifest["files"].items()
        if not (folder / name).is_file() or _sha256(folder / name) != digest
    ]
    if damaged:
        raise _damaged(folder, sorted(damaged))
    reference, choice = _read_json(folder / "reference.json"), _read_json(folder / "choice.json")
    return Bundle(
        manifest=manifest,
        config=Config.model_validate(manifest["config"]),
        definition=ChurnDefinition.from_json(manifest["definition"]),
        catalogue=Catalogue.from_json(manifest["catalogue"]),
        stack=load_stack(folder / "models"),
        calibration=AffineCalibration.from_json(choice["calibration"]),
        items=ItemTable.load(folder),
        bgnbd=BgNbd.from_json(reference["bgnbd"]) if reference["bgnbd"] else None,
        gamma_gamma=GammaGamma.from_json(reference["gamma_gamma"]) if reference["gamma_gamma"] else None,
        usual=reference["usual"],
        metrics=_read_json(folder / "metrics.json"),
        choice=choice,
    )


def _manifest(folder: Path) -> dict[str, Any]:
    if not (folder / "manifest.json").is_file():
        raise MissingBundleError(
            "no trained model: run `ebbtide train` first", "没有训练好的模型：请先运行 `ebbtide train`"
        )
    try:
        manifest = _read_json(folder / "manifest.json")
    except ValueError:
        raise _damaged(folder, ["manifest.json"]) from None
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise MissingBundleError(
            "the bundle {name} has schema version {found}, this version reads {expected}; train again",
            "模型 {name} 的格式版本为 {found}，此版本读取 {expected}；请重新训练",
            name=folder.name,
            found=manifest.get("schema_version"),
            expected=SCHEMA_VERSION,
        )
    if manifest.pop("sha256", None) != _seal(manifest):
        raise _damaged(folder, ["manifest.json"])
    return manifest


def _damaged(folder: Path, files: list[str]) -> MissingBundleError:
    return MissingBundleError(
        "the bundle {name} is damaged: {files} differ from what was written; train again or roll back",
        "模型 {name} 已损坏：{files} 与写入时不一致；请重新训练或回退",
        name=folder.name,
        files=", ".join(files),
    )


def _seal(manifest: Mapping[str, Any]) -> str:
    """sha256 of a manifest's content."""
    return hashlib.sha256(_json(manifest).encode()).hexdigest()


def _forget_killed_writers(folder: Path) -> None:
    """Remove what writers that were killed have left behind, once it is older than any writing can be."""
    limit = time.time() - _FORGET_AFTER_SECONDS
    for aside in folder.glob(f"{_WRITING}*"):
        if aside.stat().st_mtime < limit:
            shutil.rmtree(aside, ignore_errors=True)


def _reference(bundle: Bundle) -> dict[str, Any]:
    return {
        "bgnbd": bundle.bgnbd.to_json() if bundle.bgnbd else None,
        "gamma_gamma": bundle.gamma_gamma.to_json() if bundle.gamma_gamma else None,
        "usual": bundle.usual,
    }


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _write_json(file: Path, data: Mapping[str, Any]) -> None:
    file.write_text(_json(data) + "\n", encoding="utf-8")


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False, default=str, allow_nan=False)


def _read_json(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8")))


def _sync(folder: Path) -> None:
    """Force files to disk, so that a power cut leaves the bundle whole or absent."""
    for path in (*folder.rglob("*"), folder):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
