"""Every command on a tiny shop: answers, exit codes, both languages, what is missing."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ebbtide.cli.main import run
from ebbtide.core.language import LANGUAGES, Language
from ebbtide.workspace import Workspace

SCORE_COLUMNS = [
    "user_id", "as_of", "churn_probability", "percentile", "band", "reasons", "expected_orders", "value_at_risk", "model",
]  # fmt: skip
READING = [
    ["check"],
    ["score", "--top", "3"],
    ["models", "list"],
    ["quarantine", "list"],
    ["report", "--out", "OUT"],
    ["explain", "USER"],
    ["recommend", "USER"],
    ["models", "compare", "FIRST"],
]


def arguments_for(command: list[str], shop: Path, tmp_path: Path) -> list[str]:
    bundles = [b.id for b in Workspace(shop).models().bundles]
    places = {"OUT": str(tmp_path / "out.html"), "USER": a_user(shop), "FIRST": bundles[0]}
    return [*(places.get(word, word) for word in command), "-w", str(shop)]


def a_user(shop: Path) -> str:
    return str(pl.read_csv(shop / "data" / "orders.csv", columns=["customer"]).drop_nulls()["customer"][0])


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_people_are_answered_in_their_language(
    command: list[str], language: Language, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*arguments_for(command, shop, tmp_path), "--lang", language]) == 0
    shown = capsys.readouterr()
    assert shown.out.strip()
    assert bool(re.search("[一-鿿]", shown.out)) == (language == "zh")
    assert shown.err == ""  # progress is silent when nobody watches


def test_a_variable_of_a_source_is_needed_by_ingest_alone(shop: Path, tmp_path: Path, answer: Any) -> None:
    """Everything else reads the lake; and files that are named need no path of the config."""
    away = tmp_path / "away"
    shutil.copytree(shop, away)
    config = (away / "ebbtide.toml").read_text()
    (away / "ebbtide.toml").write_text(config.replace("data/*.csv", "${WHERE_THE_DATA_ARE}/*.csv"))
    for command in READING:
        assert answer(*arguments_for(command, away, tmp_path))
    assert answer("train", "-w", str(away), "--until", "2024-06-01")
    refused = answer("ingest", "-w", str(away), code=2)["error"]
    assert (refused["code"], "WHERE_THE_DATA_ARE is not set" in refused["message"]) == ("config", True)
    assert answer("ingest", str(away / "data" / "orders.csv"), "-w", str(away))["total"]["accepted"] == 0


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_programs_are_answered_with_one_json_object(
    command: list[str], shop: Path, tmp_path: Path, answer: Any
) -> None:
    assert answer(*arguments_for(command, shop, tmp_path))


def test_ingest_accounts_for_every_row_and_reads_nothing_twice(tmp_path: Path, shop: Path, answer: Any) -> None:
    rows = len((shop / "data" / "orders.csv").read_text(encoding="utf-8").splitlines()) - 1
    folder = tmp_path / "fresh"
    shutil.copytree(shop / "data", folder / "data")
    shutil.copy(shop / "ebbtide.toml", folder)
    first = answer("ingest", "-w", str(folder))["total"]
    assert first == {"read": rows, "accepted": rows - 3, "quarantined": 3, "filtered": 0, "duplicates": 0}
    again = answer("ingest", "-w", str(folder))["total"]
    assert again == {"read": rows, "accepted": 0, "quarantined": 3, "filtered": 0, "duplicates": rows - 3}


def test_score_writes_the_whole_list_in_each_format(shop: Path, tmp_path: Path, answer: Any) -> None:
    said = answer("score", "-w", str(shop), "--as-of", "2024-06-10", "--out", str(tmp_path / "s.parquet"), "--top", "2")
    frame = pl.read_parquet(tmp_path / "s.parquet")
    assert frame.columns == SCORE_COLUMNS
    assert len(frame) == said["users"] == sum(said["bands"].values())
    assert len(said["top"]) == 2
    for suffix, read in (("csv", pl.read_csv), ("jsonl", pl.read_ndjson)):
        file = tmp_path / f"s.{suffix}"
        answer("score", "-w", str(shop), "--as-of", "2024-06-10", "--out", str(file))
        assert len(read(file)) == len(frame)
    assert answer("score", "-w", str(shop), "--out", "s.xlsx", code=2)["error"]["code"] == "input"


def test_reasons_are_given_to_whom_they_were_asked_for(shop: Path, tmp_path: Path, answer: Any) -> None:
    file = tmp_path / "s.parquet"
    given = {}
    for whom in ("none", "at-risk", "all"):
        answer("score", "-w", str(shop), "--reasons", whom, "--out", str(file))
        frame = pl.read_parquet(file)
        given[whom] = frame.filter(pl.col("reasons").is_not_null())
    assert len(given["none"]) == 0
    assert len(given["all"]) == len(frame)
    assert set(given["at-risk"]["band"]) <= {"high", "medium"}
    assert answer("score", "-w", str(shop), "--reasons", "some", code=2)


def test_explain_names_no_customer_when_there_is_none(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "somebody-else", "-w", str(shop)]) == 2
    shown = capsys.readouterr()
    assert "somebody-else" not in shown.err
    assert "no event of this user" in shown.err


def test_report_writes_a_page_in_the_language_asked_for(shop: Path, tmp_path: Path, answer: Any) -> None:
    for language, title in (("en", "Customers at risk"), ("zh", "流失预警")):
        out = tmp_path / f"{language}.html"
        assert answer("report", "-w", str(shop), "--out", str(out), "--lang", language)["out"] == str(out)
        assert title in out.read_text(encoding="utf-8")


def test_models_are_promoted_and_rolled_back(shop: Path, tmp_path: Path, answer: Any) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(shop, folder)
    listed = answer("models", "list", "-w", str(folder))
    first, second = (b["id"] for b in listed["bundles"])
    assert listed["current"] == second
    assert answer("models", "promote", first, "-w", str(folder))["current"] == first
    assert answer("models", "rollback", "-w", str(folder))["current"] == second
    assert answer("models", "promote", "nothing", "-w", str(folder), code=2)["error"]["code"] == "unknown"


def test_models_are_compared_on_outcomes_that_neither_saw(shop: Path, answer: Any) -> None:
    """Trained until 1 and 10 June; the log ends on 18 July, so 18 June is closed and new to both."""
    first, second = (b["id"] for b in answer("models", "list", "-w", str(shop))["bundles"])
    found = answer("models", "compare", first, second, "-w", str(shop))
    assert found["as_of"].startswith("2024-06-1")
    assert found["difference"]["low"] <= found["first_auroc"] - found["second_auroc"] <= found["difference"]["high"]


def test_a_comparison_without_fresh_outcomes_is_refused(shop: Path, tmp_path: Path, answer: Any) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(shop, folder)
    newest = answer("train", "-w", str(folder))["bundle"]
    assert answer("models", "compare", newest, "-w", str(folder), code=3)["error"]["code"] == "data"


def test_backtest_repeats_the_policy_at_past_moments(shop: Path, answer: Any) -> None:
    found = answer("backtest", "-w", str(shop), "--moments", "2")
    assert [m["as_of"] for m in found["moments"]] == sorted(m["as_of"] for m in found["moments"])
    assert 1 <= len(found["moments"]) <= 2


def test_compare_judges_kinds_of_models_on_the_same_customers(
    shop: Path, answer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer("compare", "--models", "recency, tree", "-w", str(shop))
    assert {m["name"] for m in found["models"]} == {"recency", "tree"}
    assert answer("compare", "--models", "recency,treee", "-w", str(shop), code=2)["error"]["code"] == "input"
    assert run(["compare", "--models", "recency", "-w", str(shop), "--lang", "zh"]) == 0
    assert "recency 排序最好" in capsys.readouterr().out


def test_compress_measures_and_writes_on_request(shop: Path, tmp_path: Path, answer: Any) -> None:
    folder = tmp_path / "compressed"
    shutil.copytree(shop, folder)
    measured = answer("compress", "-w", str(folder))
    assert [f["form"] for f in measured["forms"]] == ["full", "distilled"]
    assert measured["written"] is None
    made = answer("compress", measured["bundle"], "--form", "distilled", "--promote", "-w", str(folder))
    assert answer("models", "list", "-w", str(folder))["current"] == made["written"]
    assert answer("score", "-w", str(folder))["model"] == made["written"]
    assert answer("compress", "-w", str(folder), code=2)["error"]["code"] == "input"
    assert (
        answer("compress", measured["bundle"], "--form", "int8", "-w", str(folder), code=2)["error"]["code"] == "input"
    )


def test_quarantine_can_be_exported_corrected_and_ingested(shop: Path, tmp_path: Path, answer: Any) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(shop, folder)
    file = tmp_path / "bad.csv"
    assert answer("quarantine", "export", str(file), "-w", str(folder)) == {"rows": 3, "out": str(file)}
    assert answer("quarantine", "list", "--reason", "bad_time", "-w", str(folder))["rows"] == 1
    assert answer("quarantine", "list", "--reason", "bad_tim", "-w", str(folder), code=2)
    file.write_text(file.read_text().replace("never", "2024-03-02 11:00:00"), encoding="utf-8")
    assert answer("ingest", str(file), "-w", str(folder))["total"]["accepted"] == 1
    assert answer("quarantine", "list", "-w", str(folder))["rows"] == 2


def test_check_leaves_with_3_where_the_data_do_not_suffice(shop: Path, tmp_path: Path, answer: Any) -> None:
    folder = tmp_path / "long"
    shutil.copytree(shop, folder)
    toml = (folder / "ebbtide.toml").read_text().replace('"30d"', '"180d"')
    (folder / "ebbtide.toml").write_text(toml)
    assert answer("check", "-w", str(folder), code=3)["sufficiency"]["level"] == "fail"
    refused = answer("train", "-w", str(folder), code=3)["error"]
    assert refused["code"] == "insufficient"
    assert "nearest definition that passes" in refused["message"]


@pytest.mark.parametrize(
    "command",
    [["ingest"], ["check"], ["train"], ["score"], ["report"], ["explain", "u"], ["backtest"], ["compare"]],
    ids=" ".join,
)
def test_without_a_config_every_command_says_how_to_begin(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command, "-w", str(tmp_path)]) == 2
    assert "ebbtide init" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["check"], ["train"], ["quarantine", "list"]], ids=" ".join)
def test_before_ingest_a_command_says_to_ingest(command: list[str], tmp_path: Path, shop: Path, answer: Any) -> None:
    shutil.copy(shop / "ebbtide.toml", tmp_path)
    assert answer(*command, "-w", str(tmp_path), code=4)["error"]["code"] == "missing"


@pytest.mark.parametrize("command", [["score"], ["report"], ["explain", "u"]], ids=" ".join)
def test_before_training_a_command_says_to_train(command: list[str], tmp_path: Path, shop: Path, answer: Any) -> None:
    folder = tmp_path / "untrained"
    shutil.copytree(shop, folder, ignore=shutil.ignore_patterns("bundles"))
    said = answer(*command, "-w", str(folder), code=4)["error"]
    assert said["code"] == "missing_bundle"
    assert "ebbtide train" in said["message"]


def test_a_damaged_bundle_is_refused(tmp_path: Path, shop: Path, answer: Any) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(shop, folder)
    current = Workspace(folder).models().bundles[-1].id
    with (folder / ".ebbtide" / "bundles" / current / "metrics.json").open("a") as file:
        file.write(" ")
    assert "damaged" in answer("score", "-w", str(folder), code=4)["error"]["message"]


def test_config_problems_are_told_all_at_once(tmp_path: Path, answer: Any) -> None:
    (tmp_path / "ebbtide.toml").write_text('[chrun]\nhorizon = "30d"\n[bands]\nhigh = 2\n')
    said = answer("check", "-w", str(tmp_path), "--lang", "zh", code=2)["error"]["message"]
    assert "chrun" in said
    assert "bands.high" in said


def test_the_language_of_the_shop_is_the_default(
    tmp_path: Path, shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toml = (shop / "ebbtide.toml").read_text().replace("[shop]", '[shop]\nlanguage = "zh"')
    (tmp_path / "ebbtide.toml").write_text(toml)
    assert run(["check", "-w", str(tmp_path)]) == 4
    assert "尚未导入数据" in capsys.readouterr().err


def test_a_wrong_moment_is_refused_with_an_example(shop: Path, answer: Any) -> None:
    assert "2024-05-01" in answer("score", "-w", str(shop), "--as-of", "last week", code=2)["error"]["message"]


def test_json_on_the_terminal_is_also_valid_when_texts_are_chinese(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["score", "-w", str(shop), "--json", "--lang", "zh", "--top", "1"]) == 0
    assert "风险" in json.loads(capsys.readouterr().out)["top"][0]["reasons"][0]["text"]


def test_init_writes_a_config_with_which_ingest_works(shop: Path, tmp_path: Path, answer: Any) -> None:
    folder, file = tmp_path / "new", str(shop / "data" / "orders.csv")
    said = answer("init", file, "-w", str(folder))
    assert said["file"] == str(folder / "ebbtide.toml")
    total = answer("ingest", "-w", str(folder))["total"]
    assert total["read"] - total["accepted"] == total["quarantined"] + total["filtered"] == 3
    refused = answer("init", file, "-w", str(folder), code=2)["error"]["message"]
    assert "--force" in refused
    assert answer("init", file, "-w", str(folder), "--force")


@pytest.mark.parametrize("language", LANGUAGES)
def test_init_tells_people_what_it_guessed(
    language: Language, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init", str(shop / "data" / "orders.csv"), "-w", str(tmp_path), "--lang", language]) == 0
    shown = capsys.readouterr().out
    assert "customer" in shown
    assert bool(re.search("[一-鿿]", shown)) == (language == "zh")


def test_init_of_a_file_that_is_not_there_names_it(tmp_path: Path, answer: Any) -> None:
    assert (
        "nothing.csv" in answer("init", str(tmp_path / "nothing.csv"), "-w", str(tmp_path), code=2)["error"]["message"]
    )


def test_recommend_writes_everybodys_lists_in_the_language_spoken(shop: Path, tmp_path: Path, answer: Any) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(shop, folder)
    out = tmp_path / "lists.csv"
    told = answer("recommend", "-w", str(folder), "--out", str(out), "--count", "3", "--lang", "zh")
    frame = pl.read_csv(out)
    assert (told["out"], len(frame)) == (str(out), 3 * told["users"])
    assert frame["text"].str.contains("[一-鿿]").all()
    one = answer("recommend", a_user(folder), "-w", str(folder), "--count", "3")
    assert [item["rank"] for item in one["items"]] == [1, 2, 3]
    assert answer("recommend", "-w", str(folder), "--without", str(tmp_path / "none.txt"), code=2)
