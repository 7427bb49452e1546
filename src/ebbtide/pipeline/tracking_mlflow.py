"""The same run told to MLflow, into a folder beside the workspace (`file:` store); nothing leaves the machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from ebbtide.core.errors import MissingExtraError, RetryError
from ebbtide.core.language import Text
from ebbtide.pipeline.tracker import Figure, RunStart, flat_figures

_TAGS = ("kind", "state", "error", "result")


class MlflowTracker:
    """One MLflow run in the experiment of the shop. A metric with an interval becomes three: NAME, NAME_low, NAME_high."""

    def __init__(self, connect: Callable[[], Any], faults: tuple[type[Exception], ...]) -> None:
        self._connect, self._faults = connect, faults
        self._client: Any = None
        self._id = ""

    @classmethod
    def open(cls, store: str, root: Path) -> Self:
        """A tracker for `file:FOLDER`, relative to the workspace.

        MLflow wants a switch to be set before it writes to a folder, and reports its use over the network unless told
        not to; both are done here, for this process. Raises MissingExtraError.
        """
        try:
            from mlflow.environment_variables import MLFLOW_ALLOW_FILE_STORE, MLFLOW_DISABLE_TELEMETRY  # noqa: PLC0415
            from mlflow.exceptions import MlflowException  # noqa: PLC0415
            from mlflow.telemetry import set_telemetry_client  # noqa: PLC0415
            from mlflow.tracking import MlflowClient  # noqa: PLC0415
        except ImportError:
            raise MissingExtraError("mlflow", Text("tracking with MLflow", "使用 MLflow 记录")) from None
        MLFLOW_ALLOW_FILE_STORE.set(True)
        MLFLOW_DISABLE_TELEMETRY.set(True)
        set_telemetry_client()
        folder = root.resolve() / unquote(urlsplit(store).path)
        return cls(lambda: MlflowClient(tracking_uri=folder.as_uri()), (MlflowException, OSError))

    def init(self, run: RunStart) -> None:
        """Start the run, with its parameters."""

        def begin() -> None:
            self._client = self._connect()
            found = self._client.get_experiment_by_name(run.shop)
            experiment = found.experiment_id if found else self._client.create_experiment(run.shop)
            self._id = self._client.create_run(experiment, run_name=run.id).info.run_id
            for name, value in run.parameters.items():
                self._client.log_param(self._id, name, value)

        self._safely(begin)

    def log(self, metrics: Mapping[str, Figure], step: int | None = None) -> None:
        """Log the metrics."""

        def tell() -> None:
            for name, value in flat_figures(metrics).items():
                self._client.log_metric(self._id, name, value, step=step or 0)

        self._safely(tell)

    def finish(self, record: Mapping[str, Any]) -> None:
        """Log what it cost, tag what came of it, end the run."""

        def end() -> None:
            for name in ("seconds", "peak_memory_mb"):
                self._client.log_metric(self._id, name, record[name])
            tags = {name: record[name] for name in _TAGS} | {"data": record["data"].get("fingerprint")}
            for name, value in tags.items():
                if value is not None:
                    self._client.set_tag(self._id, name, value)
            self._client.set_terminated(self._id, "FINISHED" if record["state"] == "finished" else "FAILED")

        self._safely(end)

    def _safely(self, work: Callable[[], None]) -> None:
        try:
            work()
        except self._faults as fault:
            raise RetryError(
                "MLflow refused ({kind}): look at [tracking] mlflow",
                "MLflow 拒绝（{kind}）：请检查 [tracking] mlflow",
                kind=type(fault).__name__,
            ) from fault
