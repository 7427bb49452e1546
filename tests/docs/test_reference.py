"""The generated pages say what the code says."""

from __future__ import annotations

import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import get_origin

import pytest

from ebbtide.cli.main import COMMANDS
from ebbtide.core import errors
from ebbtide.core.config import Config, load_config
from ebbtide.core.errors import ConfigError
from ebbtide.events.validate import Reason

ROOT = Path(__file__).resolve().parent.parent.parent
REFERENCE = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_page_is_out_of_date(generator: ModuleType) -> None:
    """If this fails: run scripts/docs."""
    assert generator.stale_pages() == []


def test_there_is_no_page_that_nobody_makes(generator: ModuleType) -> None:
    assert {file.name for file in REFERENCE.iterdir()} == set(generator.PAGES)


def test_every_command_is_documented() -> None:
    page = (REFERENCE / "commands.md").read_text(encoding="utf-8")
    assert [name for name, _ in COMMANDS if f"## `ebbtide {name}`" not in page] == []


def test_every_error_code_is_documented() -> None:
    page = (REFERENCE / "errors.md").read_text(encoding="utf-8")
    codes = {cls.code for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.EbbtideError)}
    assert [code for code in codes - {"error"} if f"`{code}`" not in page] == []


def test_every_reason_code_is_documented() -> None:
    page = (REFERENCE / "quarantine.md").read_text(encoding="utf-8")
    assert [reason.value for reason in Reason if f"`{reason.value}`" not in page] == []


def _settings() -> list[tuple[str, str]]:
    sections = {n: f.annotation for n, f in Config.model_fields.items() if get_origin(f.annotation) is not list}
    return [(name, key) for name, model in sections.items() for key in model.model_fields]  # type: ignore[union-attr]


OTHER_VALUES = {
    ("shop", "timezone"): "Asia/Shanghai", ("shop", "arrival_lag"): "2h", ("shop", "language"): "zh",
    ("recommend", "window"): "60d", ("recommend", "bought_before"): "hide",
    ("churn", "outcome"): "support", ("churn", "horizon"): "45d", ("churn", "eligible"): "any in 99d",
    ("churn", "gap"): "3d", ("bands", "high"): 0.9, ("bands", "medium"): 0.1,
    ("items", "encoder"): "pictures", ("tracking", "mlflow"): "file:mlruns", ("deep", "device"): "cpu",
    ("deep", "learning_rate"): 0.01, ("deep", "dropout"): 0.3, ("deep", "encoder"): "gru",
    ("features", "unsupervised"): ["segments"],
    ("augment", "crop"): 0.3, ("augment", "mask"): 0.1, ("augment", "jitter"): 0.2, ("augment", "mixup"): 0.4,
    ("augment", "rare"): "smote", ("augment", "rare_share"): 0.5,
    ("actions", "period"): "7d", ("actions", "cooldown"): "3d", ("actions", "quiet"): "21:00-08:00",
    ("actions", "margin"): 0.4, ("actions", "epsilon"): 0.05, ("actions", "assignment"): "thompson",
    ("actions", "min_share"): 0.1, ("actions", "max_share"): 0.5, ("actions", "guard_share"): 0.02,
    ("train", "treated"): "keep", ("stream", "broker"): "nats", ("stream", "read"): [1],
    ("alerts", "quiet"): "21:00-08:00", ("alerts", "expires"): "3d", ("alerts", "keep"): "30d",
    ("alerts", "retry_for"): "2h",
    ("campaign", "holdout"): 0.1, ("campaign", "control"): 0.3, ("campaign", "alpha"): 0.1, ("campaign", "power"): 0.9,
    ("campaign", "effect"): 0.02, ("campaign", "mismatch"): 0.01, ("campaign", "false_discovery"): 0.2,
}  # fmt: skip


@pytest.mark.parametrize(("section", "key"), _settings())
def test_every_setting_is_stored_when_set(section: str, key: str, tmp_path: Path) -> None:
    """Set it in the file, read it back; and a setting of the wrong kind is refused by name."""
    default = getattr(getattr(Config(), section), key)
    other = OTHER_VALUES.get((section, key), _other(default))
    file = tmp_path / "ebbtide.toml"
    file.write_text(f"[{section}]\n{key} = {_toml(other)}\n", encoding="utf-8")
    assert getattr(getattr(load_config(file, environ={}), section), key) == other != default
    file.write_text(f"[{section}]\n{key} = {{ wrong = 1 }}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"{section}\.{key}"):
        load_config(file, environ={})


def _other(default: object) -> object:
    if isinstance(default, bool):
        return not default
    if isinstance(default, int | float):
        return default * 2 + 7
    if isinstance(default, str) and re.fullmatch(r"\d+(ms|[smhdw])", default):
        return "45m"
    return ["something"] if isinstance(default, list) else f"{default}something"


def _toml(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return (
        str(value).lower()
        if isinstance(value, bool)
        else str(value)
        if isinstance(value, int | float)
        else f'"{value}"'
    )
