"""Items, users, consents and exposures: mapped and checked like events, added once."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import pytest

from ebbtide.core.errors import SourceError
from ebbtide.events.lake import Lake, lake_folder
from ebbtide.events.schema import TABLE_COLUMNS
from ebbtide.pipeline.ingest import open_quarantine

FILES = {
    "items": ("sku,since,price\n007,2024-01-01,2.5\n007,2024-02-01,3\n,2024-02-01,1\n", {"item_id": "sku", "valid_from": "since", "unit_price": "price"}),
    "users": ("id,joined,land\n1,2023-05-01,DE\n2,,FR\n", {"user_id": "id", "signed_up_at": "joined", "country": "land"}),
    "consents": ("id,what,ok,at\n1,email,yes,2024-01-01\n1,email,false,2024-03-01\n2,email,maybe,2024-01-01\n", {"user_id": "id", "purpose": "what", "granted": "ok", "valid_from": "at"}),
    "exposures": ("id,at,action,p\n1,2024-01-01,coupon,0.5\n1,2024-01-01,,0.5\n", {"user_id": "id", "occurred_at": "at", "action": "action", "propensity": "p"}),
}  # fmt: skip


def source(table: str) -> dict:
    return {"table": table, "path": f"{table}.csv", "columns": FILES[table][1]}


@pytest.fixture
def shop(make_shop):
    shop = make_shop(sources=[source(t) for t in FILES])
    for name, (content, _) in FILES.items():
        shop.write(f"{name}.csv", content)
    return shop


def test_each_table_is_filled_and_accounted_for(shop):
    report = shop.ingest()
    assert {n: tuple(asdict(c).values()) for n, c in report.sources.items()} == {
        "items": (3, 2, 1, 0, 0),
        "users": (2, 2, 0, 0, 0),
        "consents": (3, 2, 1, 0, 0),
        "exposures": (2, 1, 1, 0, 0),
    }
    lake = Lake.open(lake_folder(shop.root))
    for name, schema in TABLE_COLUMNS.items():
        if name != "events":
            assert dict(lake.read_table(name).schema) == schema
    items = lake.read_table("items").sort("valid_from")
    assert items["unit_price"].to_list() == [2.5, 3.0]
    assert items["item_id"].to_list() == ["007", "007"]
    assert lake.read_table("users")["valid_from"].to_list() == [None, None]
    assert lake.read_table("consents").sort("valid_from")["granted"].to_list() == [True, False]
    assert lake.read_table("exposures")["ingested_at"].to_list() == [datetime(2024, 1, 1, tzinfo=UTC)]
    reasons = open_quarantine(shop.root).read().select("source", "reason").rows()
    assert reasons == [("consents", "bad_value"), ("exposures", "missing_value"), ("items", "missing_item")]


def test_rows_that_are_there_are_not_added_again(shop):
    shop.ingest()
    shop.write("items.csv", FILES["items"][0] + "008,2024-01-01,1\n007,2024-01-01,2.5\n")
    assert tuple(asdict(shop.ingest().sources["items"]).values()) == (5, 1, 1, 0, 3)
    (shop.root / ".ebbtide" / "ledger.json").unlink()
    assert shop.ingest().total.accepted == 0
    assert Lake.open(lake_folder(shop.root)).read_table("items").height == 3


def test_a_table_that_was_never_filled_is_empty(make_shop):
    shop = make_shop()
    shop.write("log.csv", "user,time,amount\na,2024-01-01,1\n")
    shop.ingest()
    assert Lake.open(lake_folder(shop.root)).read_table("users").is_empty()


def test_corrected_rows_of_a_table_resolve_their_entries(shop):
    shop.ingest()
    out = shop.root / "fix.csv"
    open_quarantine(shop.root).export(out, source="items")
    out.write_text(out.read_text().replace('"",', "").replace("\n,", "\n009,", 1))
    assert tuple(asdict(shop.ingest(out, source="items").total).values()) == (1, 1, 0, 0, 0)
    assert open_quarantine(shop.root).read(source="items").is_empty()


def test_a_required_column_without_an_expression_is_named(make_shop):
    shop = make_shop(sources=[{"table": "consents", "path": "*.csv", "columns": {"user_id": "id"}}])
    shop.write("c.csv", "id\n1\n")
    with pytest.raises(SourceError, match=r"the mapping has no `purpose`; the mapping has no `granted`"):
        shop.ingest()
