"""The Python API: the commands as methods, tables in and out."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from ebbtide import Workspace
from ebbtide.core.errors import InputError
from ebbtide.core.language import Text

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "howto" / "use-from-python.md"


def orders_of(shop: Path) -> pl.DataFrame:
    return pl.read_csv(shop / "data" / "orders.csv", infer_schema=False)


@pytest.mark.parametrize("kind", ["polars", "lazy", "arrow", "pandas"])
def test_a_table_from_memory_is_ingested_like_a_file(kind: str, shop: Path, tmp_path: Path) -> None:
    shutil.copy(shop / "ebbtide.toml", tmp_path)
    rows = orders_of(shop)
    table = {"polars": rows, "lazy": rows.lazy(), "arrow": rows.to_arrow(), "pandas": rows.to_pandas()}[kind]
    total = Workspace(tmp_path).ingest(frame=table).total
    assert (total.read, total.accepted, total.quarantined) == (len(rows), len(rows) - 3, 3)
    assert Workspace(tmp_path).ingest(frame=table).total.accepted == 0


def test_what_is_no_table_is_refused(shop: Path, tmp_path: Path) -> None:
    shutil.copy(shop / "ebbtide.toml", tmp_path)
    with pytest.raises(InputError, match="expected a pandas, Polars or Arrow table, got list"):
        Workspace(tmp_path).ingest(frame=[1, 2])
    with pytest.raises(InputError, match="files or a frame"):
        Workspace(tmp_path).ingest(["a.csv"], frame=pl.DataFrame())


def test_the_list_comes_out_as_polars_arrow_and_pandas(shop: Path) -> None:
    found = Workspace(shop).score(as_of="2024-06-10")
    frame = found.to_polars()
    assert found.to_arrow().num_rows == len(frame)
    pandas = found.to_pandas()
    assert isinstance(pandas, pd.DataFrame)
    assert pandas["user_id"].tolist() == frame["user_id"].to_list()


def test_a_moment_may_be_a_text_a_date_or_a_time(shop: Path) -> None:
    lists = [
        Workspace(shop).score(as_of=moment).to_polars()
        for moment in ("2024-06-10", date(2024, 6, 10), datetime(2024, 6, 10, tzinfo=UTC))
    ]
    assert lists[0].equals(lists[1])
    assert lists[0].equals(lists[2])


def test_the_language_of_the_workspace_is_that_of_the_reasons(shop: Path) -> None:
    texts = Workspace(shop, language="zh").score().to_polars()["reasons"].drop_nulls()[0]
    assert "风险" in texts[0]["text"]


def test_progress_hears_about_long_work(shop: Path) -> None:
    heard: list[tuple[str, int, int]] = []

    def listen(stage: Text, done: int, total: int) -> None:
        heard.append((stage.zh, done, total))

    Workspace(shop, progress=listen).score()
    assert heard
    assert heard[-1][1] == heard[-1][2]


def test_a_page_shows_itself_in_a_notebook_without_touching_it(shop: Path) -> None:
    shown = Workspace(shop).report()._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert "<script>" not in shown


def test_calling_models_lists_them(shop: Path) -> None:
    models = Workspace(shop).models
    assert [b.current for b in models().bundles] == [False, True]


def test_the_how_to_page_runs_from_top_to_bottom(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(shop, tmp_path / "my-shop")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", HOW_TO.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, HOW_TO.name, "exec"), names)
    shown = capsys.readouterr().out
    assert "'high':" in shown
    assert "accepted=1" in shown
    assert "不是时刻" in shown
    assert (tmp_path / "my-shop" / "report.html").is_file()


def test_every_result_shows_itself_in_a_notebook_in_both_languages(shop: Path) -> None:
    workspace = Workspace(shop)
    results = [
        workspace.check(),
        workspace.score(),
        workspace.explain(workspace.score().to_polars()["user_id"][0]),
        workspace.models(),
        workspace.quarantine(),
    ]
    for result in results:
        shown = result._repr_html_()
        assert "<script" not in shown
        assert re.search("[一-鿿]", shown.split("<details>")[1])
