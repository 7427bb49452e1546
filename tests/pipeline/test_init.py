"""Init: raw files in, a commented `ebbtide.toml` out that ingests without a change."""

from __future__ import annotations

import json
import shutil
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ebbtide.core.config import load_config
from ebbtide.core.errors import InputError, SourceError
from ebbtide.pipeline.ingest import ingest
from ebbtide.pipeline.init import init
from ebbtide.pipeline.places import Places

NOW = datetime(2024, 6, 1, tzinfo=UTC)
PRESETS = Path(__file__).parents[1] / "events" / "fixtures"


def orders(users: int = 300, per_user: int = 8) -> pl.DataFrame:
    """Users who order every 5 to 40 days over a year, a third of whom stop half-way."""
    rng = np.random.default_rng(3)
    rows = []
    for user in range(users):
        day = rng.uniform(0, 60)
        last = 180 if user % 3 == 0 else 365
        for _ in range(per_user * 3):
            if day >= last:
                break
            rows.append((f"U{user:04d}", datetime(2023, 1, 1) + timedelta(days=day), round(rng.gamma(2, 20), 2)))
            day += rng.uniform(5, 40)
    return pl.DataFrame(rows, schema=["customer_id", "order_date", "amount"], orient="row")


def test_a_plain_order_file(tmp_path):
    orders().write_csv(tmp_path / "orders.csv")
    report = init([tmp_path / "orders.csv"], tmp_path, now=NOW)
    raw = tomllib.loads((tmp_path / "ebbtide.toml").read_text())
    assert raw["source"] == [
        {
            "table": "events",
            "path": "orders.csv",
            "columns": {"user_id": "customer_id", "occurred_at": "order_date", "type": "'order'", "value": "amount"},
        }
    ]
    assert report.advice is not None
    assert report.advice.recommended is not None
    assert raw["churn"]["outcome"] == "order"
    assert raw["churn"]["horizon"] == f"{report.advice.recommended.horizon_days:g}d"
    assert report.advice.text.en in report.toml
    assert report.advice.text.zh in report.toml
    total = ingest(load_config(tmp_path / "ebbtide.toml"), tmp_path, now=NOW).total
    assert total.read == total.accepted == orders().height


def test_the_report_says_itself_as_json(tmp_path):
    orders().write_csv(tmp_path / "orders.csv")
    told = json.loads(json.dumps(init([tmp_path / "orders.csv"], tmp_path, now=NOW).to_json()))
    assert told["sources"][0]["columns"]["value"] == "amount"
    assert told["advice"]["recommended"]
    assert "churned = no order" in told["definition"]


def test_an_existing_config_is_not_overwritten_without_force(tmp_path):
    orders(20).write_csv(tmp_path / "orders.csv")
    (tmp_path / "ebbtide.toml").write_text("# mine\n")
    with pytest.raises(InputError, match=r"there is an `ebbtide.toml` already"):
        init([tmp_path / "orders.csv"], tmp_path)
    assert (tmp_path / "ebbtide.toml").read_text() == "# mine\n"
    init([tmp_path / "orders.csv"], tmp_path, force=True, now=NOW)
    assert "[[source]]" in (tmp_path / "ebbtide.toml").read_text()


def test_no_files_and_files_that_are_no_log(tmp_path):
    with pytest.raises(InputError, match="name the files"):
        init([], tmp_path)
    (tmp_path / "prices.csv").write_text("sku_group,price\na,1\n")
    with pytest.raises(InputError) as caught:
        init([tmp_path / "prices.csv"], tmp_path)
    assert "prices.csv: no column tells who (user_id) or when (occurred_at); its columns are sku_group, price" in str(
        caught.value
    )
    assert not (tmp_path / "ebbtide.toml").exists()
    with pytest.raises(SourceError, match="there is no file"):
        init([tmp_path / "absent.csv"], tmp_path)


def test_a_time_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "log.csv").write_text("user,visit_date\na,6-4\nb,7-4\n")
    with pytest.raises(InputError, match="`visit_date` is called so, but its values cannot be read"):
        init([tmp_path / "log.csv"], tmp_path)


def test_online_retail_is_guessed_like_an_expert_would(tmp_path, real_data):
    """Guests filtered, C invoices as refunds, value from quantity and price, country, text."""
    report = init([real_data / "online_retail" / "transactions.parquet"], tmp_path)
    source = tomllib.loads(report.toml)["source"][0]
    assert source["where"] == "CustomerID is not null"
    assert source["columns"] == {
        "user_id": "CustomerID",
        "occurred_at": "InvoiceDate",
        "type": "case when InvoiceNo like 'C%' then 'refund' else 'order' end",
        "order_id": "InvoiceNo",
        "item_id": "StockCode",
        "quantity": "Quantity",
        "unit_price": "UnitPrice",
        "value": "Quantity * UnitPrice",
        "country": "Country",
        "text": "Description",
    }
    assert "guests" in report.notes[0].en


@pytest.mark.parametrize(
    ("file", "columns"),
    [
        ("cdnow/transactions.parquet", {"user_id": "customer_id", "occurred_at": "date", "value": "dollar_value"}),
        ("essec_purchases/purchases.parquet", {"user_id": "customer_id", "value": "purchase_amount"}),
        ("grocery_elog/groceryElog.parquet", {"user_id": "cust", "occurred_at": "date"}),
        ("complete_journey/cj_transactions_sample.parquet", {"user_id": "household_id", "order_id": "basket_id"}),
        ("ms_store/ms_usage.parquet", {"user_id": "user", "item_id": "item", "occurred_at": "time"}),
    ],
)
def test_other_real_logs(tmp_path, real_data, file, columns):
    report = init([real_data / file], tmp_path)
    found = report.sources[0].config.columns
    assert {n: found.get(n) for n in columns} == columns
    assert report.advice is not None


def test_chinese_files_in_their_encoding(tmp_path):
    frame = orders(30).rename({"customer_id": "用户ID", "order_date": "下单时间", "amount": "实付金额"})
    (tmp_path / "订单.csv").write_bytes(frame.write_csv().replace("U00", "张三").encode("gb18030"))
    report = init([tmp_path / "订单.csv"], tmp_path, now=NOW)
    source = tomllib.loads(report.toml)["source"][0]
    assert (source["path"], source["encoding"]) == ("订单.csv", "gb18030")
    assert source["columns"]["user_id"] == '"用户ID"'
    assert source["columns"]["value"] == '"实付金额"'
    assert ingest(load_config(tmp_path / "ebbtide.toml"), tmp_path, now=NOW).total.accepted == frame.height


GERMAN = """Kundennr;Bestellnummer;Bestelldatum;Artikelnummer;Menge;Stückpreis;Gesamtbetrag;Bemerkung
7;B1;03.01.2024 08:15;A1;1;149,00;"149,00";"bitte; klingeln"
7;B2;19.02.2024 18:50;A2;10;1.299,00;12990,00;
8;B3;22.02.2024 16:33;A3;2;9,99;19,98;"Größe 3,5"
8;B4;21.04.2024 23:28;A5;1;1.299;1.299;
9;B5;08.05.2024 23:06;A6;3;0,125;,375;
9;B6;09.05.2024 10:00;A6;-1;0,125;-0,125;
9;B7;10.05.2024 10:00;A6;1;12.5;kostenlos;
"""
"""As a German till or Excel writes it. By hand: 149 + 12,990 + 19.98 + 1,299 + .375 - .125; the last row is no number."""


def test_german_files_with_decimal_commas(tmp_path):
    rows = GERMAN.splitlines()
    more = [rows[1].replace("B1", f"C{k}").replace("149,00", f"{k},90") for k in range(40)]
    text = "\r\n".join([*rows, *more]) + "\r\n"
    (tmp_path / "bestellungen.csv").write_bytes(text.encode("cp1252"))
    report = init([tmp_path / "bestellungen.csv"], tmp_path, now=NOW)
    source = tomllib.loads(report.toml)["source"][0]
    assert (source["decimal"], source["encoding"]) == (",", "cp1252")
    assert source["columns"] == {
        "user_id": "Kundennr", "occurred_at": "Bestelldatum", "type": "case when Gesamtbetrag < 0 then 'refund' else 'order' end",
        "order_id": "Bestellnummer", "item_id": "Artikelnummer", "quantity": "Menge", "unit_price": '"Stückpreis"',
        "value": "Gesamtbetrag",
    }  # fmt: skip
    assert any("decimal comma" in note.en for note in report.notes)
    assert report.to_json()["sources"][0]["decimal"] == ","
    total = ingest(load_config(tmp_path / "ebbtide.toml"), tmp_path, now=NOW).total
    assert (total.accepted, total.quarantined) == (46, 1)
    lake = Places(tmp_path).lake()
    whole = pl.concat([lake.read_bucket(bucket) for bucket in lake.buckets()])
    found = whole.filter(pl.col("order_id").str.starts_with("B")).sort("order_id")
    assert found["value"].to_list() == [149.0, 12990.0, 19.98, 1299.0, 0.375, -0.125]
    assert found["unit_price"].to_list() == [149.0, 1299.0, 9.99, 1299.0, 0.125, 0.125]


def test_commas_that_may_be_either_are_left_as_thousands_and_told(tmp_path):
    rows = "".join(f'k{i % 7},2024-01-{i % 28 + 1:02d},"{i % 9 + 1},250"\n' for i in range(99))
    (tmp_path / "log.csv").write_text("customer,date,amount\n" + rows)
    report = init([tmp_path / "log.csv"], tmp_path, now=NOW)
    source = tomllib.loads(report.toml)["source"][0]
    assert "decimal" not in source
    assert source["columns"]["value"] == "amount"
    assert "three digits" in report.notes[0].en
    assert "三位数字" in report.toml


def test_event_names_are_translated(tmp_path):
    rows = [
        f"u{i % 50},2023-{i % 12 + 1:02d}-{i % 28 + 1:02d},{k},{i % 9}.5"
        for i in range(1200)
        for k in ("view", "addToCart", "buy", "spin")
    ]
    (tmp_path / "clicks.csv").write_text("uid,ts,action,price\n" + "\n".join(rows) + "\n")
    report = init([tmp_path / "clicks.csv"], tmp_path, now=NOW)
    columns = report.sources[0].config.columns
    assert columns["type"] == (
        "case action when 'addToCart' then 'cart_add' when 'buy' then 'order' when 'view' then 'product_view' else action end"
    )
    assert columns["value"] == f"case when ({columns['type']}) = 'order' then price end"
    config = load_config(tmp_path / "ebbtide.toml")
    assert ingest(config, tmp_path, now=NOW).total.accepted == len(rows)


def test_unknown_event_codes_are_left_to_the_user(tmp_path):
    (tmp_path / "log.csv").write_text(
        "user,time,type\n" + "".join(f"u{i % 7},2024-01-{i % 28 + 1:02d},{i % 3}\n" for i in range(99))
    )
    report = init([tmp_path / "log.csv"], tmp_path, now=NOW)
    assert report.sources[0].config.columns["type"] == "'order'"
    assert "say which is which" in report.notes[0].en


def test_unclear_dates_are_marked_for_checking(tmp_path):
    (tmp_path / "log.csv").write_text(
        "user,date\n" + "".join(f"u{i % 7},{i % 12 + 1:02d}/{i % 11 + 1:02d}/2023\n" for i in range(99))
    )
    report = init([tmp_path / "log.csv"], tmp_path, now=NOW)
    assert report.sources[0].config.time_format == "%d/%m/%Y"
    assert "CHECK" in report.toml


@pytest.mark.parametrize(("preset", "file"), [("segment", "segment.jsonl"), ("ga4", "ga4.jsonl"), ("rees46", "rees46.csv"), ("retailrocket", "retailrocket.csv")])  # fmt: skip
def test_shipped_formats_are_recognised(tmp_path, preset, file):
    shutil.copy(PRESETS / file, tmp_path)
    report = init([tmp_path / file], tmp_path, now=NOW)
    assert tomllib.loads(report.toml)["source"] == [{"table": "events", "path": file, "preset": preset}]
    assert ingest(load_config(tmp_path / "ebbtide.toml"), tmp_path, now=NOW).total.accepted


def test_several_files_make_one_source_each_kind(tmp_path):
    """Two months of orders share a pattern; users and items go to their tables; a note tells of the rest."""
    frame = orders(60)
    (tmp_path / "data").mkdir()
    frame.head(200).write_csv(tmp_path / "data" / "orders-1.csv")
    frame.slice(200).write_csv(tmp_path / "data" / "orders-2.csv")
    (tmp_path / "users.csv").write_text("user_id,country\nU0001,DE\n")
    (tmp_path / "items.csv").write_text("sku,category,price\nA,socks,2\n")
    (tmp_path / "odd.csv").write_text("foo,bar\nx,y\n")
    files = ["data/orders-1.csv", "data/orders-2.csv", "users.csv", "items.csv", "odd.csv"]
    report = init([tmp_path / f for f in files], tmp_path, now=NOW)
    found = {s["table"]: s["path"] for s in tomllib.loads(report.toml)["source"]}
    assert found == {"events": "data/orders-*.csv", "users": "users.csv", "items": "items.csv"}
    assert "odd.csv" in report.notes[-1].en
    config = load_config(tmp_path / "ebbtide.toml")
    assert ingest(config, tmp_path, now=NOW).total.accepted == frame.height + 2


def test_a_pattern_never_takes_in_a_file_that_was_not_named(tmp_path):
    for name in ("a1.csv", "a2.csv", "a3.csv"):
        orders(20).write_csv(tmp_path / name)
    report = init([tmp_path / "a1.csv", tmp_path / "a2.csv"], tmp_path, now=NOW)
    assert [s.config.path for s in report.sources] == ["a1.csv", "a2.csv"]


def _events(folder: Path) -> pl.DataFrame:
    lake = Places(folder).lake()
    return pl.concat([lake.read_bucket(bucket) for bucket in lake.buckets()])


def _written(
    folder: Path, values: list[str], *, encoding: str = "utf-8", times: str = "%d.%m.%Y", head: str = ""
) -> Path:
    """A file of orders, one a day, whose amounts are these texts over and over."""
    days = [datetime(2023, 1, 1) + timedelta(days=i) for i in range(200)]
    rows = [f"u{i % 20};{d.strftime(times)};{values[i % len(values)]}" for i, d in enumerate(days)]
    file = folder / "orders.csv"
    file.write_bytes("\n".join([head or "customer_id;date;amount", *rows, ""]).encode(encoding))
    return file


@pytest.mark.parametrize(
    ("values", "settings", "amounts"),
    [
        (["12,50 €", "1.299,00 €", "-3,00 €"], {"decimal": ",", "currency_sign": "€"}, [12.5, 1299.0, -3.0]),
        (["1\u202f299,00\u00a0EUR", "12,50 EUR"], {"decimal": ",", "currency_sign": "EUR"}, [1299.0, 12.5]),
        (["$1,299.00", "$12.50", "12"], {"currency_sign": "$"}, [1299.0, 12.5, 12.0]),
        (["￥12.50", "¥1,299.00"], {"currency_sign": "¥"}, [12.5, 1299.0]),
        (["1'299.00", "12.50"], {}, [1299.0, 12.5]),
        (["12.50", "8.00", "(3.25)", "9.00", "7.00"], {}, [12.5, 8.0, -3.25, 9.0, 7.0]),
        (["12.50", "8.00", "3.25-", "9.00", "7.00"], {}, [12.5, 8.0, -3.25, 9.0, 7.0]),
    ],
)
def test_amounts_are_read_as_shops_write_them(tmp_path, values, settings, amounts):
    init([_written(tmp_path, values)], tmp_path, now=NOW)
    (source,) = tomllib.loads((tmp_path / "ebbtide.toml").read_text(encoding="utf-8"))["source"]
    assert {k: source[k] for k in ("decimal", "currency_sign") if k in source} == settings
    total = ingest(load_config(tmp_path / "ebbtide.toml"), tmp_path, now=NOW).total
    assert total.read == total.accepted == 200
    events = _events(tmp_path).sort("occurred_at")
    found = events["value"]
    assert found.to_list() == [amounts[i % len(amounts)] for i in range(200)]
    refunds = sum(amounts[i % len(amounts)] < 0 for i in range(200))
    assert (events["type"] == "refund").sum() == refunds


def test_amounts_in_two_currencies_are_not_added_up_and_told(tmp_path):
    report = init([_written(tmp_path, ["$12.50", "€8.00"])], tmp_path, now=NOW)
    assert "value" not in report.sources[0].config.columns
    (note,) = (n for n in report.notes if "several currencies" in n.en)
    assert "`$`, `€`" in note.en
    assert "`$`, `€`" in note.zh
    told = report.toml.replace('"orders.csv"', '"orders.csv"\ncurrency_sign = "€"').replace(
        "\n[churn]", '\nvalue = "amount"\n[churn]', 1
    )
    (tmp_path / "ebbtide.toml").write_text(told, encoding="utf-8")
    total = ingest(load_config(tmp_path / "ebbtide.toml"), tmp_path, now=NOW).total
    assert (total.accepted, total.quarantined) == (100, 100)
    assert not any("called like a number" in n.en for n in report.notes)


def test_amounts_that_cannot_be_read_are_told(tmp_path):
    report = init([_written(tmp_path, ["about 12.50", "ca 8"])], tmp_path, now=NOW)
    (note,) = (n for n in report.notes if "called like a number" in n.en)
    assert "`amount`" in note.en
    assert "`amount`" in note.zh


@pytest.mark.parametrize("encoding", ["gbk", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_chinese_amounts_in_any_encoding(tmp_path, encoding):
    file = _written(
        tmp_path, ["￥12.50", "￥8.00"], encoding=encoding, times="%Y年%m月%d日", head="用户ID;下单时间;金额"
    )
    init([file], tmp_path, now=NOW)
    total = ingest(load_config(tmp_path / "ebbtide.toml"), tmp_path, now=NOW).total
    assert total.read == total.accepted == 200
    assert _events(tmp_path)["value"].sum() == pytest.approx(2050)


@pytest.mark.parametrize("times", ["%d.%m.%Y, %H:%M Uhr", "%d.%m.%Y, %H:%M:%S", "%m/%d/%Y, %I:%M:%S %p"])
def test_times_as_browsers_and_people_write_them(tmp_path, times):
    init([_written(tmp_path, ["12.50"], times=times)], tmp_path, now=NOW)
    total = ingest(load_config(tmp_path / "ebbtide.toml"), tmp_path, now=NOW).total
    assert total.read == total.accepted == 200


def test_a_time_that_ingest_could_not_read_is_not_mapped(tmp_path):
    with pytest.raises(InputError, match="`date` is called so, but its values cannot be read"):
        init([_written(tmp_path, ["12.50"], times="%d.%m.%Y gegen %H")], tmp_path, now=NOW)


def test_a_few_rows_without_a_user_are_never_told_as_none(tmp_path):
    file = _written(tmp_path, ["12.50"])
    file.write_text(file.read_text().replace("u7;", ";", 1))
    report = init([file], tmp_path, now=NOW)
    assert any(n.en.startswith("0.5 % of the sampled rows have no user") for n in report.notes)
    assert any(n.zh.startswith("抽样行中有 0.5 % 没有用户") for n in report.notes)
