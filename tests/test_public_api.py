"""What `ebbtide` offers from Python."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import ebbtide
from ebbtide.cli.main import COMMANDS


def test_the_listed_names_are_exactly_the_offered_ones() -> None:
    assert dir(ebbtide) == sorted(ebbtide.__all__)
    assert all(getattr(ebbtide, name) is not None for name in ebbtide.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = ebbtide.Nonsense  # type: ignore[attr-defined]


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, ebbtide; sys.exit(any(m in sys.modules for m in ('numpy', 'polars', 'pydantic')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_command_is_a_method_of_the_workspace() -> None:
    """The command line and the Python API are the same list; the demo is a command only, for it makes its workspace."""
    names = {name.replace("-", "_") for name, _ in COMMANDS} - {"demo"}
    names -= {"serve", "keys", "replay", "dead_letters", "alerts"}  # run the service, which is no analysis
    assert names <= {name for name, _ in inspect.getmembers(ebbtide.Workspace) if not name.startswith("_")}


def test_public_methods_are_documented() -> None:
    undocumented = [
        name
        for name, member in inspect.getmembers(ebbtide.Workspace)
        if not name.startswith("_") and not inspect.getdoc(member)
    ]
    assert undocumented == []
