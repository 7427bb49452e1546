"""`profile`, `segments`, `drivers`: one JSON object each, exit codes, both languages."""

from __future__ import annotations

import json

from ebbtide.cli.main import run


def test_profile_tells_one_customer(shop, answer, capsys):
    listed = answer("score", "-w", str(shop), "--as-of", "2024-06-10", "--top", "1")["top"]
    user = listed[0]["user_id"]
    found = answer("profile", user, "-w", str(shop), "--as-of", "2024-06-10")
    assert found["profile"]["user_id"] == user
    assert found["profile"]["churn_probability"] == listed[0]["churn_probability"]
    assert run(["profile", user, "-w", str(shop), "--lang", "zh"]) == 0
    assert "事实" in capsys.readouterr().out


def test_an_unknown_customer_is_a_wrong_use(shop, answer):
    assert "error" in answer("profile", "nobody", "-w", str(shop), code=2)


def test_segments_tells_sizes_and_the_flow(shop, answer, capsys):
    found = answer("segments", "-w", str(shop), "--as-of", "2024-06-10", "--against", "2024-05-01")
    assert sum(r["users"] for r in found["rows"] if r["kind"] == "stage") == found["users"]
    assert found["flow"]["before"].startswith("2024-05-01")
    assert answer("segments", "-w", str(shop), "--as-of", "2024-05-01", "--against", "2024-06-10", code=2)
    assert run(["segments", "-w", str(shop), "--lang", "zh"]) == 0
    assert "阶段" in capsys.readouterr().out


def test_drivers_tells_what_goes_with_churn(shop, answer, capsys):
    found = answer("drivers", "-w", str(shop))
    assert found["behaviour"]
    assert found["service"] == []
    assert run(["drivers", "-w", str(shop)]) == 0
    assert "need not cause it" in capsys.readouterr().out


def test_drivers_before_any_outcome_is_no_fit_data(shop, answer):
    assert answer("drivers", "-w", str(shop), "--until", "2024-01-03", code=3)["error"]["code"] == "data"


def test_without_a_bundle_profile_and_segments_say_so(tmp_path, shop, capsys):
    (tmp_path / "ebbtide.toml").write_text((shop / "ebbtide.toml").read_text(encoding="utf-8"), encoding="utf-8")
    for command in (["profile", "u"], ["segments"]):
        assert run([*command, "-w", str(tmp_path), "--json"]) == 4
        shown = json.loads(capsys.readouterr().out)
        assert shown["error"]["code"].startswith("missing")
