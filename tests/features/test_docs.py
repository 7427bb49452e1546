"""The how-to page holds a feature file that works."""

from __future__ import annotations

import re
from pathlib import Path

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.features.catalogue import default_catalogue
from ebbtide.features.declarations import KINDS
from ebbtide.features.user_file import load_user_features

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "add-a-feature.md"


def test_the_example_file_loads_and_extends_the_catalogue(tmp_path: Path) -> None:
    """As a reader would copy it."""
    block = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert block
    (tmp_path / "features.py").write_text(block[1], encoding="utf-8")
    own = load_user_features(tmp_path / "features.py")
    assert len(default_catalogue(ChurnDefinition(), 365).extended(own)) > len(own) == 5


def test_the_page_names_every_kind() -> None:
    """What can be declared is listed, but for what is always there."""
    page = PAGE.read_text(encoding="utf-8")
    assert {kind for kind in KINDS if f"`{kind}`" not in page} == {"Calendar", "Lifetime"}
