"""Items with text, a picture or a ready vector: what is taken, what is refused, and lakes from before."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from deltalake import write_deltalake

from ebbtide.events.lake import Lake, lake_folder
from ebbtide.events.schema import ITEM_COLUMNS
from ebbtide.pipeline.ingest import open_quarantine
from ebbtide.pipeline.init import init

NOW = datetime(2024, 6, 1, tzinfo=UTC)
COLUMNS = {"item_id": "sku", "text": "name", "picture": "image", "vector": "embedding"}


def items_of(root: Path) -> pl.DataFrame:
    return Lake.open(lake_folder(root)).read_table("items").sort("item_id")


@pytest.fixture
def shop(make_shop):
    return make_shop(sources=[{"table": "items", "path": "items.*", "columns": COLUMNS}])


def test_text_picture_and_vector_are_kept_as_they_came(shop):
    shop.write("items.csv", 'sku,name,image,embedding\n7,红色 mug,pictures/7.jpg,"[1, -2.5, 3e-2]"\n8,,,\n')
    assert shop.ingest().total.accepted == 2
    assert items_of(shop.root).select("text", "picture", "vector").rows() == [
        ("红色 mug", "pictures/7.jpg", "[1, -2.5, 3e-2]"),
        (None, None, None),
    ]


def test_a_list_column_of_parquet_is_a_vector(shop):
    frame = {"sku": ["a", "b"], "name": ["x", "y"], "image": ["1.png", "2.png"], "embedding": [[0.5, 1.0], [2.0, -3.0]]}
    pl.DataFrame(frame).write_parquet(shop.root / "items.parquet")
    assert shop.ingest().total.accepted == 2
    assert [json.loads(v) for v in items_of(shop.root)["vector"]] == frame["embedding"]


@pytest.mark.parametrize(
    "bad", ["[]", "[1, null]", '{"a": 1}', "red", '["a"]', '["1"]', "3", "[1e999]", "[NaN]", "[[1]]"]
)
def test_what_is_no_list_of_finite_numbers_is_refused(shop, bad):
    quoted = bad.replace('"', '""')
    shop.write("items.csv", f'sku,name,image,embedding\n7,mug,a.jpg,"{quoted}"\n8,cup,b.jpg,"[1, 2]"\n')
    report = shop.ingest()
    assert (report.total.accepted, report.total.quarantined) == (1, 1)
    assert open_quarantine(shop.root).read()["reason"].to_list() == ["bad_vector"]


def test_a_vector_may_be_long_and_a_path_too(shop):
    """1,536 numbers with all their digits, as embedding services send them, are 30,000 characters."""
    vector = json.dumps([i / 7 for i in range(1536)])
    shop.write("items.csv", f'sku,name,image,embedding\n7,mug,{"d/" * 300}a.jpg,"{vector}"\n')
    assert shop.ingest().total.accepted == 1
    assert json.loads(items_of(shop.root)["vector"][0])[1] == pytest.approx(1 / 7)


def test_an_older_item_table_is_read_and_grows(shop):
    """A lake that was written before items could carry pictures and vectors."""
    old = {n: t for n, t in ITEM_COLUMNS.items() if n not in ("picture", "vector")}
    row = pl.DataFrame({n: ["old" if n == "item_id" else None] for n in old}, schema=old)
    shop.write("items.csv", 'sku,name,image,embedding\n7,mug,a.jpg,"[1]"\n')
    shop.ingest()
    folder = lake_folder(shop.root) / "items"
    write_deltalake(
        str(folder), row.to_arrow(compat_level=pl.CompatLevel.oldest()), mode="overwrite", schema_mode="overwrite"
    )
    assert items_of(shop.root).select("item_id", "picture", "vector").rows() == [("old", None, None)]
    (shop.root / "items.csv").write_text('sku,name,image,embedding\n8,cup,b.jpg,"[2]"\nold,,,\n')
    assert tuple(vars(shop.ingest().total).values()) == (2, 1, 0, 0, 1)
    assert items_of(shop.root).select("item_id", "picture", "vector").rows() == [
        ("8", "b.jpg", "[2]"),
        ("old", None, None),
    ]
    assert dict(items_of(shop.root).schema) == ITEM_COLUMNS


def test_init_finds_picture_and_vector_columns(tmp_path):
    log = "user_id,time,amount\n" + "".join(
        f"u{n % 9},2024-0{n % 4 + 1}-1{n % 9} 10:0{n % 7}:00,5\n" for n in range(60)
    )
    (tmp_path / "log.csv").write_text(log)
    (tmp_path / "goods.csv").write_text('item_id,title,image_path,embedding\n7,mug,a.jpg,"[1]"\n8,cup,b.jpg,"[2]"\n')
    init([tmp_path / "log.csv", tmp_path / "goods.csv"], tmp_path, now=NOW)
    sources = tomllib.loads((tmp_path / "ebbtide.toml").read_text())["source"]
    goods = next(s for s in sources if s["table"] == "items")
    assert goods["columns"] == {"item_id": "item_id", "text": "title", "picture": "image_path", "vector": "embedding"}
