"""Ingest: every row is accounted for, the same file twice adds nothing, other files are not affected by a bad one."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import polars as pl
import pytest

from ebbtide.core.errors import InputError, SourceError
from ebbtide.events.lake import Lake, lake_folder
from ebbtide.pipeline.ingest import Counts, ingested, open_quarantine

LOG = """user,time,amount
001,2024-01-02 10:00:00,10.5
002,2024-01-03 11:30:00,20
,2024-01-03 12:00:00,5
001,not a time,7
003,2024-01-05 09:00:00,x
"""


def counts(report) -> tuple[int, int, int, int, int]:
    return tuple(asdict(report.total).values())


def test_every_row_is_accounted_for(make_shop):
    """5 rows: 2 good, 3 refused for a missing user, a bad time and a bad number."""
    shop = make_shop()
    shop.write("log.csv", LOG)
    report = shop.ingest()
    assert counts(report) == (5, 2, 3, 0, 0)
    assert report.reasons["events"] == {"missing_user": 1, "bad_time": 1, "bad_number": 1}
    assert report.to_json()["sources"]["events"]["read"] == 5


def test_the_same_file_twice_adds_nothing(make_shop):
    shop = make_shop()
    shop.write("log.csv", LOG)
    shop.ingest()
    before, print_before = shop.events(), Lake.open(lake_folder(shop.root)).fingerprint()
    assert counts(shop.ingest()) == (5, 0, 3, 0, 2)
    assert shop.events().equals(before)
    assert Lake.open(lake_folder(shop.root)).fingerprint() == print_before


def test_the_same_file_twice_adds_nothing_without_the_ledger(make_shop):
    """The lake, not the ledger, knows which events it holds."""
    shop = make_shop()
    shop.write("log.csv", LOG)
    shop.ingest()
    (shop.root / ".ebbtide" / "ledger.json").unlink()
    assert counts(shop.ingest()) == (5, 0, 3, 0, 2)


def test_the_same_content_under_another_name_adds_nothing(make_shop):
    shop = make_shop()
    shop.write("a.csv", LOG)
    shop.write("b.csv", LOG)
    assert counts(shop.ingest()) == (10, 2, 6, 0, 2)


def test_a_grown_file_adds_only_its_new_rows(make_shop):
    shop = make_shop()
    shop.write("log.csv", LOG)
    shop.ingest()
    shop.write("log.csv", LOG + "004,2024-01-06 10:00:00,3\n001,2024-01-02 10:00:00,10.5\n")
    assert counts(shop.ingest()) == (7, 2, 3, 0, 2)


def test_two_equal_clicks_of_one_file_stay_two(make_shop):
    shop = make_shop()
    shop.write("log.csv", "user,time,amount\n" + "a,2024-01-01 10:00:00,1\n" * 3)
    assert counts(shop.ingest()) == (3, 3, 0, 0, 0)
    assert shop.events()["event_id"].n_unique() == 3


def test_exact_duplicates_are_dropped_when_the_source_says_so(make_shop):
    """Rows 1 and 2 are copies; row 3 has the same key but another amount, so it is an event of its own."""
    shop = make_shop(drop_exact_duplicates=True)
    rows = ["a,2024-01-01 10:00:00,1", "a,2024-01-01 10:00:00,1", "a,2024-01-01 10:00:00,2"]
    shop.write("log.csv", "user,time,amount\n" + "\n".join(rows) + "\n")
    assert counts(shop.ingest()) == (3, 2, 0, 0, 1)
    assert sorted(shop.events()["value"]) == [1, 2]


def test_where_filters_before_validation(make_shop):
    shop = make_shop(where="user is not null")
    shop.write("log.csv", LOG)
    report = shop.ingest()
    assert counts(report) == (5, 2, 2, 1, 0)
    assert "missing_user" not in report.reasons["events"]


def test_content_does_not_depend_on_buckets_or_the_order_of_files(make_shop):
    """The same rows, cut into files differently and spread over 1 or 7 buckets, make the same events."""
    rows = [f"u{i % 13},2024-01-{i % 28 + 1:02d} 10:{i % 60:02d}:00,{i}" for i in range(200)]
    head = "user,time,amount\n"
    whole = make_shop(lake={"buckets": 1})
    whole.write("all.csv", head + "\n".join(rows) + "\n")
    whole.ingest()
    parts = make_shop(lake={"buckets": 7})
    for number, start in enumerate((150, 100, 50, 0)):
        parts.write(f"{number}.csv", head + "\n".join(rows[start : start + 50]) + "\n")
    parts.ingest()
    assert whole.events().equals(parts.events())
    one, other = (Lake.open(lake_folder(s.root)) for s in (whole, parts))
    assert (one.bucket_count, other.bucket_count) == (1, 7)
    assert one.fingerprint() == other.fingerprint()


def test_an_ingest_at_once_equals_one_in_steps(make_shop):
    rows = [f"u{i % 5},2024-01-{i + 1:02d},{i}" for i in range(16)]
    at_once, stepwise = make_shop(lake={"buckets": 3}), make_shop(lake={"buckets": 3})
    for number, row in enumerate(rows):
        text = f"user,time,amount\n{row}\n"
        at_once.write(f"{number:02d}.csv", text)
        file = stepwise.write(f"{number:02d}.csv", text)
        stepwise.ingest(file)
    at_once.ingest()
    assert at_once.events().equals(stepwise.events())
    lakes = [Lake.open(lake_folder(s.root)) for s in (at_once, stepwise)]
    assert lakes[0].fingerprint() == lakes[1].fingerprint()
    assert all(len(lakes[1].files(b)) < 12 for b in lakes[1].buckets()), "small files are joined"


def test_events_are_sorted_by_user_time_and_id(make_shop):
    shop = make_shop(lake={"buckets": 2})
    shop.write("1.csv", "user,time,amount\n" + "".join(f"u{i % 7},2024-01-{28 - i % 28:02d},1\n" for i in range(90)))
    shop.ingest()
    shop.write("2.csv", "user,time,amount\n" + "".join(f"u{i % 7},2024-02-{28 - i % 28:02d},1\n" for i in range(90)))
    shop.ingest()
    lake = Lake.open(lake_folder(shop.root))
    for bucket in lake.buckets():
        frame = lake.read_bucket(bucket)
        assert frame.equals(frame.sort("user_id", "occurred_at", "event_id"))
        assert lake.read_bucket(bucket, ["value", "type"]).equals(frame.select("value", "type"))
    assert lake.read_user("u3").equals(shop.events().filter(pl.col("user_id") == "u3"))
    assert lake.read_user("nobody").is_empty()


def test_a_bad_file_does_not_hinder_the_others(make_shop):
    shop = make_shop()
    shop.write("a.csv", LOG)
    shop.write("b.csv", "")
    shop.write("c.csv", "user,time,amount\n")
    shop.write("d.csv", "user,time,amount\n009,2024-02-01,1\n")
    with pytest.raises(
        SourceError, match=r"2 files could not be read.*3 rows accepted(.|\n)*b.csv is empty(.|\n)*c.csv"
    ):
        shop.ingest()
    assert shop.events().height == 3
    assert ingested(shop.root).total == Counts(6, 3, 3, 0, 0)


def test_missing_files_and_folders_get_clear_errors(make_shop):
    shop = make_shop(path="nothing-*.csv")
    with pytest.raises(SourceError, match=r"no file matches nothing-\*\.csv"):
        shop.ingest()
    (shop.root / "data").mkdir()
    with pytest.raises(SourceError, match=r"data is a folder: name its files, for example .*data/\*\.parquet"):
        shop.ingest(shop.root / "data")
    with pytest.raises(SourceError, match="there is no file"):
        shop.ingest(shop.root / "absent.csv")


def test_an_unknown_source_gets_the_nearest_name(make_shop):
    shop = make_shop(name="orders")
    with pytest.raises(InputError, match=r"no source `order`; the sources are orders \(did you mean `orders`\?\)"):
        shop.ingest(source="order")


def test_files_need_a_source_where_there_are_several(make_shop):
    columns = {"user_id": "user", "occurred_at": "time", "type": "'order'"}
    sources = [{"path": "a*.csv", "columns": columns, "name": n} for n in ("one", "two")]
    shop = make_shop(sources=sources)
    file = shop.write("log.csv", LOG)
    with pytest.raises(InputError, match=r"--source NAME"):
        shop.ingest(file)
    assert counts(shop.ingest(file, source="two"))[1] == 3


def test_a_changed_mapping_is_told_and_a_new_lake_applies_it(make_shop):
    shop = make_shop()
    shop.write("log.csv", LOG)
    shop.ingest()
    columns = {**shop.config.source[0].columns, "value": "amount::double * 2"}
    shop.config = shop.config.model_copy(
        update={"source": [shop.config.source[0].model_copy(update={"columns": columns})]}
    )
    report = shop.ingest()
    assert counts(report) == (5, 0, 3, 0, 2)
    assert "the mapping of events has changed" in report.notes[0].en
    assert counts(shop.ingest(rebuild=True)) == (5, 2, 3, 0, 0)
    assert shop.events()["value"].to_list() == [21.0, 40.0]
    assert not shop.ingest().notes


def test_times_are_stored_in_utc(make_shop):
    """10:00 in London is 10:00 UTC in January and 09:00 UTC in July."""
    shop = make_shop(shop={"timezone": "Europe/London", "arrival_lag": "2h"})
    shop.write(
        "log.csv", "user,time,amount\na,2024-01-02 10:00,1\na,2023-07-02 10:00,1\nb,2024-01-02T10:00:00+05:00,1\n"
    )
    shop.ingest()
    found = shop.events()["occurred_at"].to_list()
    assert found == [
        datetime(2023, 7, 2, 9, tzinfo=UTC),
        datetime(2024, 1, 2, 10, tzinfo=UTC),
        datetime(2024, 1, 2, 5, tzinfo=UTC),
    ]
    lag = shop.events().select((pl.col("ingested_at") - pl.col("occurred_at")).dt.total_hours()).to_series()
    assert lag.to_list() == [2, 2, 2]


def test_ids_keep_their_text_and_other_tongues(make_shop):
    shop = make_shop({"user_id": "user", "occurred_at": "time", "type": "'order'", "item_id": "item", "text": "note"})
    shop.write(
        "log.csv",
        'user,time,item,note\n00123,2024-01-01,0007,"first\nsecond"\n18446744073709551615,2024-01-01,张三,🛒 喜欢\n',
    )
    shop.ingest()
    found = shop.events()
    assert found["user_id"].to_list() == ["00123", "18446744073709551615"]
    assert found["item_id"].to_list() == ["0007", "张三"]
    assert found["text"].to_list() == ["first\nsecond", "🛒 喜欢"]


def test_parquet_and_csv_of_the_same_shop_give_the_same_events(make_shop, tmp_path):
    """Whole numbers, floats that lost their integers to a null, text ids: the same users either way."""
    frame = pl.DataFrame(
        {
            "user": pl.Series([17850, 13047, None, 17850], dtype=pl.Float64),
            "time": [datetime(2024, 1, d) for d in (1, 2, 3, 4)],
            "amount": [1.5, 2.0, 3.0, -4.0],
            "big": pl.Series([2**64 - 1, 2**63, 5, 6], dtype=pl.UInt64),
        }
    )
    columns = {"user_id": "user", "occurred_at": "time", "value": "amount", "item_id": "big"}
    columns["type"] = "case when amount < 0 then 'refund' else 'order' end"
    shops = [make_shop(columns, path=f"log.{kind}") for kind in ("parquet", "csv")]
    frame.write_parquet(shops[0].root / "log.parquet")
    frame.write_csv(shops[1].root / "log.csv")
    for shop in shops:
        assert counts(shop.ingest()) == (4, 3, 1, 0, 0)
    assert shops[0].events().equals(shops[1].events())
    assert shops[0].events()["user_id"].to_list() == ["13047", "17850", "17850"]
    assert "18446744073709551615" in shops[0].events()["item_id"].to_list()


def test_unknown_types_become_custom_and_keep_their_name(make_shop):
    columns = {"user_id": "user", "occurred_at": "time", "type": "kind", "properties": "more"}
    shop = make_shop(columns)
    shop.write("log.csv", 'user,time,kind,more\na,2024-01-01,Order,\na,2024-01-02,spin_wheel,"{""prize"": 3}"\n')
    shop.ingest()
    found = shop.events()
    assert found["type"].to_list() == ["order", "custom"]
    assert found["properties"].to_list() == [None, '{"prize":3,"raw_type":"spin_wheel"}']


def test_given_event_ids_dedupe_across_files_and_conflicts_are_refused(make_shop):
    """e1 comes twice (the same event); e2 comes again for another user: that is no duplicate, and is not lost."""
    columns = {"user_id": "user", "occurred_at": "time", "type": "'order'", "event_id": "id"}
    shop = make_shop(columns, lake={"buckets": 1})
    shop.write("1.csv", "id,user,time\ne1,a,2024-01-01\ne2,a,2024-01-02\n")
    shop.ingest()
    shop.write("2.csv", "id,user,time\ne1,a,2024-01-01\ne2,b,2024-01-02\ne3,b,2024-01-02\n")
    report = shop.ingest()
    assert counts(report) == (5, 1, 1, 0, 3)
    assert report.reasons["events"] == {"conflicting_id": 1}
    entry = open_quarantine(shop.root).read().row(0, named=True)
    assert (entry["row_number"], entry["raw"]) == (2, '{"id":"e2","user":"b","time":"2024-01-02"}')


def test_progress_is_reported(make_shop):
    shop = make_shop()
    shop.write("log.csv", LOG)
    heard = []
    shop.ingest(progress=lambda stage, done, total: heard.append((stage.en, done, total)))
    assert any("reading log.csv: 5 rows" in stage for stage, _, _ in heard)
    assert all(0 <= done <= total or total == 0 for _, done, total in heard)
