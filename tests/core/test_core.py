"""Windows, ids, texts and the error tree."""

from __future__ import annotations

import string
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbtide.core import errors
from ebbtide.core.errors import ConfigError, EbbtideError, InputError, MissingExtraError
from ebbtide.core.ids import buckets_of, hash_texts, sampled_users
from ebbtide.core.language import LANGUAGES, Text, join_texts
from ebbtide.core.windows import DAY_US, Window, as_utc, from_us, parse_duration, parse_moment, to_us


@given(st.integers(-(10**15), 10**15), st.integers(1, 10**12))
def test_adjacent_windows_partition_time(start: int, length: int) -> None:
    first, second = Window(start, start + length), Window(start + length, start + 2 * length)
    for moment in (start, start + 1, start + length, start + length + 1, start + 2 * length):
        assert (moment in first) + (moment in second) == (start < moment <= start + 2 * length)


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_microseconds_and_moments_are_inverse(moment: datetime) -> None:
    assert from_us(to_us(moment)) == moment


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("30d", 30 * DAY_US),
        ("2w", 14 * DAY_US),
        ("12h", DAY_US // 2),
        ("90m", DAY_US // 16),
        ("0s", 0),
        ("1.5d", 3 * DAY_US // 2),
    ],
)
def test_durations(text: str, span: int) -> None:
    assert parse_duration(text) == timedelta(microseconds=span)


@pytest.mark.parametrize("text", ["", "30", "d", "-3d", "3 y", "3d4h", "１d x"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError, match="write a number and ms, s, m, h, d or w"):
        parse_duration(text)


def test_a_bare_date_is_its_midnight_and_a_zone_is_respected() -> None:
    assert parse_moment("2024-05-01") == datetime(2024, 5, 1, tzinfo=UTC)
    assert parse_moment("2024-05-01T02:00:00+02:00") == datetime(2024, 5, 1, tzinfo=UTC)
    assert as_utc(date(2024, 5, 1)) == datetime(2024, 5, 1, tzinfo=UTC)
    assert as_utc(datetime(2024, 5, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == datetime(2024, 5, 1, tzinfo=UTC)


def test_what_is_no_moment_is_refused() -> None:
    with pytest.raises(InputError, match="is not a moment"):
        parse_moment("yesterday")


def test_the_hash_never_changes() -> None:
    """These numbers decide where users lie in every lake that exists: a change here is a break of format."""
    known = hash_texts(pl.Series(["", "a", "顾客", "0017850"])).tolist()
    assert known == [17280346270528514342, 9413272369427828315, 118225604427108034, 12263809738196067273]


@given(st.lists(st.text(string.printable, max_size=12), min_size=1, max_size=30))
def test_a_hash_depends_on_the_text_alone(texts: list[str]) -> None:
    together = hash_texts(pl.Series(texts))
    alone = [int(hash_texts(pl.Series([t]))[0]) for t in texts]
    assert together.tolist() == alone
    assert hash_texts(pl.Series(texts).slice(1)).tolist() == alone[1:]


def test_users_spread_evenly_over_buckets_and_samples() -> None:
    users = pl.Series([f"user-{i}" for i in range(50_000)])
    counts = np.bincount(buckets_of(users, 16), minlength=16)
    # 3,125 a bucket expected, standard deviation about 54: five of them
    assert abs(counts - 3125).max() < 270
    share = sampled_users(users, 0.2, seed=1).mean()
    assert abs(share - 0.2) < 0.01
    assert sampled_users(users, 1.0, seed=1).all()


def test_a_larger_sample_contains_the_smaller() -> None:
    users = pl.Series([str(i) for i in range(2_000)])
    small, large = sampled_users(users, 0.1, seed=3), sampled_users(users, 0.3, seed=3)
    assert (large | ~small).all()


def test_texts_fill_their_fields_in_each_language() -> None:
    inner = Text("two users", "两位用户")
    text = Text("found {what}", "找到{what}").format(what=inner)
    assert [text[language] for language in LANGUAGES] == ["found two users", "找到两位用户"]
    assert join_texts([inner, inner]).zh == "两位用户；两位用户"


def tree(root: type[EbbtideError] = EbbtideError) -> list[type[EbbtideError]]:
    return [root, *(e for child in root.__subclasses__() for e in tree(child))]


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    for error in tree():
        assert error.__name__ in errors.__doc__
        assert error.__doc__
    assert len({e.code for e in tree()}) == len(tree())


def test_every_branch_has_its_exit_code() -> None:
    codes = {e.__name__: e.exit_code for e in EbbtideError.__subclasses__()}
    assert codes == {
        "InputError": 2,
        "ConfigError": 2,
        "DataError": 3,
        "MissingError": 4,
        "RetryError": 4,
        "DefectError": 1,
    }


def test_messages_speak_both_languages() -> None:
    error = MissingExtraError("sql", Text("Reading a database", "读取数据库"))
    assert str(error) == "Reading a database needs an extra that is not installed: run `pip install 'ebbtide[sql]'`"
    assert error.text.zh.startswith("读取数据库需要")
    assert str(ConfigError([Text("a {b}", "甲 {b}")])) == "the configuration has 1 problem:\n  - a {b}"
