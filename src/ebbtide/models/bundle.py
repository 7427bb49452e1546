"""The bundle: a trained, self-describing, versioned model folder.

    manifest.json    what was asked, of which data, with which versions; sha256 of every file, and of itself
    choice.json      candidates' weights, calibration and the closed moments behind it
    reference.json   BG/NBD and gamma-gamma parameters, usual values, what profiles compare with
    metrics.json     the honest figures, with intervals
    model_card.md    the same for people
    items.npz        what was known of items, week by week
    sentiment.json   who reads texts, and how well; sentiment.npz what ratings taught, if they did
    models/          the stack's members, as text and JSON
    makers/          the column makers that they read
    comeback/        who of the lapsed comes back, where the log could teach it

Writing is atomic: a folder is complete or not there. Loading verifies every hash. Nothing is pickled.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.config import Config
from ebbtide.core.errors import MissingBundleError, RetryError
from ebbtide.events.sentiment.scorer import SHIPPED_SENTIMENT, Sentiment
from ebbtide.features.catalogue import Catalogue
from ebbtide.features.tables import ItemTable
from ebbtide.models.base import Matrix
from ebbtide.models.bgnbd import BgNbd
from ebbtide.models.calibration import AffineCalibration
from ebbtide.models.columns import ColumnMaker, ModelColumn, model_columns
from ebbtide.models.comeback import COMEBACK, Comeback
from ebbtide.models.gamma_gamma import GammaGamma
from ebbtide.models.makers import all_columns, load_makers, reads_events, save_makers
from ebbtide.models.registry import Setting, load_stack
from ebbtide.models.sealed import MANIFEST, read_json, read_sealed, write_json, write_sealed
from ebbtide.models.stack import StackModel
from ebbtide.sequences.event_log import Sequences

SCHEMA_VERSION = 3


@dataclass(frozen=True)
class Bundle:
    """Everything that scoring needs. `usual`: what is usual in the cohort, by column; NaN-free.

    `gamma_gamma` is None where the log has no money. `profiles`: what users are compared with in profiles, as JSON, empty
    in bundles from before there were any; `comeback` is None where too few lapsed users had come back.
    """

    manifest: dict[str, Any]
    config: Config
    definition: ChurnDefinition
    catalogue: Catalogue
    stack: StackModel
    makers: tuple[ColumnMaker, ...]
    calibration: AffineCalibration
    items: ItemTable
    bgnbd: BgNbd | None
    gamma_gamma: GammaGamma | None
    usual: dict[str, float]
    metrics: dict[str, Any]
    choice: dict[str, Any]
    sentiment: Sentiment = SHIPPED_SENTIMENT
    profiles: dict[str, Any] = field(default_factory=dict)
    comeback: Comeback | None = None

    @property
    def id(self) -> str:
        """Name of the bundle, unique in its workspace."""
        return str(self.manifest["id"])

    @property
    def setting(self) -> Setting:
        """What models need beside rows."""
        return Setting(self.definition.horizon_days, self.bgnbd, deep=self.config.deep)

    @cached_property
    def columns(self) -> tuple[Any, ...]:
        """The declarations of X's columns, in order: the catalogue's, then the models'."""
        extra: tuple[ModelColumn, ...] = model_columns(self.definition.horizon_days)
        return (*self.catalogue.features, *extra, *(c for m in self.makers for c in m.declarations()))

    def all_columns(self, base: Matrix, sequences: Sequences | None) -> Matrix:
        """X as the stack reads it: the base columns (catalogue, expected orders), then those of the makers."""
        return all_columns(self.makers, base, sequences)

    def with_profiles(self, profiles: dict[str, Any]) -> Bundle:
        """The same bundle with this to compare users with."""
        return replace(self, profiles=profiles)

    @property
    def reads_events(self) -> bool:
        """Whether scoring needs the event sequences."""
        return reads_events([m.name for m in self.makers])


def write_bundle(folder: Path, bundle: Bundle, model_card: str) -> Path:
    """Write the bundle as `folder/<id>`: built aside, hashed, then moved into place in one step.

    Raises RetryError if the disk is full or the folder closed; then nothing is left of it.
    """
    try:
        return _write(folder, bundle, model_card)
    except OSError as fault:
        raise RetryError(
            "the bundle could not be written ({reason}): make room or give yourself the rights, then train again",
            "无法写出模型（{reason}）：请腾出空间或授予写权限后重新训练",
            reason=fault.strerror or "disk",
        ) from None


def _write(folder: Path, bundle: Bundle, model_card: str) -> Path:
    def fill(aside: Path) -> None:
        bundle.stack.save(aside / "models")
        save_makers(aside / "makers", bundle.makers)
        bundle.items.save(aside)
        bundle.sentiment.save(aside)
        if bundle.comeback is not None:
            bundle.comeback.save(aside / COMEBACK)
        write_json(aside / "choice.json", bundle.choice)
        write_json(aside / "reference.json", _reference(bundle))
        write_json(aside / "metrics.json", bundle.metrics)
        (aside / "model_card.md").write_text(model_card, encoding="utf-8")

    asked = {
        "schema_version": SCHEMA_VERSION,
        "config": bundle.config.model_dump(
            exclude={"source": {"__all__": {"url"}}, "channel": True, "stream": {"url"}, "serve": True}
        ),
        "definition": bundle.definition.to_json(),
        "catalogue": bundle.catalogue.to_json(),
    }
    return write_sealed(folder / bundle.id, fill, bundle.manifest | asked)


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle and verify it. Raises MissingBundleError if it is absent, damaged or of another schema."""
    if not (folder / MANIFEST).is_file():
        raise MissingBundleError(
            "no trained model: run `ebbtide train` first", "没有训练好的模型：请先运行 `ebbtide train`"
        )
    manifest = read_sealed(folder, SCHEMA_VERSION)
    reference, choice = read_json(folder / "reference.json"), read_json(folder / "choice.json")
    return Bundle(
        manifest=manifest,
        config=Config.model_validate(manifest["config"]),
        definition=ChurnDefinition.from_json(manifest["definition"]),
        catalogue=Catalogue.from_json(manifest["catalogue"]),
        stack=load_stack(folder / "models"),
        makers=load_makers(folder / "makers"),
        calibration=AffineCalibration.from_json(choice["calibration"]),
        items=ItemTable.load(folder),
        bgnbd=BgNbd.from_json(reference["bgnbd"]) if reference["bgnbd"] else None,
        gamma_gamma=GammaGamma.from_json(reference["gamma_gamma"]) if reference["gamma_gamma"] else None,
        usual=reference["usual"],
        metrics=read_json(folder / "metrics.json"),
        choice=choice,
        sentiment=Sentiment.load(folder),
        profiles=reference.get("profiles", {}),
        comeback=Comeback.load(folder / COMEBACK) if (folder / COMEBACK).is_dir() else None,
    )


def _reference(bundle: Bundle) -> dict[str, Any]:
    return {
        "bgnbd": bundle.bgnbd.to_json() if bundle.bgnbd else None,
        "gamma_gamma": bundle.gamma_gamma.to_json() if bundle.gamma_gamma else None,
        "usual": bundle.usual,
        "profiles": bundle.profiles,
    }
