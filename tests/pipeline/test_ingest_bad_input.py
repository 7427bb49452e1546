"""Bad input gets a clear error or a quarantine entry, and loses nothing."""

from __future__ import annotations

import gzip
import resource
import subprocess
import sys
import time
from dataclasses import asdict

import polars as pl
import pyarrow as pa
import pytest

from ebbtide.core.errors import RetryError, SourceError
from ebbtide.events.validate import Reason
from ebbtide.pipeline.ingest import open_quarantine

HEAD = "user,time,amount\n"
GOOD = HEAD + "a,2024-01-01,1\nb,2024-01-02,2\n"


def counts(report) -> tuple[int, ...]:
    return tuple(asdict(report.total).values())


def refused(shop) -> list[tuple[int, str]]:
    return list(open_quarantine(shop.root).read().select("row_number", "reason").iter_rows())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "log.csv is empty"),
        ("\n \n", "log.csv is empty"),
        (HEAD, "header line and no rows"),
        ("user;time;amount\na;2024-01-01;1\n", "one column with the delimiter ',', but 3 with ';': set `delimiter`"),
        ("a" * 100, "header line and no rows"),
        (b"\xff\xfeu\x00", "header line and no rows"),
        ("user,time,amount\rx,2024-01-01,1\r", "line ends of the old Mac"),
        ("user,time,amount\nJosé,2024-01-01,1\n".encode("latin-1") * 3, "not encoded in UTF-8: set `encoding`"),
        ("user,time,amount\n张三,2024-01-01,1\n".encode("gb18030"), "not encoded in UTF-8: set `encoding`"),
    ],
)
def test_a_file_that_is_no_log_gets_a_clear_error(make_shop, content, message):
    shop = make_shop(
        **({"delimiter": ","} if b";" in (content if isinstance(content, bytes) else content.encode()) else {})
    )
    shop.write("log.csv", content)
    with pytest.raises(SourceError, match=message):
        shop.ingest()
    assert shop.events().is_empty()


@pytest.mark.parametrize(
    ("encoding", "setting"), [("utf-8-sig", ""), ("utf-16", ""), ("gb18030", "gb18030"), ("big5", "big5")]
)
def test_other_encodings_are_read_when_they_are_told(make_shop, encoding, setting):
    shop = make_shop(encoding=setting)
    shop.write("log.csv", (HEAD + "張三,2024-01-01,1\n").encode(encoding))
    assert counts(shop.ingest()) == (1, 1, 0, 0, 0)
    assert shop.events()["user_id"].to_list() == ["張三"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_found(make_shop, delimiter):
    shop = make_shop(decimal="," if delimiter != "," else ".")
    number = "1.234,5" if delimiter != "," else '"1,234.5"'
    shop.write(
        "log.csv",
        delimiter.join(["user", "time", "amount"]) + "\n" + delimiter.join(["a", "2024-01-01", number]) + "\n",
    )
    shop.ingest()
    assert shop.events()["value"].to_list() == [1234.5]


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_compressed_files_are_read_and_truncated_ones_refused(make_shop, suffix):
    shop = make_shop(path=f"*.csv.{suffix}")
    body = (HEAD + "".join(f"u{i},2024-01-01 10:{i % 60:02d}:00,{i}\n" for i in range(5000))).encode()
    packed = gzip.compress(body) if suffix == "gz" else pa.compress(body, codec="zstd", asbytes=True)
    shop.write(f"whole.csv.{suffix}", packed)
    shop.write(f"torn.csv.{suffix}", packed[: len(packed) // 2])
    with pytest.raises(SourceError, match=r"torn.csv.* is truncated or damaged"):
        shop.ingest()
    assert shop.events().height == 5000


def test_a_gzip_with_a_flipped_bit_is_refused_whole(make_shop):
    """DuckDB alone would read on and lose rows."""
    shop = make_shop(path="*.gz")
    packed = bytearray(gzip.compress((HEAD + "".join(f"u{i},2024-01-01,{i}\n" for i in range(5000))).encode()))
    packed[len(packed) // 2] ^= 0xFF
    shop.write("log.csv.gz", bytes(packed))
    with pytest.raises(SourceError, match="truncated or damaged"):
        shop.ingest()
    assert shop.events().is_empty()


def test_a_truncated_parquet_is_refused_whole(make_shop):
    shop = make_shop(path="*.parquet")
    frame = pl.DataFrame(
        {"user": [f"u{i}" for i in range(50_000)], "time": ["2024-01-01"] * 50_000, "amount": [1.0] * 50_000}
    )
    frame.write_parquet(shop.root / "whole.parquet", row_group_size=10_000, compression="snappy")
    content = (shop.root / "whole.parquet").read_bytes()
    shop.write("torn.parquet", content[: len(content) // 2])
    broken = bytearray(content)
    broken[len(broken) // 2 : len(broken) // 2 + 300] = b"\xff" * 300
    shop.write("zdamaged.parquet", bytes(broken))
    with pytest.raises(SourceError, match=r"2 files could not be read(.|\n)*no whole Parquet file"):
        shop.ingest()
    assert shop.events().height == 50_000


def test_a_column_that_the_file_lacks_is_named_with_the_nearest(make_shop):
    columns = {"user_id": "CustomerID", "occurred_at": "time", "type": "'order'", "valeu": "amount", "item_id": "nix +"}
    shop = make_shop(columns)
    shop.write("log.csv", "Customer ID,time,amount\na,2024-01-01,1\n")
    with pytest.raises(SourceError) as caught:
        shop.ingest()
    text = str(caught.value)
    assert "`CustomerID` (asked for by user_id) is not a column of log.csv" in text
    assert "its columns are Customer ID, time, amount; did you mean `Customer ID`?" in text
    assert "`valeu` is no canonical column of events (did you mean `value`?)" in text
    assert "the SQL of `item_id` is not valid" in text
    assert "Customer ID" in caught.value.text.zh


def test_broken_lines_go_to_the_quarantine_with_their_number(make_shop):
    """Row 2 has two cells, row 4 four, row 5 opens a quote that never closes; the others are read."""
    shop = make_shop()
    shop.write(
        "log.csv",
        HEAD + 'a,2024-01-01,1\nb,2024\nc,2024-01-03,3\nd,2024-01-04,4,5\ne,"2024-01-05,6\nf,2024-01-06,7\ng,x,8\n',
    )
    assert counts(shop.ingest()) == (7, 3, 4, 0, 0)
    assert refused(shop) == [(2, "bad_row"), (4, "bad_row"), (5, "bad_row"), (7, "bad_time")]
    raw = open_quarantine(shop.root).read()["raw"].to_list()
    assert raw[0] == '{"_line":"b,2024"}'
    assert raw[3] == '{"user":"g","time":"x","amount":"8"}'


def test_mixed_time_formats_are_read_row_by_row(make_shop):
    shop = make_shop()
    times = [
        "2024-01-02 03:04:05", "2024/01/02 03:04:05", "20240102030405", "2024-01-02T03:04:05Z",
        "1704164645", "1704164645000", "1704164645000000", "1704164645000000000",
        "Tue, 02 Jan 2024 03:04:05 +0000", "2024年1月2日 03:04:05", "2 Jan 2024 03:04:05", "Jan 2, 2024 3:04:05 AM",
        "2024-01-02 04:04:05+01:00", "2024-01-02 03:04:05 UTC",
    ]  # fmt: skip
    shop.write("log.csv", HEAD + "".join(f'u{i:02d},"{t}",1\n' for i, t in enumerate(times)))
    assert counts(shop.ingest())[:3] == (len(times), len(times), 0)
    assert shop.events()["occurred_at"].n_unique() == 1


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["01/02/2024", "13/02/2024"], "2024-02-01"),
        (["01/02/2024", "02/13/2024"], "2024-01-02"),
        (["01/02/2024 3:04 PM", "13/02/2024 4:05 PM"], "2024-02-01"),
        (["1/2/24", "13/2/24"], "2024-02-01"),
        (["01.02.2024", "02.03.2024"], "2024-02-01"),
        (["02/02/2024", "03/03/2024"], "2024-02-02"),
    ],
)
def test_day_and_month_are_told_apart_by_the_whole_file(make_shop, times, expected):
    shop = make_shop()
    shop.write("log.csv", HEAD + "".join(f"u{i},{t},1\n" for i, t in enumerate(times)))
    shop.ingest()
    assert str(shop.events()["occurred_at"].to_list()[0].date()) == expected


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["01/02/2024", "03/04/2024"], "tells whether the day or the month stands first: set `time_format`"),
        (["13/02/2024", "02/13/2024"], "some times of occurred_at have the day first and others the month"),
    ],
)
def test_day_and_month_that_cannot_be_told_apart_are_an_error(make_shop, times, message):
    shop = make_shop()
    shop.write("log.csv", HEAD + "".join(f"u{i},{t},1\n" for i, t in enumerate(times)))
    with pytest.raises(SourceError, match=message):
        shop.ingest()


def test_a_given_time_format_decides(make_shop):
    shop = make_shop(time_format="%m/%d/%Y")
    shop.write("log.csv", HEAD + "a,01/02/2024,1\nb,13/02/2024,1\n")
    assert counts(shop.ingest()) == (2, 1, 1, 0, 0)
    assert str(shop.events()["occurred_at"][0].date()) == "2024-01-02"


def test_unclear_times_that_begin_late_in_a_file_are_found(make_shop):
    shop = make_shop()
    plain = "".join(f"u{i},2024-01-01 10:00:{i % 60:02d},1\n" for i in range(25_000))
    shop.write("log.csv", HEAD + plain + "z,13/02/2024,1\nz,01/02/2024,1\n")
    assert counts(shop.ingest())[1] == 25_002


def test_impossible_times_are_refused(make_shop):
    """The clock stands at 2024-06-01: 2 June is tolerated (a zone's worth), 3 June is the future."""
    shop = make_shop()
    times = ["1970-01-01", "0", "1900-01-01", "2024-06-01 23:59:59", "2024-06-03", "2054-01-01", ""]
    shop.write("log.csv", HEAD + "".join(f"u{i},{t},1\n" for i, t in enumerate(times)))
    shop.ingest()
    assert refused(shop) == [
        (1, "default_time"),
        (2, "default_time"),
        (3, "default_time"),
        (5, "future_time"),
        (6, "future_time"),
        (7, "missing_time"),
    ]


def test_numbers_that_are_none_and_negative_prices_are_refused(make_shop):
    columns = {
        "user_id": "u",
        "occurred_at": "t",
        "type": "'order'",
        "quantity": "q",
        "unit_price": "p",
        "value": "q * p",
    }
    shop = make_shop(columns)
    rows = ["2,1.5", "-2,1.5", "x,1.5", "2,-1", "2,inf", ",1.5", "2,n/a"]
    shop.write("log.csv", "u,t,q,p\n" + "".join(f"u{i},2024-01-01,{r}\n" for i, r in enumerate(rows)))
    shop.ingest()
    assert refused(shop) == [(3, "bad_number"), (4, "negative_price"), (5, "bad_number"), (7, "bad_number")]
    assert shop.events()["value"].to_list() == [3.0, -3.0, None]


def test_two_currencies_are_never_added_up(make_shop):
    columns = {"user_id": "u", "occurred_at": "t", "type": "'order'", "value": "v", "currency": "c"}
    rows = "u,t,v,c\na,2024-01-01,1,GBP\nb,2024-01-01,2,eur\nc,2024-01-01,3,\n"
    known = make_shop(columns, shop={"currency": "gbp"})
    known.write("log.csv", rows)
    known.ingest()
    assert refused(known) == [(2, "unknown_currency")]
    assert known.events()["currency"].to_list() == ["GBP", None]
    unknown = make_shop(columns)
    unknown.write("log.csv", rows)
    with pytest.raises(SourceError, match=r"2 currencies \(EUR, GBP\): set `shop.currency`"):
        unknown.ingest()
    later = make_shop(columns)
    later.write("1.csv", "u,t,v,c\na,2024-01-01,1,GBP\n")
    later.ingest()
    later.write("2.csv", "u,t,v,c\na,2024-01-01,1,USD\n")
    with pytest.raises(SourceError, match=r"2.csv: amounts are in 2 currencies"):
        later.ingest()


def test_ids_that_are_too_long_are_refused(make_shop):
    shop = make_shop()
    shop.write("log.csv", HEAD + f"{'x' * 257},2024-01-01,1\n{'y' * 256},2024-01-01,1\n")
    shop.ingest()
    assert refused(shop) == [(1, "too_long")]


def test_a_value_of_another_type_than_its_column_is_refused(make_shop):
    """The codes are numbers, so `kind = 0` compares numbers; a stray text must not fall into `else`."""
    columns = {
        "user_id": "user",
        "occurred_at": "time",
        "type": "case kind when 0 then 'product_view' else 'order' end",
    }
    shop = make_shop(columns)
    rows = "".join(f"u,2024-01-01 10:00,{i % 2}\n" for i in range(30_000))
    shop.write("log.csv", "user,time,kind\n" + rows + "u,2024-01-01 10:00,zero\n")
    shop.ingest()
    assert refused(shop) == [(30_001, "bad_value")]
    assert dict(shop.events()["type"].value_counts().iter_rows()) == {"order": 15_000, "product_view": 15_000}


def test_a_code_that_appears_late_is_still_text(make_shop):
    """The first 30,000 invoices are digits only; `like 'C%'` must see the letter of the last one."""
    columns = {
        "user_id": "u",
        "occurred_at": "t",
        "order_id": "inv",
        "type": "case when inv like 'C%' then 'refund' else 'order' end",
    }
    shop = make_shop(columns)
    rows = "".join(f"u,2024-01-01,{536365 + i}\n" for i in range(30_000))
    shop.write("log.csv", "u,t,inv\n" + rows + "u,2024-01-02,C536365\n")
    assert counts(shop.ingest())[1] == 30_001
    assert shop.events().filter(pl.col("type") == "refund")["order_id"].to_list() == ["C536365"]


def test_bad_json_lines_are_refused_and_the_rest_read(make_shop):
    shop = make_shop(path="*.jsonl")
    lines = ['{"user": "001", "time": "2024-01-01T10:00:00Z", "amount": 1.5}', '{"user": ', "[1, 2]", "",
             '{"user": 18446744073709551615, "time": 1704067200, "amount": "2", "extra": {"a": [1]}}', '{"time": null}']  # fmt: skip
    shop.write("log.jsonl", "\n".join(lines) + "\n")
    assert counts(shop.ingest()) == (5, 2, 3, 0, 0)
    assert refused(shop) == [(2, "bad_json"), (3, "bad_json"), (5, "missing_user")]
    assert shop.events()["user_id"].to_list() == ["001", "18446744073709551615"]


def test_a_json_array_gets_a_hint(make_shop):
    shop = make_shop(path="*.json")
    shop.write("log.json", '[{"user": 1}]')
    with pytest.raises(SourceError, match="one JSON array: write one object a line"):
        shop.ingest()


def test_a_huge_single_line_is_refused_quickly_in_little_memory(make_shop):
    """200 MB without a line end: the error comes after the first block."""
    shop = make_shop()
    with (shop.root / "log.csv").open("wb") as file:
        file.write(HEAD.encode())
        for _ in range(200):
            file.write(b"x" * 1_000_000)
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(SourceError, match=r"log.csv has a line of more than 4,000,000 bytes"):
        shop.ingest()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "kilobytes"
    assert time.process_time() - start < 20


def test_excel_files_get_a_hint(make_shop):
    shop = make_shop(path="*.xlsx")
    shop.write("log.xlsx", b"PK\x03\x04")
    with pytest.raises(SourceError, match=r"\.xlsx is not read; export it as CSV"):
        shop.ingest()


FULL_DISK = """
import resource, sys
from pathlib import Path
from ebbtide.core.config import parse_config
from ebbtide.core.errors import RetryError
from ebbtide.pipeline.ingest import ingest
root = Path(sys.argv[1])
columns = {"user_id": "user", "occurred_at": "time", "type": "'order'", "value": "amount"}
config = parse_config({"source": [{"path": "*.csv", "columns": columns}], "lake": {"buckets": 1}})
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    ingest(config, root)
except RetryError as fault:
    print(fault)
    sys.exit(4)
"""


@pytest.mark.parametrize("limit", [20_000, 300_000])
def test_a_full_disk_leaves_the_lake_whole(make_shop, limit):
    """No file may grow beyond the limit: the same errors as on a full disk, without root rights."""
    shop = make_shop(lake={"buckets": 1})
    shop.write("1.csv", GOOD)
    shop.ingest()
    shop.write("2.csv", HEAD + "".join(f"user-{i * 7919},2024-01-01 10:{i % 60:02d}:00,{i}\n" for i in range(60_000)))
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(shop.root), str(limit)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 4, done.stderr[-2000:]
    assert "the disk is full: make room and run the same command again" in done.stdout
    assert shop.events().height == 2
    assert counts(shop.ingest()) == (60_002, 60_000, 0, 0, 2)


def test_one_writer_at_a_time(make_shop):
    shop = make_shop()
    shop.write("log.csv", GOOD)

    def again(stage, done, total):
        with pytest.raises(RetryError, match="another `ebbtide` is writing"):
            shop.ingest()

    shop.ingest(progress=again)


def test_every_reason_has_its_words():
    for reason in Reason:
        assert reason.text.en
        assert reason.text.zh
