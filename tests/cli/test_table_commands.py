"""`train-table` and `score-table` from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ebbtide.cli.main import run


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(4)
    months, calls = rng.integers(0, 40, 300), rng.integers(0, 6, 300)
    left = rng.random(300) < 1 / (1 + np.exp(0.1 * months - 0.6 * calls))
    frame = pl.DataFrame({"Kunde": [f"k{i}" for i in range(300)], "Monate": months, "Anrufe": calls, "weg": np.where(left, "ja", "nein")})  # fmt: skip
    file = tmp_path_factory.mktemp("tables") / "kunden.csv"
    frame.write_csv(file, separator=";")
    return file


@pytest.fixture(scope="module")
def model(table: Path) -> Path:
    folder = table.parent / "model"
    flags = ["--label", "weg", "--id", "Kunde", "--model", "logistic", "--out", str(folder)]
    assert run(["train-table", str(table), *flags]) == 0
    return folder


def test_what_train_table_leaves(model: Path) -> None:
    left = {f.name for f in model.iterdir()}
    assert {"manifest.json", "model_card.md", "scores.csv", "scores.parquet", "report.html", "models"} <= left
    assert len(pl.read_csv(model / "scores.csv")) == 300


def test_the_answer_as_json_has_the_figures_with_intervals(table, answer, tmp_path):
    told = answer("train-table", str(table), "--label", "weg", "--model", "logistic", "--out", str(tmp_path / "m"))
    auroc = told["test"]["metrics"]["auroc"]
    assert auroc["low"] < auroc["value"] < auroc["high"]
    assert (told["rows"], told["columns"], told["judged_on"]) == (300, 2, "folds")
    assert told["notes"] == [
        "Kunde is left out: nearly every row has a value of its own (300 values in 300 rows)"
    ] or "Kunde is left out" in " ".join(told["notes"])


def test_without_out_the_folder_has_the_name_of_the_file(table, answer, tmp_path):
    told = answer("train-table", str(table), "--label", "weg", "--model", "logistic", "-w", str(tmp_path))
    assert Path(told["folder"]) == tmp_path / "kunden-model"


def test_score_table_writes_and_shows_the_list(table, model, answer, tmp_path):
    out = tmp_path / "list.csv"
    told = answer("score-table", str(table), "--model", str(model), "--out", str(out), "--top", "3", "--reasons", "all")
    assert told["users"] == 300
    assert len(told["top"]) == 3
    listed = pl.read_csv(out)
    assert listed["churn_probability"].is_sorted(descending=True)
    assert listed["percentile"].max() == 100.0
    assert listed["reasons"].str.contains("Anrufe|Monate").all()


@pytest.mark.parametrize(
    ("language", "wanted"), [("en", ["customers:", "raises", "▲ Anrufe"]), ("zh", ["位顾客", "流失概率", "▲ Anrufe"])]
)
def test_the_terminal_speaks_both_languages(language, wanted, table, model, capsys):
    assert run(["score-table", str(table), "--model", str(model), "--lang", language]) == 0
    shown = capsys.readouterr().out
    assert all(w in shown for w in wanted if w != "raises")
    assert "Expected orders" not in shown


def test_the_page_is_in_the_language_that_is_asked(table, tmp_path):
    flags = ["--label", "weg", "--model", "logistic", "--out", str(tmp_path / "m"), "--lang", "zh"]
    assert run(["train-table", str(table), *flags]) == 0
    page = (tmp_path / "m" / "report.html").read_text(encoding="utf-8")
    assert "流失预警" in page
    assert "新买家留存" not in page


@pytest.mark.parametrize(
    ("flags", "code", "told"),
    [
        (["--label", "wegg"], 2, "has no column `wegg` (did you mean `weg`?)"),
        (["--label", "weg", "--id", "kunde"], 2, "has no column `kunde` (did you mean `Kunde`?)"),
        (["--label", "Anrufe"], 2, "`Anrufe` has 6 values where two are expected"),
        (["--label", "weg", "--model", "bgnbd"], 2, "learns from a customer's events"),
        (["--label", "weg", "--model", "lightgmb"], 2, "no model `lightgmb`"),
        (["--label", "weg", "--time", "Kunde"], 3, "no cell of `Kunde` is a time"),
        (["--label", "weg", "--horizon", "soon"], 2, "is not a duration"),
        (["--id", "Kunde"], 2, "missing: --label"),
    ],
)  # fmt: skip
def test_wrong_use_is_told(flags, code, told, table, tmp_path, capsys):
    assert run(["train-table", str(table), "--out", str(tmp_path / "m"), *flags]) == code
    assert told in capsys.readouterr().err
    assert not (tmp_path / "m").exists()


def test_no_model_is_told(table, tmp_path, capsys):
    assert run(["score-table", str(table), "--model", str(tmp_path)]) == 4
    assert "run `ebbtide train-table` first" in capsys.readouterr().err
