"""The command line as a whole: help in both languages, wrong use, defects, start-up."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ebbtide.cli import main as cli
from ebbtide.cli.flags import Flags, peek_flags
from ebbtide.cli.main import COMMANDS, run
from ebbtide.core.errors import ConfigError, DataError, DefectError, InputError, MissingError, RetryError
from ebbtide.core.language import LANGUAGES, Language, Text

NAMES = [name for name, _ in COMMANDS]


def test_help_names_every_command_in_both_languages(capsys: pytest.CaptureFixture[str]) -> None:
    for language in LANGUAGES:
        assert run(["--help", "--lang", language]) == 0
        page = "".join(capsys.readouterr().out.split())  # long texts are wrapped
        for name, text in COMMANDS:
            assert name in page
            assert "".join(text[language].split()) in page


def test_no_arguments_is_a_question_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert "Usage: ebbtide" in capsys.readouterr().out


def test_the_variable_sets_the_language_of_help(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EBBTIDE_LANG", "zh")
    assert run(["score", "--help"]) == 0
    assert "用法：" in capsys.readouterr().out


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself_and_takes_the_common_flags(
    name: str, language: Language, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([name, "--help", "--lang", language]) == 0
    page = capsys.readouterr().out
    assert dict(COMMANDS)[name][language] in page
    assert "\x1f" not in page
    inner = ["models list", "quarantine list"] if name in ("models", "quarantine") else [name]
    for path in [p for p in inner if p.startswith(name)]:
        run([*path.split(), "--help", "--lang", language])
        page = capsys.readouterr().out
        assert all(flag in page for flag in ("--workspace", "--json", "--lang", "--debug"))
        assert re.search("[一-鿿]", page) if language == "zh" else not re.search("[一-鿿]", page)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_a_wrong_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["scor"]) == 2
    assert "did you mean `score`?" in capsys.readouterr().err
    assert run(["scor", "--lang=zh"]) == 2
    assert "是否想用 `score`？" in capsys.readouterr().err


def test_a_wrong_flag_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--untl", "2024-01-01"]) == 2
    assert "there is no flag `--untl` (did you mean `--until`?); see `ebbtide train --help`" in capsys.readouterr().err
    assert run(["train", "--untl", "2024-01-01", "--lang", "zh"]) == 2
    assert "没有选项 `--untl`（是否想用 `--until`？）" in capsys.readouterr().err


def test_a_missing_argument_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain"]) == 2
    assert capsys.readouterr().err.startswith("missing: USER")


def test_an_unknown_language_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--lang", "fr"]) == 2
    assert "en and zh" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (InputError("a", "甲"), 2),
        (ConfigError([Text("a", "甲")]), 2),
        (DataError("a", "甲"), 3),
        (MissingError("a", "甲"), 4),
        (RetryError("a", "甲"), 4),
        (DefectError("a", "甲"), 1),
    ],
)
def test_each_branch_of_the_error_tree_has_its_exit_code(
    fault: InputError, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.tell(fault, Flags(language="zh", as_json=True)) == code
    shown = capsys.readouterr()
    assert "甲" in shown.err
    assert json.loads(shown.out)["error"] == {"code": fault.code, "message": fault.text.zh, "exit_code": code}


def test_a_defect_leaves_its_traceback_in_a_file_and_no_value_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down() -> None:
        raise ZeroDivisionError("customer 4711")

    monkeypatch.setattr(cli, "make_root", break_down)
    (tmp_path / "ebbtide.toml").write_text("")
    assert run(["check", "-w", str(tmp_path)]) == 1
    shown = capsys.readouterr()
    assert "4711" not in shown.err + shown.out
    assert "this is a defect of Ebbtide (ZeroDivisionError)" in shown.err
    (file,) = (tmp_path / ".ebbtide").glob("defect-*.txt")
    assert "customer 4711" in file.read_text()


def test_where_there_is_no_workspace_a_defect_makes_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "make_root", break_down)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run(["check", "-w", str(empty)]) == 1
    assert list(empty.iterdir()) == []
    assert "ebbtide-defect-" in capsys.readouterr().err


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down() -> None:
        raise ZeroDivisionError("something")

    monkeypatch.setattr(cli, "make_root", break_down)
    assert run(["check", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_early_reading_of_flags_never_raises() -> None:
    assert peek_flags(["score", "--lang"], {}) == Flags()
    assert peek_flags(["--lang", "fr", "--json"], {"EBBTIDE_LANG": "zh"}) == Flags(as_json=True)
    assert peek_flags(["-w", "shop"], {"EBBTIDE_LANG": "zh"}) == Flags(workspace=Path("shop"), language="zh")


def test_help_does_not_load_the_libraries_that_compute() -> None:
    """`ebbtide --help` answers at once: what computes is imported when a command is used."""
    heavy = "{'numba', 'polars', 'duckdb', 'sklearn', 'lightgbm', 'scipy', 'numpy'}"
    code = f"import sys; from ebbtide.cli.main import run; run(['--help']); sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0
