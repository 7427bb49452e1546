"""The law of the service: whatever the way in, whatever has landed, a score is that of the batch at the same moment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import redis
from sqlalchemy import Connection
from tests.conftest import _without as without
from tests.pipeline.conftest import UNTIL, OpenShop, SmallShop, Trained

from ebbtide.core.errors import InputError, RetryError
from ebbtide.core.windows import to_us
from ebbtide.events.lake import Lake, lake_folder
from ebbtide.events.surroundings import one_writer
from ebbtide.pipeline.ingest import ingest
from ebbtide.pipeline.landing import land
from ebbtide.pipeline.live_shop import LiveShop
from ebbtide.pipeline.rescoring import Change, rescore_everybody, rescore_touched
from ebbtide.pipeline.shared_histories import SharedHistories
from ebbtide.store.database import Database
from ebbtide.store.inbox import Inbox, Incoming

SPLIT = UNTIL - timedelta(days=6)
"""Events up to here were ingested as files; those behind it come in live, each when it became known."""


@dataclass
class Service:
    """A live shop whose clock stands where the test puts it."""

    shop: SmallShop
    live: LiveShop
    now: datetime

    def tell(self, events: pl.DataFrame) -> None:
        """Hand in events, each at the moment when it became known."""
        inbox, moments = self.live.inbox, events.sort("ingested_at").group_by("ingested_at", maintain_order=True)
        with self.live.database.write(in_order=True) as connection:
            adding = inbox.adding(connection)
            for (at,), rows in moments:
                adding.add(incoming(rows), to_us(at))  # type: ignore[arg-type]


def incoming(rows: pl.DataFrame) -> list[Incoming]:
    times = rows.with_columns(pl.col("occurred_at").dt.epoch("us")).drop("ingested_at", "event_id")
    ids = rows["event_id"].to_list()
    fields = [{k: v for k, v in row.items() if v is not None} for row in times.iter_rows(named=True)]
    return [Incoming("shop", event_id, f["user_id"], f) for event_id, f in zip(ids, fields, strict=True)]


@pytest.fixture
def service(trained: Trained, sim_log: pl.DataFrame, open_shop: OpenShop, tmp_path: Path) -> Iterator[Service]:
    """The early part of the log in the lake, the bundle of the whole log, an empty store."""
    shop = open_shop(sim_log.filter(pl.col("ingested_at") <= SPLIT)).borrow(trained.shop)
    database = Database.open(f"sqlite:///{tmp_path}/service.db")
    made = Service(shop, None, UNTIL)  # type: ignore[arg-type]
    made.live = LiveShop(shop.config, shop.root, "shop", database, clock=lambda: made.now)
    yield made
    database.close()


@pytest.fixture(scope="module")
def late(sim_log: pl.DataFrame) -> pl.DataFrame:
    """What became known after SPLIT and until UNTIL: late events too."""
    return sim_log.filter((pl.col("ingested_at") > SPLIT) & (pl.col("ingested_at") <= UNTIL))


@pytest.fixture(scope="module")
def batch(trained: Trained) -> pl.DataFrame:
    """The list of the batch at UNTIL."""
    return trained.shop.score().frame.sort("user_id")


def assert_same(found: pl.DataFrame, batch: pl.DataFrame) -> None:
    assert found["user_id"].to_list() == batch["user_id"].to_list()
    for name in ("churn_probability", "expected_orders", "value_at_risk"):
        np.testing.assert_allclose(found[name].to_numpy(), batch[name].to_numpy(), rtol=0, atol=1e-9)
    assert found["reasons"].to_list() == batch["reasons"].to_list()


def test_the_answer_is_that_of_the_batch_before_and_after_landing(
    service: Service, late: pl.DataFrame, batch: pl.DataFrame, sim_log: pl.DataFrame
) -> None:
    users = sim_log["user_id"].unique().to_list()
    service.tell(late)
    assert_same(service.live.score(users, as_of=UNTIL), batch)
    landed = land(service.live.inbox, "shop", service.shop.root, service.shop.config.lake)
    assert (landed.rows, landed.repeated) == (late.height, 0)
    assert_same(service.live.score(users, as_of=UNTIL), batch)
    service.live.histories.refresh()
    assert_same(service.live.score(users, as_of=UNTIL), batch)
    assert_same(
        pl.concat([found.scored for found in service.live.score_everybody(UNTIL)])
        .sort("user_id")
        .drop("reasons")
        .with_columns(batch["reasons"]),
        batch,
    )


def test_the_rows_of_an_answer_are_those_of_the_batch(
    service: Service, late: pl.DataFrame, batch: pl.DataFrame, sim_log: pl.DataFrame
) -> None:
    """For one user and for several, before events come in, while they wait in the inbox, and after they have landed."""
    live, names = service.live, [c for c in batch.columns if c not in ("as_of", "percentile")]
    users = sim_log["user_id"].unique().sort().to_list()[::7]

    def asked(some: Sequence[str], as_of: datetime) -> list[dict[str, Any]]:
        return live.rows_of(live.known_of(some, as_of), as_of=as_of, reasons=True, language="en")

    def assert_all_the_same(as_of: datetime) -> None:
        table = live.score(users, as_of=as_of).to_dicts()
        for rows in (asked(users, as_of), [row for user in users for row in asked([user], as_of)]):
            assert [{n: row[n] for n in names} for row in rows] == [{n: row[n] for n in names} for row in table]

    assert_all_the_same(SPLIT)
    service.tell(late)
    assert_all_the_same(UNTIL)
    assert_all_the_same(UNTIL - timedelta(days=2))
    land(live.inbox, "shop", service.shop.root, service.shop.config.lake)
    live.histories.refresh()
    assert_all_the_same(UNTIL)
    assert_all_the_same(UNTIL - timedelta(days=2))
    assert_same(live.score(users, as_of=UNTIL), batch.filter(pl.col("user_id").is_in(users)))
    assert asked(["nobody"], UNTIL) == []


def test_one_user_asked_alone_gets_the_answer_of_the_batch(
    service: Service, late: pl.DataFrame, batch: pl.DataFrame
) -> None:
    service.tell(late)
    for row in batch.sample(5, seed=1).iter_rows(named=True):
        alone = service.live.score([row["user_id"]], as_of=UNTIL)
        assert alone["churn_probability"].item() == pytest.approx(row["churn_probability"], abs=1e-9)
        assert alone["reasons"].to_list() == [row["reasons"]]


def test_the_lake_after_landing_is_the_lake_of_the_files(
    service: Service, late: pl.DataFrame, small_shop: SmallShop
) -> None:
    """Every accepted event exactly once, value by value; landing again adds nothing."""
    service.tell(late)
    for _ in range(3):
        land(service.live.inbox, "shop", service.shop.root, service.shop.config.lake, limit=late.height // 2 + 1)
    here, there = Lake.open(lake_folder(service.shop.root)), small_shop.lake
    for bucket in there.buckets():
        whole = there.read_bucket(bucket).filter(pl.col("ingested_at") <= UNTIL)
        assert here.read_bucket(bucket).equals(whole)


def test_what_came_with_a_file_and_live_is_one_event(
    service: Service, sim_log: pl.DataFrame, late: pl.DataFrame
) -> None:
    both = sim_log.filter(pl.col("ingested_at") <= SPLIT).tail(50)
    service.tell(pl.concat([both.with_columns(ingested_at=late["ingested_at"].min()), late]))
    before = service.live.histories.of_users(both["user_id"].unique().to_list())
    assert before["event_id"].is_duplicated().sum() == 0
    landed = land(service.live.inbox, "shop", service.shop.root, service.shop.config.lake)
    assert (landed.rows, landed.repeated) == (late.height, 50)


def test_a_landing_that_is_cut_off_before_its_commit_loses_and_doubles_nothing(
    service: Service, late: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.tell(late)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(Lake, "append", killed)
        with pytest.raises(KeyboardInterrupt):
            land(service.live.inbox, "shop", service.shop.root, service.shop.config.lake)
    assert land(service.live.inbox, "shop", service.shop.root, service.shop.config.lake).rows == late.height


def test_landing_waits_while_another_process_writes(service: Service, late: pl.DataFrame) -> None:
    service.tell(late)
    with one_writer(service.shop.root / ".ebbtide"), pytest.raises(RetryError, match="another"):
        land(service.live.inbox, "shop", service.shop.root, service.shop.config.lake)
    assert land(service.live.inbox, "shop", service.shop.root, service.shop.config.lake).rows == late.height


def test_touched_users_are_scored_once_and_what_follows_sees_before_and_after(
    service: Service, late: pl.DataFrame, batch: pl.DataFrame
) -> None:
    changes: list[Change] = []

    def react(connection: Connection, change: Change) -> None:
        changes.append(change)

    rescore_everybody(service.live, react=react)
    changes.clear()
    service.tell(late)
    done = rescore_touched(service.live, react=react, limit=10**6)
    assert done.users == late["user_id"].n_unique()
    assert rescore_touched(service.live, react=react).users == 0
    assert len(changes) == 1
    stored = service.live.scores.of_users("shop", batch["user_id"].to_list())
    expected = {row["user_id"]: row["churn_probability"] for row in batch.iter_rows(named=True)}
    assert {u: stored[u].churn_probability for u in changes[0].after} == pytest.approx(
        {u: expected[u] for u in changes[0].after}, abs=1e-9
    )
    assert set(changes[0].before) <= set(stored) | set(changes[0].touched)


def test_what_follows_and_the_scores_happen_both_or_not_at_all(service: Service, late: pl.DataFrame) -> None:
    service.tell(late)

    def fails(connection: Connection, change: Change) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rescore_touched(service.live, react=fails, limit=10**6)
    assert service.live.scores.counts("shop") == {}
    assert rescore_touched(service.live, limit=10**6).users == late["user_id"].n_unique()


def test_many_scores_are_stored_in_parts_and_a_crash_between_them_loses_and_repeats_nothing(
    service: Service, late: pl.DataFrame, batch: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows from a score happens once: scored again, a user's score has not changed. The events are named at the end."""
    monkeypatch.setattr("ebbtide.pipeline.rescoring.STORED_AT_ONCE", 20)
    rescore_everybody(service.live)
    service.tell(late)
    moved, parts, fails_at = dict[str, float](), list[Change](), 3

    def react(connection: Connection, change: Change) -> None:
        parts.append(change)
        if len(parts) == fails_at:
            raise KeyboardInterrupt
        for user, row in change.after.items():
            old = change.before.get(user)
            if old is None or old.churn_probability != row.churn_probability:
                assert user not in moved
                moved[user] = row.churn_probability

    with pytest.raises(KeyboardInterrupt):
        rescore_touched(service.live, react=react, limit=10**6)
    assert len(moved) in range(1, 41)
    parts.clear()
    fails_at = 0
    users = late["user_id"].unique().to_list()
    assert rescore_touched(service.live, react=react, limit=10**6).users == len(users)
    assert sorted(user for change in parts for user in change.touched) == sorted(users)
    assert [change.up_to for change in parts[:-1]] == [0] * (len(parts) - 1)
    assert (parts[-1].since, parts[-1].up_to) == (0, late.height)
    stored = service.live.scores.of_users("shop", users)
    assert moved.items() <= {user: row.churn_probability for user, row in stored.items()}.items()
    expected = dict(batch.select("user_id", "churn_probability").iter_rows())
    found = {user: row.churn_probability for user, row in stored.items()}
    assert found == pytest.approx({user: expected[user] for user in found}, abs=1e-9)


def test_silence_alone_moves_a_score_and_ends_eligibility(service: Service, late: pl.DataFrame) -> None:
    service.tell(late)
    first = rescore_everybody(service.live)
    before = service.live.scores.at_risk("shop", limit=10**6)
    service.now = UNTIL + timedelta(days=400)
    assert rescore_everybody(service.live).scored == 0
    assert service.live.scores.counts("shop") == {}
    service.now = UNTIL + timedelta(days=10)
    rescore_everybody(service.live)
    after = service.live.scores.of_users("shop", [row.user_id for row in before])
    assert first.scored == len(before)
    assert any(after[r.user_id].churn_probability != r.churn_probability for r in before if r.user_id in after)


def test_percentiles_are_those_of_the_list_once_everybody_was_scored(
    service: Service, late: pl.DataFrame, batch: pl.DataFrame
) -> None:
    service.tell(late)
    rescore_everybody(service.live)
    rescore_everybody(service.live)
    stored = service.live.scores.of_users("shop", batch["user_id"].to_list())
    assert [stored[u].percentile for u in batch["user_id"]] == pytest.approx(batch["percentile"].to_list())


def test_a_clock_that_is_set_back_makes_nothing_unknown(
    service: Service, late: pl.DataFrame, batch: pl.DataFrame
) -> None:
    service.tell(late)
    service.now = UNTIL - timedelta(days=100)
    as_of = service.live.now()
    assert as_of == late["ingested_at"].max()
    assert service.live.histories.of_users(batch["user_id"].to_list())["ingested_at"].max() <= as_of  # type: ignore[operator]


def test_memory_for_histories_is_bounded_and_changes_no_answer(
    service: Service, late: pl.DataFrame, batch: pl.DataFrame
) -> None:
    service.tell(late)
    small = LiveShop(
        service.shop.config, service.shop.root, "shop", service.live.database, clock=lambda: UNTIL, memory_bytes=1
    )
    assert_same(small.score(batch["user_id"].to_list(), as_of=UNTIL), batch)
    assert len(small.histories._kept) == 1


def test_nobody_and_strangers_have_no_score(service: Service) -> None:
    assert service.live.score([]).is_empty()
    assert service.live.score(["a stranger"]).is_empty()


def test_a_shop_without_any_file_begins_with_live_events(trained: Trained, tmp_path: Path) -> None:
    root = tmp_path / "new"
    root.mkdir()
    shutil.copytree(trained.shop.shelf.folder, root / ".ebbtide" / "bundles")
    database = Database.open(f"sqlite:///{tmp_path}/service.db")
    live = LiveShop(trained.shop.config, root, "shop", database, clock=lambda: UNTIL)
    events: Sequence[Incoming] = [
        Incoming(
            "shop", f"e{k}", "u", {"user_id": "u", "type": "order", "occurred_at": to_us(UNTIL - timedelta(days=k))}
        )
        for k in (5, 9)
    ]
    Inbox(database).add(events, to_us(UNTIL - timedelta(days=1)))
    assert live.score(["u"]).height == 1
    assert land(live.inbox, "shop", root, trained.shop.config.lake).rows == 2
    live.histories.refresh()
    assert live.score(["u"]).height == 1
    database.close()


@pytest.fixture
def redis_url() -> Iterator[str]:
    """A database of the local Redis, number 13, whose keys of this test are removed afterwards."""
    url = os.environ.get("EBBTIDE_TEST_REDIS", "redis://127.0.0.1:6379/13")
    client = redis.Redis.from_url(url, socket_connect_timeout=1)
    try:
        client.ping()
    except redis.RedisError as fault:
        without("Redis", type(fault).__name__)
    yield url
    names = list(client.scan_iter("ebbtide:shop:*"))
    if names:
        client.delete(*names)
    client.close()


def shared(service: Service, url: str) -> SharedHistories:
    shop = service.shop
    inbox, shops, keep = service.live.inbox, service.live.shops, timedelta(minutes=1)
    return SharedHistories(inbox, "shop", shop.root, shop.config.lake, url=url, keep=keep, shops=shops)


def test_shared_histories_are_the_same_before_and_after_landing_and_from_the_cache(
    service: Service, late: pl.DataFrame, batch: pl.DataFrame, redis_url: str
) -> None:
    """Each answer three times: from the lake, from Redis, and from Redis after a landing that it does not know of."""
    users = batch["user_id"].to_list()
    histories = shared(service, redis_url)
    half = late.filter(pl.col("ingested_at") <= late["ingested_at"].median())  # type: ignore[operator]
    service.tell(half)
    first = histories.of_users(users)
    assert histories.of_users(users).equals(first)
    assert first.equals(service.live.histories.of_users(users))
    land(service.live.inbox, "shop", service.shop.root, service.shop.config.lake)
    histories.refresh()
    service.tell(late.join(half, on="event_id", how="anti"))
    live = LiveShop(
        service.shop.config, service.shop.root, "shop", service.live.database, clock=lambda: UNTIL, histories=histories
    )
    assert_same(live.score(users, as_of=UNTIL), batch)
    assert histories.failures == 0
    histories.close()


def test_entries_older_than_the_tail_are_read_from_the_lake(
    service: Service, late: pl.DataFrame, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as an entry may lie in Redis, the tail holds what landed since; a process that began later has less."""
    users, seconds = late["user_id"].unique().sort().to_list(), [0.0]
    monkeypatch.setattr("ebbtide.pipeline.shared_histories.time.monotonic", lambda: seconds[0])
    histories = shared(service, redis_url)
    assert histories.of_users(users).equals(service.live.histories.of_users(users))
    service.tell(late)
    land(service.live.inbox, "shop", service.shop.root, service.shop.config.lake)
    for moment, kept in ((1.0, True), (50.0, True), (120.0, False)):
        seconds[0] = moment
        histories.refresh()
        assert (histories._tail.begin < histories.landed) is kept
        assert histories.of_users(users).equals(service.live.histories.of_users(users))
    began_later = shared(service, redis_url)
    assert began_later._tail.begin == began_later.landed
    assert began_later.of_users(users).equals(histories.of_users(users))
    for one in (histories, began_later):
        one.close()


def test_names_in_redis_tell_nobodys_id(service: Service, batch: pl.DataFrame, redis_url: str) -> None:
    users = batch["user_id"].to_list()[:20]
    histories = shared(service, redis_url)
    histories.of_users(users)
    with redis.Redis.from_url(redis_url) as client:
        names = [name.decode() for name in client.scan_iter("ebbtide:shop:*")]
    assert len(names) == len(users)
    parts = {part for name in names for part in name.split(":")}
    audited = {service.live.shops.pseudonym("shop", user) for user in users}
    assert not parts & (set(users) | audited)
    histories.close()


def test_an_ingest_of_files_is_seen_through_the_cache(
    service: Service, late: pl.DataFrame, batch: pl.DataFrame, redis_url: str
) -> None:
    users = batch["user_id"].to_list()
    histories = shared(service, redis_url)
    histories.of_users(users)
    late.write_parquet(service.shop.root / "data" / "late.parquet")
    ingest(service.shop.config, service.shop.root, now=UNTIL + timedelta(days=30))
    histories.refresh()
    live = LiveShop(
        service.shop.config, service.shop.root, "shop", service.live.database, clock=lambda: UNTIL, histories=histories
    )
    assert_same(live.score(users, as_of=UNTIL), batch)
    histories.close()


def test_without_redis_the_lake_is_read_and_the_failure_is_counted(
    service: Service, late: pl.DataFrame, batch: pl.DataFrame
) -> None:
    service.tell(late)
    histories = shared(service, "redis://127.0.0.1:1/0")
    live = LiveShop(
        service.shop.config, service.shop.root, "shop", service.live.database, clock=lambda: UNTIL, histories=histories
    )
    assert_same(live.score(batch["user_id"].to_list(), as_of=UNTIL), batch)
    assert histories.failures == 2
    histories.close()


def test_files_that_were_joined_into_others_and_cleared_away_are_no_trouble(
    service: Service, late: pl.DataFrame, batch: pl.DataFrame
) -> None:
    """Another process compacts and clears while this one has not looked."""
    service.tell(late)
    land(service.live.inbox, "shop", service.shop.root, service.shop.config.lake)
    service.live.histories.refresh()
    lake = Lake.open(lake_folder(service.shop.root))
    for bucket in lake.buckets():
        lake.compact(bucket, "other")
    for file in lake.unused_files():
        file.unlink()
    assert_same(service.live.score(batch["user_id"].to_list(), as_of=UNTIL), batch)


def test_a_rebuild_is_refused_where_it_would_lose_live_events(service: Service, late: pl.DataFrame) -> None:
    service.tell(late)
    land(service.live.inbox, "shop", service.shop.root, service.shop.config.lake)
    before = service.shop.lake.summary()
    with pytest.raises(InputError, match="in no file"):
        ingest(service.shop.config, service.shop.root, rebuild=True)
    assert service.shop.lake.summary() == before
