"""Mappings of nested, dirty and typed raw columns, through the real ingest."""

from __future__ import annotations

import json
from dataclasses import asdict

import duckdb
import polars as pl
import pytest

from ebbtide.core.config import load_config
from ebbtide.core.errors import SourceError
from ebbtide.events.lake import Lake, lake_folder
from ebbtide.pipeline.ingest import ingest, open_quarantine

BASE = {"user_id": "u", "occurred_at": "t", "type": "'order'"}


def counts(report) -> tuple[int, ...]:
    return tuple(asdict(report.total).values())


def reasons(shop) -> list[str]:
    return open_quarantine(shop.root).read()["reason"].to_list()


def test_nested_json_is_reached_by_path_and_as_a_whole_row(make_shop):
    """`p.price` needs the key to occur; `_row` does not; a list is summed with DuckDB's functions."""
    columns = {
        **BASE,
        "unit_price": "p.price",
        "coupon": "_row->>'$.p.nowhere'",
        "value": "list_sum(list_transform(lines, lambda l: l.q * l.v))",
        "properties": "p",
    }
    shop = make_shop(columns, path="*.jsonl")
    lines = [{"q": 2, "v": 1.5}, {"q": 1, "v": 4}]
    rows = [{"u": 7, "t": 1704067200, "p": {"price": 2.5, "x": "é"}, "lines": lines}, {"u": "a", "t": "2024-01-01"}]
    shop.write("log.jsonl", "\n".join(json.dumps(r) for r in rows))
    assert counts(shop.ingest()) == (2, 2, 0, 0, 0)
    seven = shop.events().row(0, named=True)
    assert (seven["user_id"], seven["unit_price"], seven["value"], seven["coupon"]) == ("7", 2.5, 7.0, None)
    assert json.loads(seven["properties"]) == {"price": 2.5, "x": "é"}


def test_nested_parquet(make_shop):
    columns = {**BASE, "item_id": "s.id", "quantity": "len(tags)", "text": "tags[1]"}
    shop = make_shop(columns, path="*.parquet")
    frame = pl.DataFrame({"u": ["a"], "t": ["2024-01-01"], "s": [{"id": 17, "x": 1}], "tags": [["red", "blue"]]})
    frame.write_parquet(shop.root / "log.parquet")
    shop.ingest()
    found = shop.events().row(0, named=True)
    assert (found["item_id"], found["quantity"], found["text"]) == ("17", 2.0, "red")


def test_names_with_blanks_sql_words_and_other_scripts(make_shop):
    columns = {
        "user_id": "User ID",
        "occurred_at": "order",
        "type": "'order'",
        "value": '"单价" * "数量"',
        "channel": "Group",
    }
    shop = make_shop(columns)
    shop.write("log.csv", "User ID,order,单价,数量,group\n01,2024-01-01,2.5,2,web\n")
    shop.ingest()
    found = shop.events().row(0, named=True)
    assert (found["user_id"], found["value"], found["channel"]) == ("01", 5.0, "web")


def test_one_row_that_fails_does_not_fail_the_file(make_shop):
    """`1 / (q - 2)` is fine, a cast of a text is not: row 2 goes to quarantine with the others taken."""
    shop = make_shop({**BASE, "value": "case when q > 1 then (note::int) end"})
    shop.write("log.csv", "u,t,q,note\na,2024-01-01,1,x\nb,2024-01-01,2,y\nc,2024-01-01,3,5\n")
    assert counts(shop.ingest()) == (3, 2, 1, 0, 0)
    assert reasons(shop) == ["bad_number"]
    assert shop.events()["value"].to_list() == [None, 5.0]


def test_a_text_expression_that_fails_is_a_bad_value(make_shop):
    shop = make_shop({**BASE, "item_id": "strptime(code, '%Y')::varchar"})
    shop.write("log.csv", "u,t,code\na,2024-01-01,1999\nb,2024-01-01,x\n")
    assert counts(shop.ingest()) == (2, 1, 1, 0, 0)
    assert reasons(shop) == ["bad_value"]


def test_a_filter_that_cannot_be_judged_keeps_the_row_for_the_quarantine(make_shop):
    shop = make_shop(BASE, where="code::int > 1")
    shop.write("log.csv", "u,t,code\na,2024-01-01,1\nb,2024-01-01,2\nc,2024-01-01,zz\nd,2024-01-01,\n")
    assert counts(shop.ingest()) == (4, 1, 1, 2, 0)
    assert reasons(shop) == ["bad_value"]


def test_missing_floats_are_missing_and_infinite_ones_bad(make_shop):
    shop = make_shop({**BASE, "value": "v"}, path="*.parquet")
    frame = pl.DataFrame({"u": list("abc"), "t": ["2024-01-01"] * 3, "v": [float("nan"), float("inf"), 1.0]})
    frame.write_parquet(shop.root / "log.parquet")
    assert counts(shop.ingest()) == (3, 2, 1, 0, 0)
    assert shop.events()["value"].to_list() == [None, 1.0]


def test_properties_must_be_json(make_shop):
    shop = make_shop({**BASE, "properties": "p"})
    shop.write("log.csv", 'u,t,p\na,2024-01-01,"{""days_late"": 3}"\nb,2024-01-01,{oops\nc,2024-01-01,\n')
    assert counts(shop.ingest()) == (3, 2, 1, 0, 0)
    assert reasons(shop) == ["bad_json"]


def test_a_date_column_compares_with_a_text_as_a_date(make_shop):
    shop = make_shop(BASE, path="*.parquet", where="t >= '2024-1-02'")
    frame = pl.DataFrame({"u": ["a", "b"], "t": ["2024-01-01", "2024-01-02"]}).with_columns(pl.col("t").str.to_date())
    frame.write_parquet(shop.root / "log.parquet")
    assert counts(shop.ingest()) == (2, 1, 0, 1, 0)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user_id": "u", "occurred_at": "t"}, "the mapping has no `type`, for example type = \"'order'\""),
        ({**BASE, "type": "'ordr'"}, "`ordr` is no event type; did you mean `order`?"),
        ({**BASE, "value": "sum(v)"}, "the SQL of `value` is not valid"),
        ({**BASE, "value": "random()"}, "the SQL of `value` is not valid"),
        ({**BASE, "value": "row_number() over ()"}, "a window cannot stand in a mapping"),
        ({**BASE, "value": "(select 1)"}, "a subquery cannot stand in a mapping"),
    ],
)
def test_mappings_that_make_no_sense_are_refused(make_shop, columns, message):
    shop = make_shop(columns)
    shop.write("log.csv", "u,t,v\na,2024-01-01,1\n")
    with pytest.raises(SourceError) as caught:
        shop.ingest()
    assert message in str(caught.value)


def test_online_retail_equals_plain_sql(tmp_path, real_data):
    """The oracle: the same rows, users, refunds and money as one SQL statement over the raw file."""
    file = real_data / "online_retail" / "transactions.parquet"
    (tmp_path / "ebbtide.toml").write_text(
        f"""[[source]]
path = "{file}"
where = "CustomerID is not null"
[source.columns]
user_id = "CustomerID"
occurred_at = "InvoiceDate"
order_id = "InvoiceNo"
item_id = "StockCode"
value = "Quantity * UnitPrice"
type = "case when InvoiceNo like 'C%' then 'refund' else 'order' end"
[lake]
buckets = 3
"""
    )
    total = ingest(load_config(tmp_path / "ebbtide.toml"), tmp_path).total
    assert tuple(asdict(total).values()) == (541_909, 406_829, 0, 135_080, 0)
    lake = Lake.open(lake_folder(tmp_path))
    ours = pl.concat([lake.read_bucket(b, ["user_id", "occurred_at", "type", "value"]) for b in lake.buckets()])
    with duckdb.connect() as connection:
        expected = connection.execute(
            f"""select CustomerID::varchar, max(epoch_us(InvoiceDate)), count(*) filter (InvoiceNo like 'C%'),
            sum(Quantity * UnitPrice) from '{file}' where CustomerID is not null group by 1 order by 1"""
        ).fetchall()
    found = ours.group_by("user_id").agg(
        pl.col("occurred_at").max().dt.timestamp("us"),
        (pl.col("type") == "refund").sum().alias("refunds"),
        pl.col("value").sum(),
    )
    for (user, last, refunds, value), ours_row in zip(expected, found.sort("user_id").iter_rows(), strict=True):
        assert ours_row[:3] == (user, last, refunds)
        assert ours_row[3] == pytest.approx(value, abs=1e-6)
