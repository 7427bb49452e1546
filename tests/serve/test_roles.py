"""What runs where, what a loop does with a fault, and which bundles are refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient
from tests.pipeline.conftest import UNTIL, Trained
from tests.serve.conftest import Site

from ebbtide.core.errors import DefectError, InputError, MissingBundleError, RetryError
from ebbtide.models.bundle import load_bundle, write_bundle
from ebbtide.pipeline.bundles import promote
from ebbtide.pipeline.landing import land
from ebbtide.pipeline.live_shop import LiveShop
from ebbtide.pipeline.rescoring import rescore_everybody
from ebbtide.serve.alerts import AlertWork
from ebbtide.serve.app import make_app
from ebbtide.serve.fuse import Fuse
from ebbtide.serve.loop import MOST_DEFECTS, Loop, Round
from ebbtide.serve.worker import LOOPS, make_loops
from ebbtide.store.database import Database
from ebbtide.store.inbox import Adding

CLICK = {"event_id": "c1", "user_id": "u1", "type": "product_view", "occurred_at": "2024-07-01T10:00:00Z"}


def wait_for(told: Callable[[], bool]) -> None:
    """Until it holds; 20 seconds at most."""
    end = time.monotonic() + 20
    while not told():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def work_of(site: Site, role: str, name: str) -> Callable[[], bool]:
    loop = next(loop for loop in make_loops(site.service, role) if loop.name == name)
    return loop._todo.work


def test_every_loop_belongs_to_a_role_and_all_runs_each_once(site: Site) -> None:
    apart = {name for role in ("api", "worker", "scheduler") for name in LOOPS[role]}
    assert apart == set(LOOPS["all"])
    alerts = {"shop": AlertWork(site.service.shops["shop"], {})}
    for role, names in LOOPS.items():
        assert [loop.name for loop in make_loops(site.service, role, alerts=alerts)] == list(names)
        without = [name for name in names if name not in ("timers", "tidying")]
        assert [loop.name for loop in make_loops(site.service, role)] == without


def test_an_api_process_sees_what_another_process_landed_pruned_promoted_and_scored(site: Site, tmp_path: Path) -> None:
    """Two processes over one store: this one runs the loops of the api only."""
    here = site.service.shops["shop"]
    database = Database.open(f"sqlite:///{tmp_path}/service.db")
    there = LiveShop(here.config, here.root, "shop", database, clock=lambda: UNTIL)
    site.send(CLICK)
    landed = land(there.inbox, "shop", there.root, there.config.lake)
    work_of(site, "api", "histories")()
    assert here.histories.landed == landed.up_to == 1
    there.inbox.prune("shop", up_to=1, before_us=2**60)
    assert here.histories.of_users(["u1"]).height == 1

    work_of(site, "api", "model")()
    assert len(here.served.cohort) == 0
    rescore_everybody(there)
    work_of(site, "api", "model")()
    assert len(here.served.cohort) == site.shop.score().frame.height
    database.close()


def test_everybody_is_scored_by_time_alone_but_not_again_after_a_restart(site: Site) -> None:
    """Silence raises risk: nothing is sent between the two runs."""
    shop = site.service.shops["shop"]
    assert work_of(site, "scheduler", "everybody")() is False
    assert shop.serving is None
    work_of(site, "scheduler", "model")()
    scored = "ebbtide_scored_users_total"

    def users() -> float:
        return site.service.metrics.registry.get_sample_value(scored, {"way": "everybody"}) or 0.0

    work_of(site, "scheduler", "everybody")()
    first, before = users(), shop.scores.at_risk("shop", limit=400)
    work_of(site, "scheduler", "everybody")()
    assert users() == first > 0
    site.now += timedelta(days=10)
    work_of(site, "scheduler", "everybody")()
    after = {row.user_id: row.churn_probability for row in shop.scores.at_risk("shop", limit=400)}
    both = [(row.churn_probability, after[row.user_id]) for row in before if row.user_id in after]
    assert sum(b for _, b in both) > sum(a for a, _ in both)


def test_a_loop_tries_again_after_what_was_foreseen(site: Site) -> None:
    tries: list[int] = []

    def work() -> bool:
        tries.append(1)
        if len(tries) < 3:
            raise RetryError("away", "离开")
        return False

    loop = Loop(Round("probe", work, timedelta(milliseconds=1)), site.service)
    loop.start()
    wait_for(lambda: len(tries) > 3)
    loop.stop()
    failures = site.service.metrics.registry.get_sample_value(
        "ebbtide_loop_failures_total", {"loop": "probe", "code": "retry"}
    )
    assert failures == 2
    assert not site.service.fuse.is_blown


def test_a_loop_that_meets_the_unforeseen_again_and_again_ends_the_process(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    stopped = threading.Event()
    site.service.fuse.on_blow(stopped.set)

    def work() -> bool:
        raise ZeroDivisionError("customer-17")

    loop = Loop(Round("probe", work, timedelta(milliseconds=1)), site.service)
    loop.start()
    wait_for(stopped.is_set)
    loop.stop()
    assert sum(r.levelname == "ERROR" for r in caplog.records) == MOST_DEFECTS - 1
    assert "customer-17" not in " ".join(r.getMessage() for r in caplog.records)
    with pytest.raises(DefectError, match="probe"):
        site.service.fuse.check()


def test_a_fuse_stops_those_who_come_late() -> None:
    fuse, stopped = Fuse(), []
    fuse.guard("part", lambda: None)
    fuse.check()
    fuse.blow("part", ValueError())
    fuse.on_blow(lambda: stopped.append(1))
    assert stopped == [1]


def test_a_call_that_cannot_be_stored_for_an_unforeseen_reason_spoils_no_other(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Adding.add

    def poisoned(adding: Adding, events: Any, now_us: int) -> list[bool]:
        if any(e.event_id == "poison" for e in events):
            raise ZeroDivisionError
        return add(adding, events, now_us)

    monkeypatch.setattr(Adding, "add", poisoned)
    answer = site.send({**CLICK, "event_id": "poison"})
    assert (answer.status_code, answer.json()["code"]) == (500, "defect")
    assert site.send({**CLICK, "event_id": "good"}).status_code == 202


@pytest.fixture
def without_money(site: Site, trained: Trained, sim_log: pl.DataFrame, open_shop: Any) -> Any:
    """A shop whose log has no money, with the bundle of one that has."""
    bare = sim_log.filter(pl.col("ingested_at") <= UNTIL).with_columns(
        pl.lit(None, dtype=sim_log.schema[c]).alias(c) for c in ("value", "unit_price", "discount")
    )
    return open_shop(bare).borrow(trained.shop)


def test_a_bundle_whose_features_the_shop_cannot_fill_is_refused(site: Site, without_money: Any) -> None:
    name = without_money.shelf.ids()[-1]
    with pytest.raises(MissingBundleError, match=r"needs events with .*money.*lake has none"):
        promote(without_money.root, name)
    shop = LiveShop(without_money.config, without_money.root, "shop", site.service.database, clock=lambda: UNTIL)
    with pytest.raises(MissingBundleError, match="money"):
        shop.serve_promoted()
    assert shop.serving is None


def test_a_refused_bundle_changes_nothing_over_the_api(site: Site, without_money: Any) -> None:
    old = site.call("GET", "/v1/models").json()
    site.service.shops["shop"].root = without_money.root
    answer = site.call("POST", f"/v1/models/{without_money.shelf.ids()[-1]}/promote")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "money" in answer.json()["detail"]
    assert site.call("GET", "/v1/models").json()["serving"] == old["serving"]


def test_processes_that_answer_no_calls_tell_operators_how_they_fare(site: Site) -> None:

    with TestClient(make_app(site.service, for_operators_only=True)) as client:
        assert client.get("/healthz").status_code == 200
        assert "process_resident_memory_bytes" in client.get("/metrics").text
        assert client.get("/v1/models").status_code == 404


def second_bundle(site: Site) -> str:
    """A copy of the bundle under another name that gives everybody other odds; the first one stays promoted."""
    shelf, served = site.shop.shelf, site.shop.shelf.load()
    odd = replace(served.calibration, intercept=served.calibration.intercept + 0.5)
    other = replace(served, manifest={**served.manifest, "id": "zz-challenger"}, calibration=odd)
    other.choice["calibration"] = odd.to_json()
    write_bundle(shelf.folder, other, "")
    return other.id


def test_a_challenger_scores_in_the_shadow_and_changes_no_answer(site: Site) -> None:
    name, shop = second_bundle(site), site.service.shops["shop"]
    users = site.shop.score().frame["user_id"].to_list()
    site.service = replace(site.service, settings=site.service.settings.model_copy(update={"shadow": name}))
    work_of(site, "worker", "model")()
    shadow = work_of(site, "worker", "shadow")
    shadow()
    before = site.call("POST", "/v1/risk", json={"user_ids": users[:30]}).json()
    assert site.call("GET", "/v1/models").json()["shadow"] is None
    site.send(*({**CLICK, "event_id": f"s{n}", "user_id": user} for n, user in enumerate(users[:30])))
    shadow()
    told = site.call("GET", "/v1/models").json()["shadow"]
    assert (told["challenger"], told["users"]) == (name, 30)
    assert 0 < told["mean_difference"] == pytest.approx(told["mean_absolute_difference"])
    assert told["rank_correlation"] == pytest.approx(1.0)
    assert 0 <= told["band_changes"] <= 1
    assert shop.scores.at_risk("shop", limit=1) == []
    after = site.call("POST", "/v1/risk", json={"user_ids": users[:30]}).json()
    assert {r["model"] for r in after["risks"]} == {r["model"] for r in before["risks"]} == {shop.serving}
    gauge = site.service.metrics.registry.get_sample_value("ebbtide_shadow", {"figure": "users"})
    assert gauge == 30


def test_a_challenger_that_is_not_there_fails_its_own_loop_only(site: Site) -> None:
    site.service = replace(site.service, settings=site.service.settings.model_copy(update={"shadow": "nobody"}))
    work_of(site, "worker", "model")()
    with pytest.raises(InputError, match="nobody"):
        work_of(site, "worker", "shadow")()
    assert site.client.get("/readyz").status_code == 200


def test_no_password_of_the_service_goes_into_a_bundle_or_a_log(site: Site, tmp_path: Path) -> None:
    bundle = site.shop.shelf.load()
    secret = "postgresql+psycopg://u:hunter2@db/x"
    serve = bundle.config.serve.model_copy(update={"store": secret, "redis": secret})
    told = replace(bundle, config=bundle.config.model_copy(update={"serve": serve}))
    folder = write_bundle(tmp_path / "bundles", told, "")
    assert "hunter2" not in (folder / "manifest.json").read_text(encoding="utf-8")
    assert "hunter2" not in repr(serve)
    assert load_bundle(folder).id == bundle.id
