"""The record of a campaign: append-only, whole or not at all."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from ebbtide.actions.campaign import ASSIGNED, Campaign, Campaigns
from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.errors import InputError

DAY = datetime(2024, 5, 1, tzinfo=UTC)


def _campaign(name: str = "spring", day: datetime = DAY) -> Campaign:
    return Campaign(name, name, 0.2, 0.05, day, 100, ChurnDefinition().to_json(), None, 0.1)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    campaigns = Campaigns(tmp_path)
    campaigns.save(_campaign())
    assert campaigns.load("spring") == _campaign()


def test_campaigns_stand_in_the_order_of_their_start(tmp_path: Path) -> None:
    campaigns = Campaigns(tmp_path)
    assert campaigns.names() == []
    campaigns.save(_campaign("b", DAY))
    campaigns.save(_campaign("a", DAY.replace(month=6)))
    assert campaigns.names() == ["b", "a"]


def test_an_unknown_campaign_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    campaigns = Campaigns(tmp_path)
    campaigns.save(_campaign())
    with pytest.raises(InputError, match="no campaign `sprung`; the campaigns are spring"):
        campaigns.load("sprung")
    with pytest.raises(InputError, match="no campaign"):
        campaigns.load("../spring")


def test_rows_are_added_and_never_replaced(tmp_path: Path) -> None:
    campaigns = Campaigns(tmp_path)
    assert campaigns.read("spring", "assigned").is_empty()
    for user in ("u1", "u2"):
        campaigns.add("spring", "assigned", pl.DataFrame({"user_id": [user], "cost": [1]}))
    campaigns.add("spring", "assigned", pl.DataFrame(schema=ASSIGNED))
    told = campaigns.read("spring", "assigned")
    assert told["user_id"].to_list() == ["u1", "u2"]
    assert dict(told.schema) == ASSIGNED
    assert [p.name for p in sorted((tmp_path / "spring").iterdir())] == [
        "assigned-00001.parquet",
        "assigned-00002.parquet",
    ]


def test_a_stopped_campaign_keeps_its_first_end(tmp_path: Path) -> None:
    campaigns = Campaigns(tmp_path)
    campaigns.save(_campaign())
    stopped = campaigns.stop("spring", DAY.replace(month=6))
    assert (stopped.status, stopped.stopped_at) == ("stopped", DAY.replace(month=6))
    assert campaigns.stop("spring", DAY.replace(month=7)) == stopped


def test_parts_of_an_older_form_are_read_with_nulls(tmp_path: Path) -> None:
    campaigns = Campaigns(tmp_path)
    campaigns.save(_campaign())
    old = {n: t for n, t in ASSIGNED.items() if n not in ("stage", "segment")}
    pl.DataFrame({"user_id": ["u1"], "arm": ["control"]}).with_columns(
        pl.lit(None, t).alias(n) for n, t in old.items() if n not in ("user_id", "arm")
    ).write_parquet(tmp_path / "spring" / "assigned-00001.parquet")
    campaigns.add("spring", "assigned", pl.DataFrame({"user_id": ["u2"], "stage": ["new"]}))
    read = campaigns.read("spring", "assigned")
    assert read["stage"].to_list() == [None, "new"]
    assert read.columns == list(ASSIGNED)
