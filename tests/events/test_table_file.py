"""Ready-made tables from messy files: every format, delimiter and encoding gives the same cells."""

from __future__ import annotations

import gzip

import polars as pl
import pytest

from ebbtide.core.errors import InputError, SourceError
from ebbtide.events.table_file import read_table, table_of_frame
from ebbtide.events.table_values import numbers_of, texts_of

ROWS = [("7", "2.5", "Müller, Größe"), ("8", "", "b"), ("9", "4", "c, d")]


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_any_delimiter_and_encoding_gives_the_same_cells(mark, encoding, tmp_path):
    lines = [mark.join(("id", "amount", "word")), *(mark.join(f'"{cell}"' for cell in row) for row in ROWS)]
    file = tmp_path / "table.csv"
    file.write_bytes(("\n".join(lines) + "\n").encode(encoding))
    found = read_table(file).frame
    assert found.columns == ["id", "amount", "word"]
    assert [texts_of(found[c]).to_list() for c in found.columns] == [
        ["7", "8", "9"], ["2.5", None, "4"], ["Müller, Größe", "b", "c, d"],
    ]  # fmt: skip


def test_a_given_encoding_is_used(tmp_path):
    file = tmp_path / "table.csv"
    file.write_bytes("id,城市\n1,北京\n".encode("gb18030"))
    assert read_table(file, "gb18030").frame["城市"].to_list() == read_table(file).frame["城市"].to_list() == ["北京"]
    with pytest.raises(SourceError, match="`klingon` is no known encoding"):
        read_table(file, "klingon")


def test_packed_files_and_json_lines_are_read(tmp_path):
    packed = tmp_path / "table.csv.gz"
    packed.write_bytes(gzip.compress(b"id,a\n1,x\n2,y\n"))
    lines = tmp_path / "table.jsonl"
    lines.write_text('{"id": 1, "a": "x"}\n{"id": 2, "a": "y", "more": [1]}\n')
    assert read_table(packed).frame["a"].to_list() == read_table(lines).frame["a"].to_list() == ["x", "y"]
    assert texts_of(read_table(lines).frame["id"]).to_list() == ["1", "2"]


def test_parquet_keeps_its_types(tmp_path):
    frame = pl.DataFrame({"n": [1, 2], "f": [0.5, None], "ok": [True, False], "t": ["a", "b"], "many": [[1], [2, 3]]})
    frame.write_parquet(tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet").frame
    assert found["n"].dtype.is_integer()
    assert found["ok"].dtype == pl.Boolean
    assert found["many"].to_list() == ["[1]", "[2,3]"]
    assert numbers_of(found["f"]).to_list() == [0.5, None]


def test_broken_rows_are_counted_not_taken(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("id,a\n1,x\n2,y,too,many\n3,z\n")
    found = read_table(file)
    assert found.frame["id"].to_list() == ["1", "3"]
    assert found.broken == 1
    lines = tmp_path / "t.jsonl"
    lines.write_text('{"id": 1}\nnot json\n{"id": 2}\n')
    assert read_table(lines).broken == 1


def test_names_of_columns_are_as_they_stand(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text('Kunden-Nr.,"a ""quoted"" name",select\n1,2,3\n2,3,4\n')
    assert read_table(file).frame.columns == ["Kunden-Nr.", 'a "quoted" name', "select"]


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "is empty"), (b"\n\n", "is empty"), (b"id,churn\n", "has a header line and no rows"), (b"PAR1abc", "truncated")],
)  # fmt: skip
def test_a_file_with_nothing_in_it_is_refused(content, told, tmp_path):
    file = tmp_path / ("t.parquet" if content.startswith(b"PAR1") else "t.csv")
    file.write_bytes(content)
    with pytest.raises(SourceError, match=told):
        read_table(file)


def test_no_file_a_folder_and_an_empty_table_are_refused(tmp_path):
    with pytest.raises(SourceError, match="there is no file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(SourceError, match="is a folder"):
        read_table(tmp_path)
    pl.DataFrame({"a": []}, schema={"a": pl.Int64}).write_parquet(tmp_path / "e.parquet")
    with pytest.raises(SourceError, match="holds no rows"):
        read_table(tmp_path / "e.parquet")
    with pytest.raises(SourceError, match="holds no rows"):
        table_of_frame(pl.DataFrame())


def test_all_missing_columns_are_named_with_the_nearest():
    table = table_of_frame(pl.DataFrame({"CustomerID": ["1"], "Churned": ["Yes"]}), "shop.csv")
    with pytest.raises(InputError) as fault:
        table.check_columns(["customer_id", "churn", "CustomerID", "zzz"])
    assert str(fault.value) == (
        "shop.csv has no column `customer_id` (did you mean `CustomerID`?), `churn` (did you mean `Churned`?), `zzz`; "
        "its columns are CustomerID, Churned"
    )
    assert "是否想写 `CustomerID`？" in fault.value.text.zh
