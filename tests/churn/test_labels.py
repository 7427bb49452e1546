"""Cohorts and labels: half-open windows, knowledge at the moment, censoring, and one pass equal to many."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.churn.labels import churn_labels, cohort_at, labelled_cohorts
from ebbtide.core.errors import LabelWindowError

Log = Callable[..., pl.DataFrame]
Day = Callable[[float], datetime]

START = datetime(2024, 1, 1, tzinfo=UTC)
MONTH = ChurnDefinition(horizon_days=30, eligible_days=60)


def label(
    events: pl.DataFrame, as_of: datetime, definition: ChurnDefinition, known_until: datetime
) -> dict[str, object]:
    frame = labelled_cohorts(events, [as_of], definition, known_until=known_until)
    return dict(zip(frame["user_id"], frame["churned"], strict=True))


def test_golden_cohort_by_hand(log: Log, day: Day) -> None:
    events = log(
        ("back", 10), ("back", 75),  # eligible at 60 (in (0, 60]), orders in (60, 90]: retained
        ("gone", 60),  # the order on as_of itself makes eligible and is no outcome: churned
        ("early", 0),  # 0 is the excluded end of (0, 60]: not asked about
        ("late", 61),  # first order after as_of: not asked about
        ("viewer", 30, "product_view"),  # another type: not asked about
    )  # fmt: skip
    assert label(events, day(60), MONTH, day(100)) == {"back": False, "gone": True}


def test_outcome_window_excludes_its_start_and_includes_its_end(log: Log, day: Day) -> None:
    second = 1 / 86400
    events = log(("a", 50), ("b", 50), ("b", 90), ("c", 50), ("c", 90 + second), ("d", 60))
    assert label(events, day(60), MONTH, day(100)) == {"a": True, "b": False, "c": True, "d": True}


def test_gap_moves_the_outcome_window(log: Log, day: Day) -> None:
    definition = ChurnDefinition(horizon_days=30, eligible_days=60, gap_days=7)
    events = log(("a", 50), ("a", 67), ("b", 50), ("b", 68), ("c", 50), ("c", 97), ("d", 50), ("d", 98))
    assert label(events, day(60), definition, day(100)) == {"a": True, "b": False, "c": False, "d": True}


def test_what_was_ingested_after_as_of_makes_nobody_eligible(log: Log, day: Day) -> None:
    events = log(("a", 50, "order", 61), ("b", 50, "order", 60))
    assert cohort_at(events, day(60), MONTH)["user_id"].to_list() == ["b"]


def test_an_outcome_counts_from_its_arrival_on(log: Log, day: Day) -> None:
    events = log(("a", 50), ("a", 70, "order", 95))
    assert label(events, day(60), MONTH, day(94)) == {"a": True}
    assert label(events, day(60), MONTH, day(95)) == {"a": False}


def test_a_window_past_the_data_is_null_never_churned(log: Log, day: Day) -> None:
    events = log(("a", 50), ("b", 50), ("b", 70))
    assert label(events, day(60), MONTH, day(89)) == {"a": None, "b": None}
    assert label(events, day(60), MONTH, day(90)) == {"a": True, "b": False}


def test_labels_before_their_moment_are_refused(log: Log, day: Day) -> None:
    with pytest.raises(LabelWindowError, match="as_of <= known_until"):
        labelled_cohorts(log(("a", 1)), [day(60)], MONTH, known_until=day(59))
    with pytest.raises(LabelWindowError, match="as_of <= known_until"):
        churn_labels(log(), log().select("user_id"), as_of=day(60), definition=MONTH, known_until=day(59))


def test_labels_keep_the_order_of_the_cohort_and_take_strangers_as_churned(log: Log, day: Day) -> None:
    cohort = pl.DataFrame({"user_id": ["z", "b", "a"]})
    found = churn_labels(log(("a", 70)), cohort, as_of=day(60), definition=MONTH, known_until=day(90))
    assert found.rows() == [("z", True), ("b", True), ("a", False)]


def test_an_empty_log_has_empty_cohorts(log: Log, day: Day) -> None:
    frame = labelled_cohorts(log(), [day(1), day(2)], MONTH, known_until=day(3))
    time = pl.Datetime("us", "UTC")
    assert frame.schema == {"user_id": pl.String, "as_of": time, "churned": pl.Boolean, "stayed_at": time}
    assert frame.is_empty()
    assert labelled_cohorts(log(("a", 1)), [], MONTH, known_until=day(3)).is_empty()


def test_any_counts_every_type(log: Log, day: Day) -> None:
    anything = ChurnDefinition(outcome=("any",), horizon_days=30, eligible=("any",), eligible_days=60)
    events = log(("a", 50, "search"), ("b", 50), ("b", 70, "support"))
    assert label(events, day(60), anything, day(100)) == {"a": True, "b": False}


rows = st.tuples(
    st.sampled_from(["a", "b", "c", "ü"]),
    st.integers(0, 100),
    st.sampled_from(["order", "refund", "search"]),
    st.integers(0, 20),
)
logs = st.lists(rows, max_size=30)
definitions = st.builds(
    ChurnDefinition,
    outcome=st.sampled_from([("order",), ("order", "refund"), ("any",)]),
    horizon_days=st.integers(1, 30).map(float),
    eligible=st.sampled_from([("order",), ("refund",), ("any",)]),
    eligible_days=st.integers(1, 60).map(float),
    gap_days=st.integers(0, 5).map(float),
)
moments = st.lists(st.integers(0, 100), min_size=1, max_size=6)


def frame_of(found: list[tuple[str, int, str, int]]) -> pl.DataFrame:
    schema = {"user_id": pl.String, "occurred_at": pl.Datetime("us", "UTC"), "type": pl.String, "ingested_at": pl.Datetime("us", "UTC")}  # fmt: skip
    whole = [(u, START + timedelta(days=d), t, START + timedelta(days=d + lag)) for u, d, t, lag in found]
    return pl.DataFrame(whole, schema=schema, orient="row")


def by_definition(
    found: list[tuple[str, int, str, int]], at: list[int], d: ChurnDefinition, until: int
) -> list[tuple[str, datetime, bool | None]]:
    """The definition, read aloud, user by user."""

    def hit(types: tuple[str, ...], type_: str) -> bool:
        return types == ("any",) or type_ in types

    out: list[tuple[str, datetime, bool | None]] = []
    for m in sorted(set(at)):
        for user in sorted({row[0] for row in found}, key=lambda u: u.encode()):
            mine = [row for row in found if row[0] == user]
            if not any(hit(d.eligible, t) and m - d.eligible_days < x <= m and x + lag <= m for _, x, t, lag in mine):
                continue
            start, end = m + d.gap_days, m + d.gap_days + d.horizon_days
            active = any(hit(d.outcome, t) and start < x <= end and x + lag <= until for _, x, t, lag in mine)
            out.append((user, START + timedelta(days=m), None if end > until else not active))
    return out


@given(logs, moments, definitions, st.integers(0, 40))
def test_one_pass_says_what_the_definition_says(
    found: list[tuple[str, int, str, int]], at: list[int], d: ChurnDefinition, ahead: int
) -> None:
    until = max(at) + ahead
    times = [START + timedelta(days=m) for m in at]
    frame = labelled_cohorts(frame_of(found), times, d, known_until=START + timedelta(days=until))
    assert frame.drop("stayed_at").rows() == by_definition(found, at, d, until)


@given(logs, moments, definitions, st.integers(0, 40), st.integers(0, 40))
def test_stayed_at_tells_what_was_said_at_any_earlier_time(
    found: list[tuple[str, int, str, int]], at: list[int], d: ChurnDefinition, ahead: int, later: int
) -> None:
    """Where the window had closed by then, the labels of then are: churned if nothing was known to have been done."""
    then, now = (START + timedelta(days=max(at) + days) for days in (ahead, ahead + later))
    times = [START + timedelta(days=m) for m in at]
    said, whole = (labelled_cohorts(frame_of(found), times, d, known_until=u) for u in (then, now))
    closed = pl.col("as_of") + timedelta(days=d.gap_days + d.horizon_days) <= then
    known_then = whole.filter(closed).select(
        "user_id", "as_of", churned=(pl.col("stayed_at") <= then).not_().fill_null(True)
    )
    assert known_then.equals(said.filter(closed).drop("stayed_at"))
    assert (whole["stayed_at"].is_null() == whole["churned"].fill_null(True)).all()


def test_stayed_at_is_the_first_arrival_of_the_window(log: Log, day: Day) -> None:
    """The order of day 70 arrives on day 95, that of day 80 on day 81; the one of day 62 came before: the earliest counts."""
    events = log(("a", 50), ("a", 70, "order", 95), ("a", 80, "order", 81), ("b", 50), ("b", 62), ("b", 63), ("c", 50))
    frame = labelled_cohorts(events, [day(60)], MONTH, known_until=day(100))
    assert frame["stayed_at"].to_list() == [day(81), day(62), None]
    assert labelled_cohorts(events, [day(60)], MONTH, known_until=day(89))["stayed_at"].to_list() == [None] * 3


@given(logs, moments, definitions, st.integers(0, 40), st.randoms(use_true_random=False))
def test_moment_by_moment_row_order_and_shards_agree(
    found: list[tuple[str, int, str, int]], at: list[int], d: ChurnDefinition, ahead: int, shuffler: object
) -> None:
    until = START + timedelta(days=max(at) + ahead)
    times = [START + timedelta(days=m) for m in at]
    events = frame_of(found)
    whole = labelled_cohorts(events, times, d, known_until=until)
    mixed = list(found)
    shuffler.shuffle(mixed)  # type: ignore[attr-defined]
    assert labelled_cohorts(frame_of(mixed), times, d, known_until=until).equals(whole)
    shards = [events.filter(pl.col("user_id").is_in(users)) for users in (["a", "ü"], ["b", "c"])]
    parts = pl.concat([labelled_cohorts(s, times, d, known_until=until) for s in shards])
    assert parts.sort("as_of", "user_id").equals(whole)
    for moment in sorted(set(times)):
        cohort = cohort_at(events, moment, d)
        labels = churn_labels(events, cohort, as_of=moment, definition=d, known_until=until)
        assert labels.equals(whole.filter(pl.col("as_of") == moment).select("user_id", "churned"))


@given(logs, logs, st.integers(0, 100), definitions)
def test_no_future_event_changes_a_cohort(
    found: list[tuple[str, int, str, int]], more: list[tuple[str, int, str, int]], at: int, d: ChurnDefinition
) -> None:
    moment = START + timedelta(days=at)
    future = [row for row in more if row[1] + row[3] > at]
    before = cohort_at(frame_of(found), moment, d)
    assert cohort_at(frame_of(found + future), moment, d).equals(before)


@given(logs, logs, st.integers(0, 60), definitions, st.integers(1, 30))
def test_more_events_and_longer_horizons_only_retain(
    found: list[tuple[str, int, str, int]],
    more: list[tuple[str, int, str, int]],
    at: int,
    d: ChurnDefinition,
    longer: int,
) -> None:
    moment, until = START + timedelta(days=at), START + timedelta(days=200)
    cohort = cohort_at(frame_of(found), moment, d)

    def churned(rows_: list[tuple[str, int, str, int]], definition: ChurnDefinition) -> set[str]:
        labels = churn_labels(frame_of(rows_), cohort, as_of=moment, definition=definition, known_until=until)
        return set(labels.filter("churned")["user_id"])

    stretched = ChurnDefinition(d.outcome, d.horizon_days + longer, d.eligible, d.eligible_days, d.gap_days)
    assert churned(found + more, d) <= churned(found, d)
    assert churned(found, stretched) <= churned(found, d)


DATA = Path(os.environ.get("EBBTIDE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.mark.skipif(not (DATA / "cdnow").is_dir(), reason="the real logs are not beside the repository")
def test_cdnow_agrees_with_plain_sql() -> None:
    file = DATA / "cdnow" / "transactions.parquet"
    raw = pl.read_parquet(file).select(
        user_id=pl.col("customer_id").cast(pl.String),
        occurred_at=pl.col("date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        type=pl.lit("order"),
    )
    events = raw.with_columns(ingested_at="occurred_at")
    at = datetime(1997, 10, 3, tzinfo=UTC)
    definition = ChurnDefinition(horizon_days=90, eligible_days=180)
    found = labelled_cohorts(events, [at], definition, known_until=datetime(1998, 6, 30, tzinfo=UTC))
    counted = duckdb.execute(
        """select count(*), sum(churned) from (
             select customer_id, (count(*) filter (date > date '1997-10-03' and date <= date '1998-01-01') = 0)::int churned
             from read_parquet(?) group by all
             having count(*) filter (date > date '1997-04-06' and date <= date '1997-10-03') > 0)""",
        [str(file)],
    ).fetchone()
    assert (len(found), found["churned"].sum()) == counted == (7170, 4347)


def test_many_moments_are_labelled_as_each_alone(log: Log, day: Day) -> None:
    events = log(*((user, 3 * i + k) for k, user in enumerate("abc") for i in range(0, 30, 1 + k)))
    at = [day(d) for d in range(100)]
    whole = labelled_cohorts(events, at, MONTH, known_until=day(110))
    parts = [labelled_cohorts(events, [m], MONTH, known_until=day(110)) for m in at]
    assert whole.equals(pl.concat(parts))
    assert whole["as_of"].n_unique() > 64
