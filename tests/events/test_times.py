"""Raw times to UTC microseconds, in every writing that shops use."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbtide.core.windows import from_us, to_us
from ebbtide.events.times import microseconds_sql

MOMENT = datetime(2024, 7, 1, 10, 20, 30, tzinfo=UTC)


def read(value: str, sql_type: str, zone: str = "UTC", **options):
    """The moment that SQL `value` of a type means."""
    with duckdb.connect() as connection:
        connection.execute(f"set TimeZone='{zone}'")
        sql = microseconds_sql("x", sql_type, utc=zone == "UTC", **options)
        found = connection.execute(f"select {sql} from (select {value} as x)").fetchall()[0][0]
    return None if found is None else from_us(found)


@pytest.mark.parametrize(
    "text",
    [
        "2024-07-01 10:20:30", "2024-07-01T10:20:30Z", "2024-07-01T12:20:30+02:00", "2024-07-01 10:20:30 UTC",
        "2024/07/01 10:20:30", "2024.07.01 10:20:30", "20240701102030", "20240701T102030", "1719829230",
        "1719829230000", "1719829230000000", "1719829230000000000", "1719829230.0",
        "Mon, 01 Jul 2024 12:20:30 +0200", "1 Jul 2024 10:20:30", "Jul 1, 2024 10:20:30 AM", "2024年7月1日 10:20:30",
        " 2024-07-01 10:20:30 ",
    ],
)  # fmt: skip
def test_texts_with_one_reading_are_read(text):
    assert read(f"'{text}'", "VARCHAR") == MOMENT


@pytest.mark.parametrize(
    "text", ["", "abc", "2024-02-30", "2024-13-01", "10:20", "99999999999999999999", "1/2/2024", "12"]
)
def test_texts_without_a_reading_are_null(text):
    assert read(f"'{text}'", "VARCHAR") is None


@pytest.mark.parametrize(
    ("value", "sql_type"),
    [
        ("1719829230::integer", "INTEGER"),
        ("1719829230", "BIGINT"),
        ("1719829230000", "BIGINT"),
        ("1719829230000000::ubigint", "UBIGINT"),
        ("1719829230000000000", "BIGINT"),
        ("1719829230.0::double", "DOUBLE"),
        ("1719829230::decimal(18, 0)", "DECIMAL(18,0)"),
        ("timestamp '2024-07-01 10:20:30'", "TIMESTAMP"),
        ("timestamptz '2024-07-01 12:20:30+02'", "TIMESTAMP WITH TIME ZONE"),
        ("timestamp_ns '2024-07-01 10:20:30'", "TIMESTAMP_NS"),
        ("timestamp_s '2024-07-01 10:20:30'", "TIMESTAMP_S"),
    ],
)
def test_numbers_and_times_of_every_unit_are_read(value, sql_type):
    assert read(value, sql_type) == MOMENT


def test_whole_numbers_that_are_days_are_days():
    assert read("20240701", "INTEGER") == datetime(2024, 7, 1, tzinfo=UTC)
    assert read("'20240701'", "VARCHAR") == datetime(2024, 7, 1, tzinfo=UTC)


@pytest.mark.parametrize("value", ["date '2024-07-01'", "timestamp '2024-07-01 00:00:00'", "'2024-07-01'", "20240701"])
def test_what_carries_no_zone_is_in_the_shops(value):
    """Midnight in Shanghai is 16:00 UTC of the day before."""
    kinds = {"d": "DATE", "t": "TIMESTAMP", "'": "VARCHAR", "2": "INTEGER"}
    assert read(value, kinds[value[0]], "Asia/Shanghai") == datetime(2024, 6, 30, 16, tzinfo=UTC)


def test_what_carries_a_zone_keeps_it():
    for text in ("2024-07-01T10:20:30Z", "2024-07-01 12:20:30+02", "1719829230"):
        assert read(f"'{text}'", "VARCHAR", "Asia/Shanghai") == MOMENT


def test_hours_that_a_clock_change_skips_or_repeats_have_a_reading():
    """London 2024: 01:30 on 31 March does not exist, 01:30 on 27 October exists twice."""
    assert read("'2024-03-31 01:30:00'", "VARCHAR", "Europe/London") == datetime(2024, 3, 31, 1, 30, tzinfo=UTC)
    assert read("'2024-10-27 01:30:00'", "VARCHAR", "Europe/London") in (
        datetime(2024, 10, 27, 0, 30, tzinfo=UTC),
        datetime(2024, 10, 27, 1, 30, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("text", "order", "expected"),
    [
        ("1/2/2024", "day", (2024, 2, 1)), ("1/2/2024", "month", (2024, 1, 2)), ("1-2-24", "day", (2024, 2, 1)),
        ("01.02.2024", "day", (2024, 2, 1)),
    ],
)  # fmt: skip
def test_unclear_days_follow_the_order_of_the_file(text, order, expected):
    assert read(f"'{text}'", "VARCHAR", order=order) == datetime(*expected, tzinfo=UTC)


def test_a_given_format_is_the_only_one():
    assert read("'2024-07-01'", "VARCHAR", time_format="%d/%m/%Y") is None
    assert read("'01/07/2024 12:20:30 +0200'", "VARCHAR", "Asia/Tokyo", time_format="%d/%m/%Y %H:%M:%S %z") == MOMENT


@given(st.datetimes(datetime(1974, 1, 1), datetime(2100, 1, 1)))
@settings(max_examples=30, deadline=None)
def test_iso_texts_and_epochs_round_trip(moment):
    """Milliseconds of the years before 1974 are as large as seconds of the years after 4970, and are read as such."""
    us = to_us(moment.replace(tzinfo=UTC))
    assert to_us(read(f"'{moment.isoformat()}'", "VARCHAR")) == us
    assert to_us(read(str(us // 1000), "BIGINT")) == us // 1000 * 1000
