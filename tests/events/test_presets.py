"""The shipped presets, each on a small file written by hand in its format."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from ebbtide.core.errors import ConfigError, SourceError
from ebbtide.core.settings import ShopConfig, SourceConfig
from ebbtide.events.schema import EVENT_COLUMNS
from ebbtide.events.source import load_preset, preset_names, resolve_source

FIXTURES = Path(__file__).parent / "fixtures"
FILES = {
    "segment": "segment.jsonl",
    "ga4": "ga4.jsonl",
    "rees46": "rees46.csv",
    "retailrocket": "retailrocket.csv",
    "taobao": "taobao.csv",
}


@pytest.fixture
def read(make_shop):
    """Ingest the fixture of a preset: (events as dicts in order of user and time, the five counts)."""

    def run(preset: str, **source):
        shop = make_shop(source.pop("columns", {}), preset=preset, path=FILES[preset], **source)
        shutil.copy(FIXTURES / FILES[preset], shop.root)
        report = shop.ingest()
        return shop.events().to_dicts(), tuple(asdict(report.total).values())

    return run


def test_every_preset_has_a_fixture():
    assert preset_names() == sorted(FILES)


@pytest.mark.parametrize("name", sorted(FILES))
def test_presets_map_canonical_columns_only(name):
    assert set(load_preset(name).columns) <= set(EVENT_COLUMNS)
    assert load_preset(name).title


def test_segment(read):
    """An order of two products makes two lines, 2 x 10.00 and 1 x 5.50; the message sent twice counts once; the
    identify call is filtered."""
    events, counts = read("segment")
    assert counts == (9, 6, 0, 1, 2)
    search, *order, refund = [e for e in events if e["user_id"] == "u1"]
    assert (search["type"], search["query"], search["device"]) == ("search", "blue socks", "ios")
    assert (search["campaign_id"], search["channel"]) == ("spring", "email")
    assert search["ingested_at"] == datetime(2024, 3, 1, 10, 0, 9, tzinfo=UTC)
    assert [(e["type"], e["order_id"], e["item_id"], e["quantity"], e["value"]) for e in order] == [
        ("order", "o-1", "p1", 2.0, 20.0),
        ("order", "o-1", "p2", 1.0, 5.5),
    ]
    assert [e["event_id"] for e in order] == ["m3-1", "m3-2"]
    assert {e["ingested_at"] for e in order} == {datetime(2024, 3, 3, 8, tzinfo=UTC)}
    assert (refund["type"], refund["value"]) == ("refund", -5.5)
    guest = next(e for e in events if e["user_id"] == "a2")
    assert (guest["type"], guest["brand"], guest["unit_price"], guest["quantity"]) == ("cart_add", "Foot", 7.5, 2.0)
    custom = next(e for e in events if e["user_id"] == "u3")
    assert (custom["type"], json.loads(custom["properties"])) == ("custom", {"raw_type": "Wheel Spun"})


GA4 = [
    ("search", None, None, None, "blue socks"),
    ("order", "T-1", "p1", 20.0, None),
    ("order", "T-1", "p2", 5.5, None),
    ("refund", "T-1", None, -6.0, None),
]


def test_ga4(read):
    """A list of items seen is one event; a purchase of two items makes two lines."""
    events, counts = read("ga4")
    assert counts == (5, 5, 0, 0, 0)
    listed = next(e for e in events if e["type"] == "list_view")
    assert (listed["user_id"], listed["session_id"], listed["item_id"]) == ("111.222", "1709287000", None)
    assert listed["occurred_at"] == datetime(2024, 3, 1, 10, 0, 0, 123456, tzinfo=UTC)
    assert (listed["device"], listed["country"], listed["channel"]) == ("mobile", "Germany", "email")
    others = [e for e in events if e["user_id"] == "u1"]
    rows = [(e["type"], e["order_id"], e["item_id"], e["value"], e["query"]) for e in others]
    assert sorted(rows, key=str) == sorted(GA4, key=str)
    assert [e["coupon"] for e in others if e["type"] == "order"].count("MAY") == 1


def test_ga4_as_parquet_gives_the_same_events(make_shop, read):
    expected, _ = read("ga4")
    shop = make_shop({}, preset="ga4", path="*.parquet")
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select * replace (event_timestamp::bigint as event_timestamp) from "
            f"read_json('{FIXTURES / 'ga4.jsonl'}')) to '{shop.root / 'ga4.parquet'}'"
        )
    shop.ingest()
    assert shop.events().to_dicts() == expected


def test_rees46(read):
    events, counts = read("rees46")
    assert counts == (4, 4, 0, 0, 0)
    assert [e["type"] for e in events] == ["product_view", "order", "cart_add", "cart_remove"]
    view, order = events[:2]
    assert view["category"] == "2103807459595387724"
    assert view["occurred_at"] == datetime(2019, 10, 1, tzinfo=UTC)
    assert (order["value"], order["order_id"], order["brand"]) == (130.76, order["session_id"], "samsung")


def test_retailrocket(read):
    events, counts = read("retailrocket")
    assert counts == (3, 3, 0, 0, 0)
    assert [(e["user_id"], e["type"], e["order_id"]) for e in events] == [
        ("257597", "product_view", None),
        ("287857", "cart_add", None),
        ("599528", "order", "4000"),
    ]
    assert events[0]["occurred_at"] == datetime(2015, 6, 2, 5, 2, 12, 117000, tzinfo=UTC)


def test_taobao(read):
    events, counts = read("taobao")
    assert counts == (4, 4, 0, 0, 0)
    assert [(e["user_id"], e["type"], e["item_id"]) for e in events] == [
        ("1", "product_view", "2268318"),
        ("1", "cart_add", "2333346"),
        ("100", "wishlist_add", "1603476"),
        ("100", "order", "2971043"),
    ]


def test_own_columns_override_a_preset_one_by_one(read):
    events, _ = read("rees46", columns={"brand": "upper(brand)", "category": ""})
    assert events[0]["brand"] == "SHISEIDO"
    assert events[0]["category"] is None
    assert events[0]["unit_price"] == 35.79


def test_columns_of_a_preset_that_a_file_lacks_are_left_out(make_shop):
    """A shop's own export without brand and session; but without users it cannot be read."""
    shop = make_shop({}, preset="rees46")
    shop.write("log.csv", "event_time,event_type,product_id,price,user_id\n2019-10-01 00:00:00 UTC,view,1,2.5,7\n")
    shop.ingest()
    assert shop.events()["unit_price"].to_list() == [2.5]
    shop.write("log2.csv", "event_time,event_type,product_id,price\n2019-10-01 00:00:00 UTC,view,1,2.5\n")
    with pytest.raises(SourceError, match=r"`user_id` \(asked for by user_id\) is not a column of log2.csv"):
        shop.ingest()


def test_an_unknown_preset_gets_the_nearest_name():
    with pytest.raises(ConfigError, match=r"`retail_rocket` is no preset \(did you mean `retailrocket`\?\)"):
        resolve_source(SourceConfig(path="x", preset="retail_rocket"))


def test_a_mapping_hash_changes_with_the_mapping_only():
    one = SourceConfig(path="a.csv", columns={"user_id": "u"})
    same = one.model_copy(update={"path": "b.csv"})
    other = one.model_copy(update={"where": "u > 1"})
    hashes = [resolve_source(s).mapping_hash(ShopConfig()) for s in (one, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert resolve_source(one).mapping_hash(ShopConfig(timezone="Asia/Shanghai")) != hashes[0]
