"""A tiny trained shop, made once for all tests of the commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ebbtide.cli.main import run
from ebbtide.events.simulate import SimulationConfig, simulate

TOML = """\
[shop]
name = "Kleiner Laden"
currency = "EUR"

[[source]]
path = "data/*.csv"
[source.columns]
user_id = "customer"
occurred_at = "order_date"
type = "kind"
order_id = "receipt"
item_id = "article"
value = "amount"

[churn]
outcome = "order"
horizon = "30d"
eligible = "order in 90d"

[bands]
high = 0.3
medium = 0.1

[train]
model = "recency"
max_cutoffs = 6
bootstrap = 50
"""
BAD_ROWS = ",2024-03-01 10:00:00,order,r-1,a-1,9.5\nu1,never,order,r-2,a-1,9.5\nu2,,order,r-3,a-1,9.5\n"

Answer = Callable[..., dict[str, Any]]


def make_shop(folder: Path) -> Path:
    """Two hundred days of orders of 600 customers as CSV, three bad rows among them, and the config. Not ingested."""
    (chunk,) = simulate(SimulationConfig(users=600, days=200, start=date(2024, 1, 1), seed=3))
    orders = chunk.events.filter(pl.col("type") == "order").select(
        customer="user_id",
        order_date=pl.col("occurred_at").dt.strftime("%Y-%m-%d %H:%M:%S"),
        kind="type",
        receipt="order_id",
        article="item_id",
        amount="value",
    )
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "orders.csv").write_text(orders.write_csv() + BAD_ROWS, encoding="utf-8")
    (folder / "ebbtide.toml").write_text(TOML, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shop after ingest and two trainings. Tests must leave it as it is."""
    folder = make_shop(tmp_path_factory.mktemp("shop"))
    assert run(["ingest", "-w", str(folder)]) == 0
    assert run(["train", "-w", str(folder), "--until", "2024-06-01"]) == 0
    assert run(["train", "-w", str(folder), "--until", "2024-06-10", "--model", "frequency"]) == 0
    return folder


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Answer:
    """Run a command with `--json` and read its answer; stdout must hold exactly one JSON object."""

    def ask(*arguments: str, code: int = 0) -> dict[str, Any]:
        capsys.readouterr()
        assert run([*arguments, "--json"]) == code
        shown = capsys.readouterr()
        found = json.loads(shown.out)
        assert isinstance(found, dict)
        assert shown.out.count("\n") == 1
        return found

    return ask
