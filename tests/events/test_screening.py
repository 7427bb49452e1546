"""Screening of text files: DuckDB gets only what it reads without loss, and every row is counted."""

from __future__ import annotations

import csv
import io

import duckdb
import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebbtide.core.errors import SourceError
from ebbtide.events import screening
from ebbtide.events.screening import Layout, screen_text

THREE = Layout(3, ",", '"')
CELLS = [
    "a",
    "",
    '"b"',
    '"c,d"',
    '"e\nf"',
    'g"h',
    '"i""j"',
    '"k"x',
    ' "l"',
    '"m',
    'n"',
    "é",
    "\r",
    "\x00",
    "🛒",
    " ",
    '""',
    '"""',
]


def read(file) -> int:
    """Rows that DuckDB reads from a screened file, header left out."""
    columns = "{'x': 'VARCHAR', 'y': 'VARCHAR', 'z': 'VARCHAR'}"
    options = f"""auto_detect=false, header=true, delim=',', quote='"', escape='"', columns={columns}"""
    with duckdb.connect() as connection:
        return connection.execute(f"select count(*) from read_csv('{file}', {options})").fetchall()[0][0]


@given(
    rows=st.lists(st.lists(st.sampled_from(CELLS), min_size=2, max_size=4), max_size=8),
    ends=st.lists(st.sampled_from(["\n", "\r\n", "\n\n"]), min_size=1, max_size=3),
    encoding=st.sampled_from(["utf-8", "utf-8", "latin-1"]),
)
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_duckdb_reads_every_row_that_passed(tmp_path, rows, ends, encoding):
    """Whatever the dirt: the screened file reads without error and gives exactly the rows counted."""
    body = "x,y,z" + ends[0] + "".join(",".join(r) + ends[i % len(ends)] for i, r in enumerate(rows))
    file = tmp_path / "log.csv"
    file.write_bytes(body.encode(encoding, errors="replace"))
    found = screen_text(file, THREE, tmp_path / "scratch")
    assert read(found.file) == found.rows - 1
    if found.broken_file is not None:
        assert pl.read_parquet(found.broken_file).height == len(found.broken) > 0


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), max_size=6), min_size=3, max_size=3), min_size=1, max_size=9))  # fmt: skip
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_well_written_file_passes_as_it_is(tmp_path, rows):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([["x", "y", "z"], *rows])
    file = tmp_path / "log.csv"
    file.write_text(out.getvalue(), encoding="utf-8", newline="")
    found = screen_text(file, THREE, tmp_path / "scratch")
    assert found.file == file
    assert (found.rows, len(found.broken)) == (len(rows) + 1, 0)


def test_blocks_do_not_matter(tmp_path, monkeypatch):
    """Rows, quotes and characters that lie across the borders of blocks."""
    body = "x,y,z\n" + 'é,"a\nb","c""d"\n' * 50 + "broken\n" + "1,2,3\n" * 50
    file = tmp_path / "log.csv"
    file.write_text(body, encoding="utf-8")
    whole = screen_text(file, THREE, tmp_path / "one")
    for size in (1, 2, 3, 7, 64):
        monkeypatch.setattr(screening.read_blocks, "__defaults__", (size,))
        found = screen_text(file, THREE, tmp_path / str(size))
        assert found.file.read_bytes() == whole.file.read_bytes()
        assert (found.rows, found.broken.tolist()) == (whole.rows, whole.broken.tolist()) == (101, [51])


def test_one_open_quote_costs_one_line(tmp_path):
    """The quote of line 3 never closes; reading resumes at line 4."""
    file = tmp_path / "log.csv"
    file.write_text('x,y,z\n1,a,b\n2,"a,b\n3,a,b\n4,a,b\n')
    found = screen_text(file, THREE, tmp_path / "s")
    assert (found.rows, found.broken.tolist()) == (4, [2])
    assert found.file.read_text() == "x,y,z\n1,a,b\n3,a,b\n4,a,b\n"


def test_good_rows_keep_their_place(tmp_path):
    """Rows 2 and 4 of 6 are broken: the good ones stand at 0, 1, 3, 5."""
    file = tmp_path / "log.csv"
    file.write_text("x,y,z\n1,a,b\nbad\n3,a,b\nbad\n5,a,b\n")
    found = screen_text(file, THREE, tmp_path / "s")
    assert found.broken.tolist() == [2, 4]
    assert found.positions(np.arange(4)).tolist() == [0, 1, 3, 5]


def test_lines_have_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(screening, "MAX_ROW_BYTES", 1000)
    monkeypatch.setattr(screening.read_blocks, "__defaults__", (500,))
    file = tmp_path / "log.csv"
    file.write_text("x,y,z\n1,a," + "b" * 2000 + "\n")
    with pytest.raises(SourceError, match="a line of more than 1,000 bytes"):
        screen_text(file, THREE, tmp_path / "s")


def test_lines_of_json_are_not_split_at_commas_or_quotes(tmp_path):
    file = tmp_path / "log.jsonl"
    file.write_text('{"a": "x,y"}\n\n{"b": "\\""}\n')
    found = screen_text(file, Layout(1, "\x01", ""), tmp_path / "s")
    assert (found.file, found.rows) == (file, 2)
