"""The bundle: written whole or not at all, read back bit for bit, refused when a byte differs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ebbtide.churn.definition import ChurnDefinition
from ebbtide.core.config import parse_config
from ebbtide.core.errors import MissingBundleError, RetryError
from ebbtide.events.schema import EVENT_COLUMNS
from ebbtide.features.catalogue import default_catalogue
from ebbtide.features.tables import ItemCounter
from ebbtide.models import bundle as module
from ebbtide.models.bgnbd import fit_bgnbd
from ebbtide.models.bundle import Bundle, load_bundle, write_bundle
from ebbtide.models.calibration import AffineCalibration
from ebbtide.models.gamma_gamma import fit_gamma_gamma
from ebbtide.models.registry import MODELS, Setting
from ebbtide.models.shelf import Shelf
from ebbtide.models.stack import StackModel

DEFINITION = ChurnDefinition(horizon_days=45, outcome=("order", "refund"))


def item_events():
    at = datetime(2024, 1, 1, tzinfo=UTC)
    items = {"item_id": ["a", "b", None], "type": "order", "unit_price": [2.0, None, 1.0]}
    frame = pl.DataFrame(items).with_columns(occurred_at=pl.lit(at), ingested_at=pl.lit(at))
    missing = [pl.lit(None, t).alias(c) for c, t in EVENT_COLUMNS.items() if c not in frame.columns]
    return frame.with_columns(missing)


BASE = [name for name, entry in MODELS.items() if not entry.makers]


@pytest.fixture(scope="module")
def bundle(make_rows) -> Bundle:
    """One of everything: each model in the stack, an item table, both purchase models."""
    rows = make_rows(300)
    x, t_x, age = rows.X[:, :3].astype(float).T
    bgnbd = fit_bgnbd(x, t_x, age)
    setting = Setting(45.0, bgnbd)
    members = [MODELS[name].make(setting).fit(rows, seed=1) for name in BASE]
    items = ItemCounter(10**16)
    items.add(item_events())
    return Bundle(
        manifest={"id": "20240101-auto", "seed": 7, "until": "2024-01-01T00:00:00+00:00"},
        config=parse_config({"shop": {"name": "Café 店"}, "churn": {"horizon": "45d"}}),
        definition=DEFINITION,
        catalogue=default_catalogue(DEFINITION, 400, with_item_table=True),
        stack=StackModel(members, [0.1 * (k + 1) for k in range(len(members))]),
        makers=(),
        calibration=AffineCalibration(1.25, -0.125),
        items=items.table(),
        bgnbd=bgnbd,
        gamma_gamma=fit_gamma_gamma(x + 1, np.exp(np.random.default_rng(0).normal(3, 1, len(x)))),
        usual={"outcome_repeat_days": 2.5, "money": 1 / 3},
        metrics={"test": None, "backtest": []},
        choice={"calibration": {"slope": 1.25, "intercept": -0.125}, "weight": {}, "history": []},
    )


@pytest.fixture
def written(bundle, tmp_path):
    return write_bundle(tmp_path / "bundles", bundle, "# card, 卡片\n")


def test_what_is_written_comes_back(bundle, written, make_rows):
    again, X = load_bundle(written), make_rows(80, seed=3).X
    for part in ("config", "definition", "catalogue", "calibration", "gamma_gamma", "usual", "metrics"):
        assert getattr(again, part) == getattr(bundle, part), part
    assert again.bgnbd.to_json() == bundle.bgnbd.to_json()
    assert again.stack.margin(X).tobytes() == bundle.stack.margin(X).tobytes()
    assert again.stack.contributions(X).tobytes() == bundle.stack.contributions(X).tobytes()
    for name, value in vars(bundle.items).items():
        assert np.array_equal(vars(again.items)[name], value), name
    assert (again.id, again.columns) == (bundle.id, bundle.columns)
    assert (written / "model_card.md").read_text(encoding="utf-8") == "# card, 卡片\n"


def test_a_bundle_without_purchase_models_comes_back_without(bundle, tmp_path):
    again = load_bundle(write_bundle(tmp_path, replace(bundle, bgnbd=None, gamma_gamma=None), ""))
    assert again.bgnbd is None
    assert again.gamma_gamma is None


def test_nothing_is_pickled_and_every_file_is_sealed(written):
    files = {p.relative_to(written).as_posix() for p in written.rglob("*") if p.is_file()}
    assert {p.rsplit(".", 1)[1] for p in files} <= {"json", "md", "txt", "npz", "safetensors"}
    manifest = json.loads((written / "manifest.json").read_text(encoding="utf-8"))
    assert set(manifest["files"]) == files - {"manifest.json"}
    assert {len(digest) for digest in (*manifest["files"].values(), manifest["sha256"])} == {64}


def test_the_address_of_a_database_stays_out(bundle, tmp_path):
    source = {"url": "postgresql://me:secret@host/db", "query": "select 1", "columns": {"user_id": "u"}}
    shop = parse_config({"source": [source]})
    folder = write_bundle(tmp_path, replace(bundle, config=shop), "")
    assert b"secret" not in b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
    assert load_bundle(folder).config.source[0].query == "select 1"


def test_one_flipped_byte_anywhere_is_found_and_its_file_named(written, tmp_path):
    for file in [p for p in written.rglob("*") if p.is_file()]:
        copy = tmp_path / "copy"
        shutil.copytree(written, copy)
        damaged = copy / file.relative_to(written)
        content = bytearray(damaged.read_bytes())
        content[len(content) // 2] ^= 1
        damaged.write_bytes(content)
        with pytest.raises(MissingBundleError, match=str(file.relative_to(written))):
            load_bundle(copy)
        shutil.rmtree(copy)


def test_a_missing_file_is_found_and_named(written):
    (written / "reference.json").unlink()
    with pytest.raises(MissingBundleError, match=r"damaged: reference\.json differ.* train again or roll back"):
        load_bundle(written)


def test_another_schema_is_refused_with_both_versions(written):
    file = written / "manifest.json"
    file.write_text(file.read_text().replace('"schema_version": 3', '"schema_version": 99'))
    with pytest.raises(MissingBundleError, match="schema version 99, this version reads 3; train again"):
        load_bundle(written)


def test_an_absent_bundle_says_what_to_do(tmp_path):
    with pytest.raises(MissingBundleError, match="run `ebbtide train` first"):
        load_bundle(tmp_path / "nothing")


@pytest.mark.parametrize("step", ["stack.json", "items.npz", "choice.json", "manifest.json", "fsync", "replace"])
def test_a_disk_that_fills_up_leaves_nothing_behind(step, bundle, tmp_path, monkeypatch):
    """Whatever the step, the error says so, and the folder is as it was."""
    older = write_bundle(tmp_path, replace(bundle, manifest={"id": "older"}), "")
    before = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*"))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    write = Path.write_text
    if step in ("fsync", "replace"):
        monkeypatch.setattr(os, step, full)
    elif step == "items.npz":
        monkeypatch.setattr(np, "savez_compressed", full)
    else:
        monkeypatch.setattr(Path, "write_text", lambda p, *a, **k: full() if p.name == step else write(p, *a, **k))
    with pytest.raises(RetryError, match="No space left on device"):
        write_bundle(tmp_path, bundle, "")
    monkeypatch.undo()
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == before
    assert load_bundle(older).id == "older"


KILLED = """
import os, signal, sys
from pathlib import Path
from ebbtide.models import sealed
from ebbtide.models.bundle import write_bundle
from ebbtide.models.shelf import Shelf

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

folder, step = Path(sys.argv[1]), sys.argv[2]
old = Shelf(folder).load()
if step == "before the move":
    sealed.os.replace = die
else:
    sealed._sha256 = die
write_bundle(folder, old.__class__(**(vars(old) | {"manifest": {"id": "new"}})), "")
"""


@pytest.mark.parametrize("step", ["while writing", "before the move"])
def test_a_killed_train_leaves_the_old_bundle_whole_and_current(step, bundle, tmp_path):
    """SIGKILL gives no chance to tidy up: what is left behind is no bundle, and the next train clears it away."""
    folder = tmp_path / "bundles"
    write_bundle(folder, bundle, "")
    shelf = Shelf(folder)
    shelf.promote(bundle.id)
    dead = subprocess.run([sys.executable, "-c", KILLED, str(folder), step], capture_output=True, check=False)
    assert dead.returncode == -signal.SIGKILL, dead.stderr
    left = list(folder.glob(".writing-*"))
    assert len(left) == 1
    assert shelf.ids() == [bundle.id]
    assert shelf.load().id == bundle.id
    os.utime(left[0], (0, 0))
    write_bundle(folder, replace(bundle, manifest={"id": "new"}), "")
    assert not left[0].exists()
    assert shelf.ids() == [bundle.id, "new"]
    assert shelf.current_id() == bundle.id


def test_a_writer_at_work_is_left_alone(bundle, tmp_path):
    """Another train may be writing right now: only what is old is cleared away."""
    (tmp_path / ".writing-other").mkdir()
    write_bundle(tmp_path, bundle, "")
    assert (tmp_path / ".writing-other").exists()


def test_numbers_that_json_does_not_know_are_refused(bundle, tmp_path):
    """NaN would make a file that other readers cannot read."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_bundle(tmp_path, replace(bundle, usual={"a": float("nan")}), "")
    assert list(tmp_path.iterdir()) == []


def test_the_module_says_which_files_there_are(written):
    for file in written.iterdir():
        assert file.name.split(".")[0] in module.__doc__
