"""The README: its demo prints what it shows, its API call answers, and its Chinese twin says the same."""

from __future__ import annotations

import re
import shlex
from itertools import groupby
from pathlib import Path

import pytest

from ebbtide.cli.main import run
from ebbtide.core.language import Text
from ebbtide.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
TWINS = Text("README.md", "README.zh-CN.md")


def blocks_of(name: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def kinds(output: str) -> list[str]:
    """What each line is about: its first two words; lines of customers, or of actions, are alike and count as one."""
    lines = (re.sub(r"^.*: log-odds of churn.*", "an action", line) for line in output.splitlines())
    words = (" ".join(re.findall("[A-Za-z]+", line)[:2]) for line in lines)
    named = ("a customer" if w.startswith("u ") else w for w in words)
    return [kind for kind, _ in groupby(named)]


@pytest.fixture(scope="module")
def demo_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "demo-shop"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train on fewer past moments than the README's run does."""
    monkeypatch.setenv("EBBTIDE_TRAIN__MAX_CUTOFFS", "9")
    monkeypatch.setenv("EBBTIDE_TRAIN__BOOTSTRAP", "50")


def test_the_readme_shows_every_line_that_the_demo_prints(demo_shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A smaller shop than the README's, so figures and reasons differ, it is told that it is small, and too few come back."""
    assert run(["demo", "-w", str(demo_shop), "--users", "500"]) == 0
    printed = kinds(capsys.readouterr().out)
    printed.remove("users churned")
    _, (kind, output), *_ = blocks_of("README.md")
    assert kind == "text"
    assert printed == ["no model" if k == "coming back" else k for k in kinds(output)]


def test_the_api_call_of_the_readme_answers(demo_shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not demo_shop.exists():
        assert run(["demo", "-w", str(demo_shop), "--users", "500"]) == 0
        capsys.readouterr()
    code = next(text for kind, text in blocks_of("README.md") if kind == "python")
    exec(compile(code.replace('"demo-shop"', repr(str(demo_shop))), "README.md", "exec"), {})
    answer = capsys.readouterr().out
    assert set(eval(answer)) == set(Workspace(demo_shop).score().bands()) == {"high", "medium", "low"}


def test_the_demo_leaves_what_it_names(demo_shop: Path) -> None:
    assert (demo_shop / "scores.parquet").is_file()
    assert (demo_shop / "report.html").is_file()


def test_the_demo_touches_no_workspace_but_its_own(shop_toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "-w", str(shop_toml.parent)]) == 2
    assert "a workspace of your own" in capsys.readouterr().err
    assert [f.name for f in shop_toml.parent.iterdir()] == ["ebbtide.toml"]


@pytest.fixture
def shop_toml(tmp_path: Path) -> Path:
    file = tmp_path / "ebbtide.toml"
    file.write_text('[shop]\nname = "Mine"\n', encoding="utf-8")
    return file


def test_the_twins_have_the_same_headings_blocks_and_links() -> None:
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in (TWINS.en, TWINS.zh))
    for pattern in (r"^(#+) ", r"^```(\w*)$", r"^(\|) `", r"^(- )"):
        assert re.findall(pattern, english, re.MULTILINE) == re.findall(pattern, chinese, re.MULTILINE), pattern
    links = [
        sorted(re.findall(r"\]\((?!README)([^)]+)\)", text.replace(".zh-CN.md", ".md"))) for text in (english, chinese)
    ]
    assert links[0] == links[1]


def test_commands_in_the_blocks_are_the_same_in_both_languages() -> None:
    for (kind, english), (_, chinese) in zip(blocks_of(TWINS.en), blocks_of(TWINS.zh), strict=True):
        if kind == "bash":
            assert [line.split("#")[0].strip() for line in english.splitlines()] == [
                line.split("#")[0].strip() for line in chinese.splitlines()
            ]
        else:
            assert english == chinese


def test_the_tutorial_runs_from_top_to_bottom(
    demo_shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a smaller shop, with a quick model; every command in order, as written."""
    monkeypatch.chdir(demo_shop.parent)
    monkeypatch.setenv("EBBTIDE_TRAIN__MODEL", "recency")
    lines = [line for kind, text in blocks_of("docs/tutorial.md") if kind == "bash" for line in text.splitlines()]
    assert lines[0] == "ebbtide demo"
    if not demo_shop.exists():
        lines[0] += " --users 500"
    else:
        lines = lines[1:]
    for line in lines:
        assert run(shlex.split(line)[1:]) == 0, (line, capsys.readouterr().err)
    assert (demo_shop.parent / "my-shop" / "report.html").is_file()
