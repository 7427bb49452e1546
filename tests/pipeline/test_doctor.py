"""`doctor` finds what is wrong, says what to do, and changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import update
from tests.pipeline.conftest import END, OpenShop, SmallShop, Trained

from ebbtide.core.config import load_config
from ebbtide.core.windows import to_us
from ebbtide.pipeline.diagnosis import Finding
from ebbtide.pipeline.doctor import diagnose
from ebbtide.pipeline.live_shop import LiveShop
from ebbtide.pipeline.rescoring import rescore_everybody
from ebbtide.store.audit import Audit, Entry
from ebbtide.store.database import Database
from ebbtide.store.inbox import Inbox, Incoming
from ebbtide.store.keys import Keys
from ebbtide.store.tables import audit

TOML = """
[churn]
outcome = "order"
horizon = "30d"
[[source]]
path = "data/*.parquet"
columns = { user_id = "user_id", occurred_at = "occurred_at", type = "type" }
"""


@pytest.fixture
def root(trained: Trained, tmp_path: Path) -> Path:
    """A copy of the trained shop with a config file."""
    shutil.copytree(trained.shop.root, tmp_path / "shop")
    (tmp_path / "shop" / "ebbtide.toml").write_text(TOML, encoding="utf-8")
    return tmp_path / "shop"


@pytest.fixture
def store(root: Path) -> Iterator[Database]:
    """The store of a service that has run: everybody scored, one key."""
    database = Database.open(f"sqlite:///{root}/.ebbtide/service.db")
    shop = LiveShop(load_config(root / "ebbtide.toml", environ={}), root, "shop", database, clock=lambda: END)
    rescore_everybody(shop)
    Keys(database).create("shop", "front", ["events:write"], now_us=to_us(END))
    yield database
    database.close()


def told(root: Path, *, later: timedelta = timedelta()) -> dict[str, Finding]:
    return {finding.check: finding for finding in diagnose(root, END + later).findings}


def test_a_healthy_shop_is_in_order_before_and_after_the_service_has_run(root: Path, request: Any) -> None:
    assert {name: f.state for name, f in told(root).items()} == dict.fromkeys(
        ("config", "secrets", "disk", "lake", "model", "clock", "store"), "ok"
    )
    request.getfixturevalue("store")
    found = told(root)
    assert {f.state for f in found.values()} == {"ok"}
    assert {"arrivals", "landing", "scoring", "keys", "audit"} <= set(found)


def test_nothing_is_changed(root: Path) -> None:
    before = sorted(str(p) for p in root.rglob("*"))
    diagnose(root, END)
    assert sorted(str(p) for p in root.rglob("*")) == before


def damage_config(root: Path) -> None:
    (root / "ebbtide.toml").write_text("[chrun]\nhorizon = 3", encoding="utf-8")


def lose_config(root: Path) -> None:
    (root / "ebbtide.toml").unlink()


def lose_a_data_file(root: Path) -> None:
    next((root / ".ebbtide" / "lake").rglob("bucket=*/*.parquet")).unlink()


def lose_the_lake(root: Path) -> None:
    shutil.rmtree(root / ".ebbtide" / "lake")


def damage_the_bundle(root: Path) -> None:
    file = next((root / ".ebbtide" / "bundles").glob("*/choice.json"))
    file.write_text(file.read_text().replace("1", "2"), encoding="utf-8")


def lose_the_bundles(root: Path) -> None:
    shutil.rmtree(root / ".ebbtide" / "bundles")


def point_to_a_dead_server(root: Path) -> None:
    with (root / "ebbtide.toml").open("a") as file:
        file.write('[serve]\nstore = "postgresql+psycopg://nobody@127.0.0.1:9/none?connect_timeout=2"\n')


def name_an_unset_variable(root: Path) -> None:
    text = TOML.replace("data/*", "${EBBTIDE_NO_SUCH}/*")
    (root / "ebbtide.toml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("harm", "check", "words"),
    [
        (damage_config, "config", "chrun"),
        (lose_config, "config", "ebbtide init"),
        (name_an_unset_variable, "secrets", "EBBTIDE_NO_SUCH"),
        (lose_a_data_file, "lake", "1 of"),
        (lose_the_lake, "lake", "ebbtide ingest"),
        (damage_the_bundle, "model", "choice.json"),
        (lose_the_bundles, "model", "ebbtide train"),
        (point_to_a_dead_server, "store", "does not answer"),
    ],
)
def test_what_is_broken_is_found_by_its_check_alone(
    root: Path, harm: Callable[[Path], None], check: str, words: str
) -> None:
    harm(root)
    found = told(root)
    assert [name for name, f in found.items() if f.state == "failed"] == [check]
    assert words in found[check].found.en + found[check].advice.en
    assert diagnose(root, END).state == "failed"
    assert found[check].found.zh != found[check].found.en


def test_a_model_that_the_lake_cannot_fill_is_told(
    trained: Trained, sim_log: pl.DataFrame, open_shop: OpenShop
) -> None:
    bare: SmallShop = open_shop(sim_log.with_columns(pl.lit(None, pl.Float64).alias("value"))).borrow(trained.shop)
    (bare.root / "ebbtide.toml").write_text(TOML, encoding="utf-8")
    found = told(bare.root)["model"]
    assert found.state == "failed"
    assert "money" in found.found.en


def test_what_grows_old_is_warned_of(root: Path, store: Database) -> None:
    found = told(root, later=timedelta(days=200))
    assert found["model"].state == found["scoring"].state == "warning"
    assert "scheduler" in found["scoring"].advice.en
    early = told(root, later=-timedelta(days=9))
    assert early["clock"].state == "warning"


def test_events_that_wait_too_long_are_warned_of(root: Path, store: Database) -> None:
    fields = {"user_id": "u1", "occurred_at": to_us(END), "type": "order"}
    Inbox(store).add([Incoming("shop", "e1", "u1", fields)], to_us(END))
    assert told(root, later=timedelta(seconds=5))["landing"].state == "ok"
    late = told(root, later=timedelta(hours=1))
    assert (late["landing"].state, late["scoring"].state) == ("warning", "warning")
    assert "worker" in late["scoring"].advice.en
    back = told(root, later=-timedelta(minutes=1))
    assert back["arrivals"].state == "warning"
    assert "ran back" in back["arrivals"].found.en


def test_an_altered_audit_is_found(root: Path, store: Database) -> None:
    Audit(store).add([Entry("shop", n, "cli", "probe") for n in range(3)])
    assert told(root)["audit"].state == "ok"
    with store.write() as connection:
        connection.execute(update(audit).where(audit.c.at_us == 1).values(actor="somebody"))
    assert told(root)["audit"].state == "failed"


def test_a_store_without_keys_or_of_another_version_is_told(root: Path, store: Database) -> None:
    keys = Keys(store)
    keys.revoke("shop", keys.listed("shop")[0].key_id, now_us=to_us(END))
    assert told(root)["keys"].state == "warning"
    with store.write() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '0001'")
    found = told(root)
    assert found["store"].state == "warning"
    assert "landing" not in found


def test_postgresql_is_asked_for_its_clock(root: Path, postgres_url: str) -> None:
    Database.open(postgres_url).close()
    with (root / "ebbtide.toml").open("a") as file:
        file.write(f'[serve]\nstore = "{postgres_url}"\n')
    far = told(root)["store"]
    assert far.state == "failed"
    assert "apart" in far.found.en
