"""The shape of the repository, stated as laws."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "ebbtide"
MODULES = sorted(SOURCE.rglob("*.py"))
STAGES = {
    "core",
    "events",
    "churn",
    "evaluation",
    "features",
    "sequences",
    "models",
    "explain",
    "actions",
    "store",
    "pipeline",
    "serve",
    "dashboard",
    "cli",
}


def _trees() -> Iterator[tuple[Path, ast.Module]]:
    for file in MODULES:
        yield file.relative_to(SOURCE), ast.parse(file.read_text(encoding="utf-8"))


def test_the_folders_are_the_stages_of_the_flow() -> None:
    assert {d.name for d in SOURCE.iterdir() if d.is_dir() and d.name != "__pycache__"} == STAGES


def test_stage_folders_export_nothing() -> None:
    """Only the root of the package lists public names."""
    assert [str(f) for stage in STAGES for f in [SOURCE / stage / "__init__.py"] if f.read_text().strip()] == []


def test_no_module_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "helpers", "common", "misc", "util", "helper", "v2", "legacy"}
    assert [str(f) for f in MODULES if f.stem in drawers] == []


def test_every_module_says_what_it_is_for() -> None:
    assert [str(f) for f, tree in _trees() if tree.body and not ast.get_docstring(tree)] == []


def test_nothing_is_pickled_and_nothing_is_evaluated() -> None:
    forbidden = {"pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}
    found = []
    for file, tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found += [(str(file), a.name) for a in node.names if a.name.split(".")[0] in forbidden]
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in forbidden:
                found.append((str(file), node.module or ""))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"eval", "exec"}:
                found.append((str(file), node.func.id))
    assert found == []


def test_only_the_edges_read_the_environment() -> None:
    """`load_config` reads it once for everybody; below the edges nothing does."""
    allowed = {"core/config.py", "cli/main.py"}
    reading = [
        str(file)
        for file, tree in _trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"} and isinstance(node.value, ast.Name)
        if node.value.id == "os"
    ]
    assert sorted(set(reading) - allowed) == []


@pytest.mark.parametrize("folder", ["src", "docs", "scripts", "tests", "benchmarks", "."])
def test_no_path_of_a_developers_machine_is_named(folder: str) -> None:
    """A repository that names somebody's home works on that machine only."""
    files = (ROOT / folder).glob("*") if folder == "." else (ROOT / folder).rglob("*")
    home = re.compile(r"/(?:home|Users)/\w+|/root/|C:\\\\Users")
    named = [
        str(f.relative_to(ROOT))
        for f in files
        if f.is_file() and f.suffix in {".py", ".md", ".toml", ".sh", ".txt", ""} and f != Path(__file__)
        if home.search(f.read_text(encoding="utf-8", errors="ignore"))
    ]
    assert named == []
