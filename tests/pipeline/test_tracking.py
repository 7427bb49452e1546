"""Tracking: every run leaves a record, MLflow gets the same, and no tracker costs a bundle."""

from __future__ import annotations

import json
import sys

import pytest

from ebbtide.core.config import Config, parse_config
from ebbtide.core.errors import ConfigError, InputError, MissingExtraError, RetryError, SufficiencyError
from ebbtide.core.json_file import write_json_file
from ebbtide.evaluation.intervals import Estimate
from ebbtide.pipeline import tracking as module
from ebbtide.pipeline.tracking import JsonTracker, peak_memory_mb, track

AUROC = Estimate(0.75, 0.7, 0.8)


def config_with(store: str = "") -> Config:
    return parse_config({"shop": {"name": "Shop"}, "tracking": {"mlflow": store}}, environ={})


def records(root):
    return [json.loads(f.read_text(encoding="utf-8")) for f in sorted((root / ".ebbtide" / "runs").glob("*.json"))]


def work(root, store: str = "", trackers=None):
    with track(config_with(store), root, "train", model="auto", until=None) as run:
        run.trackers.extend(trackers or [])
        run.note(result="a-bundle", data={"fingerprint": "f00"}, versions={"python": "3"})
        run.log({"auroc": AUROC, "rows": 12})
        run.log({"loss": 0.5}, step=0)
        run.log({"loss": 0.4}, step=1)
    return run


class Ear:
    """Remembers what it is told; fails where asked to."""

    def __init__(self, deaf_to: str = "") -> None:
        self.deaf_to, self.heard = deaf_to, []

    def _hear(self, word):
        if word == self.deaf_to:
            raise RetryError("the line is dead", "线路中断")
        self.heard.append(word)

    def init(self, run):
        self._hear("init")

    def log(self, metrics, step=None):
        self._hear("log")

    def finish(self, record):
        self._hear("finish")


def test_the_record_holds_what_was_asked_found_and_spent(tmp_path):
    work(tmp_path)
    (record,) = records(tmp_path)
    assert record["id"].endswith("-train")
    assert (record["kind"], record["state"], record["error"]) == ("train", "finished", None)
    assert record["parameters"]["model"] == "auto"
    assert record["parameters"]["train.seed"] == 0
    assert record["parameters"]["churn.horizon"] == "30d"
    assert record["metrics"] == {
        "auroc": {"value": 0.75, "low": 0.7, "high": 0.8},
        "rows": {"value": 12.0, "low": None, "high": None},
    }
    assert [(s["step"], s["loss"]["value"]) for s in record["steps"]] == [(0, 0.5), (1, 0.4)]
    assert (record["result"], record["data"], record["versions"]) == (
        "a-bundle",
        {"fingerprint": "f00"},
        {"python": "3"},
    )
    assert 0 <= record["seconds"] < 60
    assert record["peak_memory_mb"] == pytest.approx(peak_memory_mb(), rel=0.5)


def test_no_address_or_password_of_a_source_is_recorded(tmp_path):
    source = {"url": "postgresql://me:secret@db/shop", "query": "select 1", "columns": {"user_id": "u"}}
    with track(parse_config({"source": [source]}, environ={}), tmp_path, "train"):
        pass
    assert "secret" not in json.dumps(records(tmp_path))


def test_a_run_that_fails_says_so_and_why(tmp_path):
    with pytest.raises(InputError), track(config_with(), tmp_path, "train"):
        raise InputError("no", "否")
    with pytest.raises(KeyboardInterrupt), track(config_with(), tmp_path, "train"):
        raise KeyboardInterrupt
    assert [(r["state"], r["error"]) for r in records(tmp_path)] == [("failed", "input"), ("failed", "stopped")]


def test_a_run_that_is_killed_is_left_as_running(tmp_path):
    """What stands on disk while the work goes on."""
    with track(config_with(), tmp_path, "train"):
        assert [r["state"] for r in records(tmp_path)] == ["running"]


@pytest.mark.parametrize("word", ["init", "log", "finish"])
def test_a_tracker_that_fails_is_dropped_and_told_of(tmp_path, monkeypatch, word):
    bad, good = Ear(word), Ear()
    monkeypatch.setattr(module, "trackers_for", lambda config, root: [bad, good])
    run = work(tmp_path)
    assert good.heard == ["init", "log", "log", "log", "finish"]
    assert word not in bad.heard
    assert [p.en for p in run.problems] == ["this run is not fully tracked: the line is dead"]
    assert "线路中断" in run.problems[0].zh


def test_a_folder_that_cannot_be_written_costs_the_record_only(tmp_path):
    (tmp_path / ".ebbtide").mkdir()
    (tmp_path / ".ebbtide" / "runs").write_text("a file where a folder should be")
    run = work(tmp_path)
    assert len(run.problems) == 1
    assert "could not be written" in run.problems[0].en


def test_a_json_file_is_whole_or_as_it_was(tmp_path):
    file = tmp_path / "deep" / "a.json"
    write_json_file(file, {"a": 1, "中": "文"})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json_file(file, {"a": float("nan")})
    assert json.loads(file.read_text(encoding="utf-8")) == {"a": 1, "中": "文"}
    assert [f.name for f in file.parent.iterdir()] == ["a.json"]


def test_mlflow_gets_the_same(tmp_path):
    pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")
    from mlflow.telemetry import get_telemetry_client  # noqa: PLC0415
    from mlflow.tracking import MlflowClient  # noqa: PLC0415

    work(tmp_path, "file:ml runs")
    assert get_telemetry_client() is None, "nothing is reported over the network"
    client = MlflowClient(tracking_uri=(tmp_path / "ml runs").as_uri())
    experiment = client.get_experiment_by_name("Shop")
    (found,) = client.search_runs([experiment.experiment_id])
    (record,) = records(tmp_path)
    assert (found.info.status, found.info.run_name) == ("FINISHED", record["id"])
    metrics = found.data.metrics
    assert (metrics["auroc"], metrics["auroc_low"], metrics["auroc_high"], metrics["rows"]) == (0.75, 0.7, 0.8, 12)
    assert (metrics["seconds"], metrics["peak_memory_mb"]) == (record["seconds"], record["peak_memory_mb"])
    assert [(m.step, m.value) for m in client.get_metric_history(found.info.run_id, "loss")] == [(0, 0.5), (1, 0.4)]
    assert found.data.params == {k: str(v) for k, v in record["parameters"].items()}
    assert (found.data.tags["result"], found.data.tags["data"]) == ("a-bundle", "f00")


def test_mlflow_hears_of_a_failure_and_runs_share_one_experiment(tmp_path):
    pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")
    from mlflow.tracking import MlflowClient  # noqa: PLC0415

    work(tmp_path, "file:mlruns")
    with pytest.raises(InputError), track(config_with("file:mlruns"), tmp_path, "train"):
        raise InputError("no", "否")
    client = MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("Shop")
    assert sorted(r.info.status for r in client.search_runs([experiment.experiment_id])) == ["FAILED", "FINISHED"]


def test_an_mlflow_that_cannot_write_costs_its_record_only(tmp_path):
    pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")
    (tmp_path / "mlruns").write_text("a file where a folder should be")
    run = work(tmp_path, "file:mlruns")
    assert "MLflow refused" in run.problems[0].en
    assert [r["state"] for r in records(tmp_path)] == ["finished"]


def test_without_the_extra_it_says_so_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    for name in [n for n in sys.modules if n.startswith("mlflow.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match=r"ebbtide\[mlflow\]"):
        work(tmp_path, "file:mlruns")
    assert not (tmp_path / ".ebbtide").exists()


@pytest.mark.parametrize("store", ["mlruns", "http://tracking:5000", "file:"])
def test_only_a_local_file_store_is_taken(store):
    with pytest.raises(ConfigError, match="expected `file:FOLDER`"):
        config_with(store)


def test_train_is_tracked(open_shop, sim_log):
    shop = open_shop(sim_log).with_train(max_cutoffs=5)
    report = shop.train(model="recency")
    (record,) = records(shop.root)
    manifest = shop.shelf.load(report.bundle).manifest
    assert (record["kind"], record["result"], report.problems) == ("train", report.bundle, ())
    assert (record["data"], record["versions"]) == (manifest["data"], manifest["versions"])
    assert record["metrics"]["auroc"] == report.verdict.test.metrics["auroc"].to_json()
    with pytest.raises(SufficiencyError):
        shop.train(model="recency", until=shop.until.replace(month=3))
    assert [r["error"] for r in records(shop.root)] == [None, "insufficient"]


def test_a_train_whose_record_is_lost_still_makes_its_bundle(open_shop, sim_log, monkeypatch):
    shop = open_shop(sim_log).with_train(max_cutoffs=5)

    def full(*_):
        raise RetryError("the disk is full", "磁盘已满")

    monkeypatch.setattr(JsonTracker, "finish", full)
    report = shop.train(model="recency")
    assert shop.shelf.current_id() == report.bundle
    assert "the disk is full" in report.lines()[-1].en
    assert report.to_json()["problems"] == ["this run is not fully tracked: the disk is full"]
