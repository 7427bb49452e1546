"""The sufficiency gate: each rule by itself, the counts found, the nearest definition that passes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.churn.sufficiency import Sufficiency, judge_sufficiency, needed_history_us
from ebbtide.core.errors import SufficiencyError
from ebbtide.core.windows import DAY_US, parse_moment

START = datetime(2024, 1, 1, tzinfo=UTC)
MONTH = ChurnDefinition(horizon_days=30, eligible_days=60)
Judge = Callable[..., Sufficiency]


def shop(loyal: int, leaving: int, days: int = 180, every: int = 10) -> pl.DataFrame:
    """Loyal users order every few days to the end, leaving ones stop half way."""
    rows = [
        (f"{kind}{i}", START + timedelta(days=d))
        for kind, count, end in (("l", loyal, days), ("x", leaving, days // 2))
        for i in range(count)
        for d in range(0, end + 1, every)
    ]
    frame = pl.DataFrame(rows, schema={"user_id": pl.String, "occurred_at": pl.Datetime("us", "UTC")}, orient="row")
    return frame.with_columns(ingested_at="occurred_at", type=pl.lit("order"))


def judge(events: pl.DataFrame, definition: ChurnDefinition = MONTH, days: float = 180) -> Sufficiency:
    return judge_sufficiency(lambda: [events], definition, until=START + timedelta(days=days))


def test_a_hundred_of_each_passes_with_a_warning() -> None:
    verdict = judge(shop(100, 100))
    assert (verdict.level, verdict.failed, verdict.nearest) == ("warn", (), None)
    assert (verdict.counts.churned, verdict.counts.retained) == (100, 200)
    assert "100 users churned and 200 were retained at 5 past moments" in verdict.text.en
    assert "1,000 of each are recommended" in verdict.text.en
    verdict.check()


def test_a_thousand_of_each_is_enough() -> None:
    verdict = judge(shop(1000, 1000, every=25))
    assert verdict.level == "ok"
    assert verdict.text.en.startswith("enough data: 1,000 users churned")


def test_99_churned_users_fail_and_are_named() -> None:
    verdict = judge(shop(200, 99))
    assert verdict.failed == ("churned",)
    assert "too few churned users: 99 at 5 past moments, at least 100 are needed" in verdict.text.en
    with pytest.raises(SufficiencyError, match="too few churned users: 99"):
        verdict.check()


def test_99_retained_users_fail() -> None:
    verdict = judge(shop(40, 59))
    assert verdict.failed == ("churned", "retained")
    assert "too few retained users: 99" in verdict.text.en


def test_the_history_must_hold_a_lookback_and_two_horizons() -> None:
    assert needed_history_us(MONTH) == 90 * DAY_US
    assert needed_history_us(ChurnDefinition(horizon_days=30, eligible_days=14, gap_days=7)) == (14 + 7 + 60) * DAY_US
    assert "history" not in judge(shop(300, 300), days=90).failed
    verdict = judge(shop(300, 300), days=89)
    assert verdict.failed[0] == "history"
    expected = (
        "the history is too short: 89 days are known, 90 are needed (a lookback of 30 days and two horizons of 30 days)"
    )
    assert expected in verdict.text.en


def test_a_history_of_no_moment_names_only_the_history() -> None:
    assert judge(shop(300, 300), days=40).failed == ("history",)


def test_a_user_who_churned_at_several_moments_counts_once() -> None:
    # users stop on day 90; horizon 10: they are silent, and still eligible, at many moments
    verdict = judge(shop(150, 120), ChurnDefinition(horizon_days=15, eligible_days=60))
    assert verdict.counts.churned == 120


def test_the_nearest_definition_passes_and_no_nearer_horizon_does() -> None:
    events = shop(300, 300)
    asked = ChurnDefinition(horizon_days=90, eligible_days=90)
    verdict = judge(events, asked)  # 180 days known, 90 + 180 needed
    assert verdict.nearest is not None
    assert verdict.nearest.horizon_days == 60
    assert judge(events, verdict.nearest).level != "fail"
    assert 'the nearest definition that passes: horizon = "60d"' in verdict.text.en
    assert "最接近且满足要求的定义" in verdict.text.zh


def test_where_nothing_passes_it_says_so() -> None:
    verdict = judge(shop(5, 5))
    assert verdict.nearest is None
    assert "wait for more data, or ask about other event types" in verdict.text.en


def test_no_event_of_the_kind_is_a_rule_of_its_own() -> None:
    verdict = judge(shop(300, 300), ChurnDefinition(outcome=("review",), eligible=("review",)))
    assert verdict.failed == ("events",)
    assert verdict.text.en.startswith("no review is known at that time")


def test_only_what_was_known_counts() -> None:
    events = shop(300, 300)
    late = events.with_columns(ingested_at=pl.col("occurred_at") + timedelta(days=400))
    assert judge(late).failed == ("events",)
    future = events.with_columns(occurred_at=pl.col("occurred_at") + timedelta(days=200)).with_columns(
        ingested_at="occurred_at"
    )
    assert judge(pl.concat([events, future])) == judge(events)


def test_shards_do_not_matter() -> None:
    events = shop(120, 120)
    users = events["user_id"].unique().sort()
    shards = [events.filter(pl.col("user_id").is_in(part.tolist())) for part in np.array_split(users.to_numpy(), 7)]
    until = START + timedelta(days=180)
    assert judge_sufficiency(lambda: shards, MONTH, until=until) == judge(events)


def test_the_verdict_is_json_safe() -> None:
    for verdict in (judge(shop(5, 5)), judge(shop(300, 300))):
        assert json.loads(json.dumps(verdict.to_json(), allow_nan=False))["level"] == verdict.level


DATA = Path(os.environ.get("EBBTIDE_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
LOGS = {
    "cdnow": ("transactions", "customer_id", "date", 90, 180, ("1997-10-03", "1998-01-01", "1998-04-01")),
    "essec_purchases": ("purchases", "customer_id", "date_of_purchase", 365, 730, ("2012-12-31", "2014-12-31")),
    "grocery_elog": ("groceryElog", "cust", "date", 60, 120, ("2007-07-03", "2007-10-31")),
}


@pytest.mark.skipif(not (DATA / "cdnow").is_dir(), reason="the real logs are not beside the repository")
@pytest.mark.parametrize("log", LOGS)
def test_real_shops_pass_also_where_the_eligibility_window_is_longer_than_the_history(log: str) -> None:
    """CDNOW at 1997-10-03 has 275 days: less than a full window of 180 and two horizons of 90, but one can learn."""
    file, user, at, horizon, eligible, moments = LOGS[log]
    events = pl.read_parquet(DATA / log / f"{file}.parquet").select(
        user_id=pl.col(user).cast(pl.String),
        occurred_at=pl.col(at).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        type=pl.lit("order"),
    )
    events = events.with_columns(ingested_at="occurred_at")
    definition = ChurnDefinition(horizon_days=horizon, eligible_days=eligible)
    for moment in moments:
        verdict = judge_sufficiency(lambda: [events], definition, until=parse_moment(moment))
        assert verdict.level in ("ok", "warn"), verdict.text.en
