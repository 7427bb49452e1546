"""What stands in code blocks is true: commands parse, configs load, links lead somewhere."""

from __future__ import annotations

import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from ebbtide.cli.command import LazyCommand
from ebbtide.cli.flags import Flags
from ebbtide.cli.main import make_root
from ebbtide.core.config import parse_config

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_BLOCK = re.compile(r"^[ ]*```(\w+)\n(.*?)^[ ]*```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    page: Path
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}: {self.text.strip().splitlines()[0][:40]}"


def blocks(*kinds: str) -> list[Block]:
    found = [Block(page, kind, text) for page in PAGES for kind, text in _BLOCK.findall(page.read_text("utf-8"))]
    return [block for block in found if block.kind in kinds]


def command_lines() -> list[str]:
    lines = [line.strip() for block in blocks("bash", "sh", "cron") for line in block.text.splitlines()]
    found = [part.strip() for line in lines for part in re.split(r"&&|\|", line.split(" #")[0]) if "ebbtide " in part]
    return sorted({part[part.index("ebbtide ") :].split(">")[0].strip() for part in found if "pip install" not in part})


@pytest.mark.parametrize("line", command_lines())
def test_every_documented_command_is_one_that_we_have(line: str) -> None:
    """Parsed by the command itself, nothing is run."""
    words = shlex.split(line.replace("...", ""))[1:]
    command, path = make_root(), "ebbtide"
    while words and words[0] in getattr(command, "commands", {}):
        path, command = f"{path} {words[0]}", command.commands[words.pop(0)]
        command = command.load() if isinstance(command, LazyCommand) else command
    if words[:1] != ["--help"] and words[:1] != ["--version"]:
        command.make_context(path, words, obj=Flags())


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_every_documented_config_is_valid(block: Block) -> None:
    parse_config(tomllib.loads(block.text), environ={"EBBTIDE_DATA": "data", "SHOP_DB": "postgresql://db/shop"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
