"""`ebbtide doctor` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ebbtide.cli.main import run


def test_doctor_tells_what_to_do_in_both_languages_and_leaves_with_4(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", "-w", str(tmp_path), "--json"]) == 4
    told = json.loads(capsys.readouterr().out)
    assert told["state"] == "failed"
    assert told["checks"][0]["check"] == "config"
    assert run(["doctor", "-w", str(tmp_path), "--lang", "zh"]) == 4
    assert "有问题需要先解决" in capsys.readouterr().out


def test_a_broker_that_is_away_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("faststream", reason="the extra `serve` is not installed")
    (tmp_path / "ebbtide.toml").write_text(
        '[stream]\nbroker = "redis"\nurl = "redis://127.0.0.1:9"\n', encoding="utf-8"
    )
    assert run(["doctor", "-w", str(tmp_path), "--json"]) == 4
    found = {c["check"]: c for c in json.loads(capsys.readouterr().out)["checks"]}
    assert found["broker"]["state"] == "failed"
