"""What a table's columns hold, and how they become a design: without the label, on training rows only."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from ebbtide.explain.phrases import phrase_of
from ebbtide.explain.sentences import sentence
from ebbtide.features.table_columns import (
    KINDS,
    DateColumn,
    FlagColumn,
    LevelColumn,
    MissingColumn,
    NumberColumn,
    SharedColumn,
    TableColumn,
)
from ebbtide.features.table_encoding import LEAST_ROWS, MOST_LEVELS, TIME, TableEncoding, read_fields
from ebbtide.features.table_fields import TableField, infer_fields

N = 60


def column(name: str, cells: list) -> pl.DataFrame:
    return pl.DataFrame({name: (cells * N)[:N]})


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([1, 2, 3], "number"), ([1.5, None], "number"), ([True, False], "flag"), (["Yes", "No"], "flag"),
        (["yes", "No", " "], "flag"), (["29.85", " ", "1889.5"], "number"), (["1.234,5", "12,5"], "number"),
        (["$5", "$7"], "number"), (["0", "1"], "number"), (["red", "blue"], "category"), (["1", "2a"], "category"),
        (["2024-01-01", "2024-02-29"], "date"), (["31/12/2024", "01/01/2024"], "date"),
        (["Phone 1", "Phone 2"], "category"), (["No", "Yes", "No service"], "category"),
    ],
)  # fmt: skip
def test_the_kind_of_a_column(cells, kind):
    (field,) = infer_fields(column("c", cells)).kept
    assert field.kind == kind


def test_stray_words_among_numbers_are_told_and_count_as_missing():
    cells = [str(i) for i in range(99)] + ["lots"]
    found = infer_fields(pl.DataFrame({"c": cells}))
    assert found.kept[0].kind == "number"
    assert [str(o) for o in found.oddities] == ["c: 1 cells are no number and count as missing"]
    assert found.kept[0].read(pl.Series(cells)).null_count() == 1


@pytest.mark.parametrize(
    ("name", "cells", "why"),
    [
        ("c", [None] * N, "it is empty"), ("c", ["x"] * N, "it has one value in all rows"),
        ("c", [5] * N, "it has one value in all rows"),
        ("email", [f"u{i}@x.y" for i in range(N)], "nearly every row has a value of its own (60 values in 60 rows)"),
        ("RowNumber", list(range(1, N + 1)), "it numbers the rows"), ("order", list(range(500, 500 + N)), "it numbers the rows"),
        ("customerId", [i * 9973 + 17 for i in range(N)], "it numbers the rows"),
        ("client_id", [i * 9973 + 17 for i in range(N)], "it numbers the rows"),
    ],
)  # fmt: skip
def test_columns_that_say_nothing_general_are_left_out_with_the_reason(name, cells, why):
    found = infer_fields(pl.DataFrame({name: cells, "kept": ([1, 2] * N)[:N]}))
    assert [f.column for f in found.kept] == ["kept"]
    assert [str(left.text) for left in found.left_out] == [f"{name} is left out: {why}"]
    assert "未使用" in found.left_out[0].text.zh


def test_a_category_with_too_many_values_is_left_out():
    cells = [f"item {i // 3}" for i in range(6000)]
    found = infer_fields(pl.DataFrame({"item": cells, "n": [1, 2] * 3000}))
    assert "it has 2,000 categories, more than 1,000" in str(found.left_out[0].text)


def test_numbers_that_all_differ_are_kept_if_they_are_no_numbering():
    spent = [round(1.37 * i**1.5, 2) for i in range(N)]
    assert infer_fields(pl.DataFrame({"spent": spent})).kept[0].kind == "number"
    assert infer_fields(pl.DataFrame({"cents": [i * i * 31 for i in range(N)]})).kept[0].kind == "number"


def test_a_constant_that_is_sometimes_missing_may_say_something():
    assert infer_fields(column("cancelled_at", ["x", None])).kept[0].column == "cancelled_at"


def test_dropped_columns_are_told():
    found = infer_fields(column("a", [1, 2]), drop=["a"])
    assert found.kept == ()
    assert str(found.left_out[0].text) == "a is left out: you asked so"


def coded(cells: list[str | None], least: int = LEAST_ROWS) -> tuple[TableEncoding, pl.DataFrame]:
    read = pl.DataFrame({"c": [cell for cell in cells for _ in range(least)]}, schema={"c": pl.String})
    return TableEncoding.fit([TableField("c", "category")], read), read


def test_a_frequent_category_has_a_column_and_one_that_was_not_seen_has_none():
    encoding, _ = coded(["a", "b", "b", None])
    assert encoding.names == ("c=b", "c=a", "c=")
    X = encoding.design(pl.DataFrame({"c": ["a", "b", None, "new"]}))
    assert X.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_rare_categories_are_never_named():
    """Fewer than ten rows could point at a person: neither in a column nor in what is saved."""
    read = pl.DataFrame({"c": ["a"] * 50 + ["b"] * 40 + ["Mrs Smith"] * 9})
    encoding = TableEncoding.fit([TableField("c", "category")], read)
    assert encoding.names == ("c=a", "c=b", "c:share")
    assert "Smith" not in json.dumps(encoding.to_json())
    shares = encoding.design(pl.DataFrame({"c": ["a", "Mrs Smith", "new", None]}))[:, 2]
    np.testing.assert_allclose(shares, np.float32([50 / 99, 0, 0, np.nan]))


def test_only_so_many_categories_have_a_column():
    encoding, _ = coded([f"k{i}" for i in range(MOST_LEVELS + 5)])
    assert len(encoding.columns) == MOST_LEVELS + 1
    assert len(encoding.shares["c"]) == MOST_LEVELS + 5


def test_days_count_to_the_rows_own_time_or_to_the_newest_day():
    field = TableField("since", "date")
    read = pl.DataFrame({"since": [100.0, 90.0, None], TIME: [130.0, 80.0, 10.0]})
    own = TableEncoding.fit([field], read, "ordered")
    np.testing.assert_array_equal(own.design(read)[:, 0], np.float32([30, -10, np.nan]))
    assert own.columns[0].description.en == "days from since to ordered"
    fixed = TableEncoding.fit([field], read.drop(TIME))
    np.testing.assert_array_equal(fixed.design(read)[:, 0], np.float32([0, 10, np.nan]))
    assert fixed.columns[0].description.en == "days from since to 1970-04-11"


def test_dates_that_mostly_lie_ahead_count_forwards():
    read = pl.DataFrame({"due": [105.0, 90.0, 99.0, None], TIME: [100.0, 80.0, 100.0, 10.0]})
    encoding = TableEncoding.fit([TableField("due", "date")], read, "ordered")
    assert encoding.columns[0].description.en == "days from ordered to due"
    np.testing.assert_array_equal(encoding.design(read)[:, 0], np.float32([5, 10, -1, np.nan]))
    assert TableEncoding.from_json(encoding.to_json()) == encoding


def test_an_encoding_does_not_depend_on_row_order_and_survives_json():
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "c": rng.choice(["a", "b", "c"], 200, p=[0.6, 0.37, 0.03]),
            "n": rng.normal(size=200),
            "d": rng.integers(9000, 9100, 200).astype(float),
        }
    )
    fields = [TableField("c", "category"), TableField("n", "number"), TableField("d", "date")]
    encoding = TableEncoding.fit(fields, frame)
    assert TableEncoding.fit(fields, frame[rng.permutation(200)]) == encoding
    again = TableEncoding.from_json(json.loads(json.dumps(encoding.to_json())))
    assert again == encoding
    np.testing.assert_array_equal(again.design(frame), encoding.design(frame))
    assert [TableField.from_json(f.to_json()) for f in fields] == fields


def test_a_cell_reads_the_same_as_text_and_typed():
    fields = [TableField("n", "number"), TableField("f", "flag"), TableField("c", "category"), TableField("d", "date")]
    typed = pl.DataFrame({"n": [1, 2], "f": [True, False], "c": [3.0, 4.0], "d": [0, 1]}).with_columns(
        d=pl.Series([0, 1]).cast(pl.Date)
    )
    text = pl.DataFrame({"n": ["1", "2"], "f": ["true", "No"], "c": ["3", "4"], "d": ["1970-01-01", "1970-01-02"]})
    assert read_fields(fields, typed).equals(read_fields(fields, text))


SAID = [
    (NumberColumn("tenure"), 3.0, 12.0, "raises: tenure: 3 (typical customer: 12)", "推高风险：tenure：3（一般顾客 12）"),
    (NumberColumn("tenure"), np.nan, 12.0, "raises: no record of tenure", "推高风险：没有“tenure”的记录"),
    (FlagColumn("Partner"), 0.0, 1.0, "raises: Partner: no", "推高风险：Partner：否"),
    (FlagColumn("Partner"), 1.0, 0.0, "raises: Partner: yes", "推高风险：Partner：是"),
    (LevelColumn("Plan", "{x}"), 1.0, 0.0, "raises: Plan is {x}", "推高风险：Plan 是 {x}"),
    (LevelColumn("Plan", "two"), 0.0, 1.0, "raises: Plan is not two", "推高风险：Plan 不是 two"),
    (MissingColumn("Plan"), 1.0, 0.0, "raises: Plan is missing", "推高风险：Plan 缺失"),
    (MissingColumn("Plan"), 0.0, 0.0, "raises: Plan is known", "推高风险：Plan 已知"),
    (DateColumn("born", "at"), 30.0, np.nan, "raises: born: 30 days before at", "推高风险：born：早于 at 30 天"),
    (DateColumn("due", "at", is_later=True), 9.0, 2.0, "raises: due: 9 days after at (typical customer: 2 days)", "推高风险：due：晚于 at 9 天（一般顾客 2 天）"),
    (SharedColumn("city"), 0.25, np.nan, "raises: share of customers with the same city: 25%", "推高风险：city 相同的顾客占比：25%"),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "value", "usual", "en", "zh"), SAID)
def test_every_kind_of_column_is_said_in_both_languages(declared, value, usual, en, zh):
    told = [
        sentence(phrase_of(declared), value, usual, is_own=False, raises=True, language=language)
        for language in ("en", "zh")
    ]
    assert told == [en, zh]


def test_every_kind_is_worded_and_belongs_to_the_column_of_the_file():
    assert {type(said[0]) for said in SAID} == set(KINDS.values())
    for declared, *_ in SAID:
        assert isinstance(declared, TableColumn)
        assert declared.family == declared.column
        assert declared.requires == frozenset()
