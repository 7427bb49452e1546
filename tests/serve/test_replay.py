"""A replayed log: in the order of arrival, at its pace, once, and on from where it was interrupted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from tests.pipeline.conftest import UNTIL, SmallShop
from tests.serve.conftest import Site
from tests.serve.stream.conftest import kafka_url
from tests.serve.test_client import through

from ebbtide.cli.main import run
from ebbtide.core.errors import RetryError
from ebbtide.events.lake import Lake, lake_folder
from ebbtide.pipeline.log_events import EventLog, as_sent, log_of_workspace, open_log
from ebbtide.serve.replay import ApiTarget, Outcome, Pace, replay_log
from ebbtide.store.inbox import Inbox

__all__ = ["kafka_url"]


class Fake:
    """Takes events down; fails at call number `broken`."""

    name = "fake"

    def __init__(self, broken: int | None = None) -> None:
        self.sent: list[dict[str, Any]] = []
        self.calls, self.broken = 0, broken

    def send(self, events: Sequence[dict[str, Any]]) -> Outcome:
        self.calls += 1
        if self.calls == self.broken:
            raise RetryError("no", "否")
        assert 0 < len(events) <= 1000
        self.sent += events
        return Outcome(accepted=len(events))

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def log(small_shop: SmallShop) -> EventLog:
    return log_of_workspace(small_shop.config, small_shop.root)


def test_all_events_go_out_once_in_the_order_in_which_they_became_known(
    log: EventLog, sim_log: pl.DataFrame, tmp_path: Path
) -> None:
    target = Fake()
    report = replay_log(log, target, tmp_path, speed=0)
    expected = sim_log.sort("ingested_at", "event_id")
    assert [e["event_id"] for e in target.sent] == expected["event_id"].to_list()
    assert (report.sent, report.accepted, report.before, report.events) == (log.rows, log.rows, 0, sim_log.height)
    assert all("ingested_at" not in e for e in target.sent[:100])


def test_an_interrupted_replay_goes_on_where_it_was_and_a_finished_one_begins_anew(
    log: EventLog, tmp_path: Path
) -> None:
    first, second, third = Fake(broken=3), Fake(), Fake()
    with pytest.raises(RetryError):
        replay_log(log, first, tmp_path, speed=0)
    report = replay_log(log, second, tmp_path, speed=0)
    assert (report.before, report.sent) == (2000, log.rows - 2000)
    ids = [e["event_id"] for e in first.sent + second.sent]
    assert len(ids) == len(set(ids)) == log.rows
    assert replay_log(log, third, tmp_path, speed=0).sent == log.rows
    with pytest.raises(RetryError):
        replay_log(log, Fake(broken=2), tmp_path, speed=0)
    assert replay_log(log, Fake(), tmp_path, speed=0, restart=True).before == 0


def test_events_are_due_at_their_own_distance_divided_by_the_speed() -> None:
    now = [100.0]

    def sleep(seconds: float) -> None:
        assert 0 < seconds <= 1.0
        now[0] += seconds

    pace = Pace(5_000_000, 10.0, clock=lambda: now[0], sleep=sleep)
    moments = np.array([5_000_000, 5_000_000, 105_000_000, 400_000_000])
    assert pace.wait_for(moments) == 2
    assert now[0] == 100.0
    assert pace.wait_for(moments[2:]) == 1
    assert now[0] == pytest.approx(110.0, abs=0.01)
    assert Pace(0, 0.0).wait_for(moments) == 4


def test_the_mapping_of_a_workspace_gives_the_events_that_ingest_gives_and_leaves_its_lake_alone(
    small_shop: SmallShop, sim_log: pl.DataFrame
) -> None:
    before = Lake.open(lake_folder(small_shop.root)).fingerprint()
    with open_log(
        small_shop.config, [small_shop.root / "data" / "0.parquet"], now=datetime(2030, 1, 1, tzinfo=UTC)
    ) as log:
        sent = pl.concat(list(log.chunks())).sort("event_id")
    assert sent.equals(sim_log.select(sent.columns).sort("event_id"))
    assert Lake.open(lake_folder(small_shop.root)).fingerprint() == before


def test_a_service_takes_a_replayed_log_and_knows_what_it_has(
    site: Site, sim_log: pl.DataFrame, tmp_path: Path
) -> None:
    """Through the real API: what was ingested as a file and comes again is one event in the end."""
    late = sim_log.filter(pl.col("ingested_at") > UNTIL).sort("ingested_at", "event_id").head(1500)
    target = ApiTarget("http://testserver", site.key("events:write"), transport=through(site))
    site.now = sim_log["ingested_at"].max()  # type: ignore[assignment]
    first = target.send(as_sent(late))
    again = target.send(as_sent(late.head(10)))
    assert (first.accepted, first.rejected) == (1500, 0)
    assert again.duplicate == 10
    stored = Inbox(site.service.database).after("shop", 0, 10**6)
    assert [e.fields["event_id"] for e in stored] == late["event_id"].to_list()
    assert [e.fields["occurred_at"] for e in stored] == late["occurred_at"].dt.epoch("us").to_list()


def test_a_service_that_is_asked_too_much_is_asked_again_as_late_as_it_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    monkeypatch.setattr("ebbtide.serve.client.time.sleep", naps.append)
    answers = iter([429, 503, 202])

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer key"
        told = {"accepted": len(json.loads(request.content)["events"]), "duplicate": 0, "rejected": 0, "results": []}
        return httpx.Response(next(answers), headers={"Retry-After": "7"}, json=told)

    target = ApiTarget("http://x", "key", transport=httpx.MockTransport(answer))
    assert target.send([{"user_id": "u"}]).accepted == 1
    assert naps == [7.0, 7.0]


def test_the_command_says_what_is_missing(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ebbtide.toml").write_text("")
    monkeypatch.delenv("EBBTIDE_KEY", raising=False)
    assert run(["replay", "-w", str(tmp_path)]) == 2
    assert "--from-workspace" in capsys.readouterr().err


def test_the_command_replays_a_workspace_to_a_broker(
    small_shop: SmallShop, tmp_path: Path, capsys: Any, kafka_url: str
) -> None:
    (tmp_path / "ebbtide.toml").write_text(
        f'[stream]\nbroker = "kafka"\nurl = "{kafka_url}"\ntopic = "{tmp_path.name}"\n'
    )
    (small_shop.root / "ebbtide.toml").write_text("")
    options = ["--from-workspace", str(small_shop.root), "--speed", "0", "--broker", "--json"]
    assert run(["replay", "-w", str(tmp_path), *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["sent"] == told["events"] == small_shop.lake.summary().rows
