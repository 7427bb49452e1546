"""`ebbtide plan`: exit codes, one JSON object, the file, both languages."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ebbtide.cli.main import run
from ebbtide.core.language import LANGUAGES, Language

ACTIONS = """
[[action]]
name = "message"
contact_cost = 0.05
assumed_effect = 0.05

[[action]]
name = "coupon"
kind = "coupon"
contact_cost = 0.05
value = 5.0
assumed_effect = 0.2
who = "orders >= 2"
"""
Answer = Callable[..., dict[str, Any]]


@pytest.fixture
def acting(shop: Path, tmp_path: Path) -> Path:
    """The shop with two actions."""
    folder = Path(shutil.copytree(shop, tmp_path / "acting"))
    file = folder / "ebbtide.toml"
    file.write_text(file.read_text(encoding="utf-8") + ACTIONS, encoding="utf-8")
    return folder


def test_without_actions_it_shows_what_to_paste(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "--budget", "5", "-w", str(shop)]) == 2
    said = capsys.readouterr().err
    assert "no action is declared" in said
    assert "[[action]]" in said


def test_a_budget_must_be_given_and_be_one(acting: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "-w", str(acting)]) == 2
    assert "--budget" in capsys.readouterr().err
    assert run(["plan", "--budget", "-5", "-w", str(acting)]) == 2
    assert "a budget is 0 or more" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_the_file_holds_everybody(suffix: str, acting: Path, tmp_path: Path, answer: Answer) -> None:
    file = tmp_path / f"plan.{suffix}"
    told = answer("plan", "--budget", "20", "--out", str(file), "--top", "3", "-w", str(acting))
    read = {"csv": pl.read_csv, "parquet": pl.read_parquet, "jsonl": pl.read_ndjson}[suffix]
    plan = read(file)
    assert plan.columns[:6] == ["user_id", "action", "cost", "expected_gain", "propensity", "why"]
    assert plan.height == told["users"]
    assert plan["cost"].sum() <= 20
    assert len(told["top"]) == 3


@pytest.mark.parametrize("language", LANGUAGES)
def test_people_are_answered_in_their_language(
    language: Language, acting: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plan", "--budget", "20", "-w", str(acting), "--lang", language]) == 0
    shown = capsys.readouterr()
    assert bool(re.search("[一-鿿]", shown.out)) == (language == "zh")
    assert shown.err == ""


def test_a_campaign_takes_the_plan(acting: Path, tmp_path: Path, answer: Answer) -> None:
    file = tmp_path / "plan.csv"
    answer("plan", "--budget", "30", "--out", str(file), "-w", str(acting))
    assert answer("campaign", "start", "spring", "--plan", str(file), "-w", str(acting))
