"""A search for settings that can be interrupted, resumed and shared: Optuna over a journal in a folder.

What is known of a trial stands in the journal before it begins, so a killed one is found, marked and queued once more
by whoever comes next: nothing is lost, nothing is tried twice. Which process is alive the kernel knows: each holds a
file lock for as long as it works. Draws depend on the seed and on the number of trials before, not on who asks: one
process, interrupted and resumed or not, always tries the same.
"""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from ebbtide.core.errors import MissingExtraError, RetryError
from ebbtide.core.language import Text
from ebbtide.core.progress import Progress, silent
from ebbtide.models.space import OneOf, Real, Space, Value, Values, usual_values

Sampler = Literal["tpe", "random", "grid"]
_MOST_TRIES = 3
_STARTUP, _UNPRUNED = 8, 4
_STAGE = Text("trying settings", "尝试参数")


@dataclass(frozen=True)
class Plan:
    """What is searched. `trials` in all, with those of earlier and other processes; `seconds` of this process, None:
    no limit. `name`: studies of other names in the same journal have nothing to do with this one."""

    name: str
    space: Space
    trials: int
    seconds: float | None = None
    sampler: Sampler = "tpe"
    seed: int = 0


@dataclass(frozen=True)
class Tried:
    """One finished trial. `losses`: the loss so far after each fold; shorter than others where `pruned`."""

    number: int
    values: dict[str, Value]
    losses: tuple[float, ...]
    pruned: bool

    @property
    def loss(self) -> float:
        """The loss over all the folds it saw."""
        return self.losses[-1]


@dataclass(frozen=True)
class StudyFolder:
    """Where the studies of one model are kept."""

    folder: Path
    model: str

    @property
    def journal(self) -> Path:
        """All that happened, a line an act."""
        return self.folder / f"{self.model}.journal"

    def forget(self) -> None:
        """Start anew. Raises RetryError while another process works on it."""
        with self.locked():
            if any(_is_held(file) for file in self.folder.glob(f"{self.model}.*.worker")):
                raise RetryError(
                    "another process is tuning `{model}`: wait for it, or work with it (without --fresh)",
                    "另一个进程正在调参 `{model}`：请等待其完成，或不加 --fresh 与其共同工作",
                    model=self.model,
                )
            self.journal.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One process at a time; a killed one lets go by itself."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f".{self.model}.lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    @contextmanager
    def worker(self) -> Iterator[str]:
        """A name that is known to be alive inside the block."""
        name = f"{self.model}.{uuid.uuid4().hex[:12]}.worker"
        file = self.folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        with file.open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                yield name
            finally:
                file.unlink(missing_ok=True)

    def is_alive(self, worker: str) -> bool:
        """Whether the process that works under this name still does."""
        return bool(worker) and _is_held(self.folder / worker)


def search(
    place: StudyFolder, plan: Plan, losses: Callable[[Values], Iterator[float]], progress: Progress = silent
) -> list[Tried]:
    """Try settings until the plan is fulfilled or its time is over; all finished trials, in their order.

    `losses` yields, after each fold, the loss so far; what is worse than the median of the others there is given up.
    The first trial is the usual settings; at least one trial is always brought to its end.
    Raises MissingExtraError without Optuna.
    """
    deadline = time.monotonic() + plan.seconds if plan.seconds is not None else np.inf
    with place.worker() as worker:
        study = _open_study(place, plan)
        while (trial := _next_trial(study, place, plan, worker, deadline)) is not None:
            progress(_STAGE, len(_finished(study)), plan.trials)
            _bring_to_its_end(study, place, trial, losses, deadline)
        progress(_STAGE, plan.trials, plan.trials)
        return _finished(study)


def _bring_to_its_end(
    study: Any, place: StudyFolder, trial: Any, losses: Callable[[Values], Iterator[float]], deadline: float
) -> None:
    optuna = _optuna()
    loss = np.inf
    for fold, found in enumerate(losses(trial.params)):
        loss = found if np.isfinite(found) else np.inf
        trial.report(loss, fold)
        if trial.should_prune():
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            return
        if time.monotonic() > deadline and _has_result(study):
            with place.locked():
                _queue_again(study, trial, tries=trial.user_attrs["tries"] - 1)
            return
    study.tell(trial, loss)


def _next_trial(study: Any, place: StudyFolder, plan: Plan, worker: str, deadline: float) -> Any:
    """The next trial, its settings drawn and written down; None if there is nothing more to try."""
    with place.locked():
        _queue_what_the_dead_left(study, place)
        trials = study.get_trials(deepcopy=False)
        begun = sum(t.state.name in ("COMPLETE", "PRUNED", "RUNNING") for t in trials)
        if begun >= plan.trials or (time.monotonic() > deadline and _has_result(study)):
            return None
        counted = sum(t.state.name != "FAIL" or _is_hopeless(t) for t in trials)
        if not counted:
            study.enqueue_trial(usual_values(plan.space))
        elif plan.sampler == "grid" and not any(t.state.name == "WAITING" for t in trials):
            point = _untried_point(study, plan)
            if point is None:
                return None
            study.enqueue_trial(point)
        study.sampler = _sampler(plan, counted)
        trial = study.ask()
        trial.set_user_attr("worker", worker)
        trial.set_user_attr("tries", trial.user_attrs.get("tries", 0) + 1)
        for name, dimension in plan.space.items():
            _suggest(trial, name, dimension)
        return trial


def _queue_what_the_dead_left(study: Any, place: StudyFolder) -> None:
    """Trials that run under nobody's name: their process was killed."""
    for trial in study.get_trials(deepcopy=False):
        if trial.state.name == "RUNNING" and not place.is_alive(trial.user_attrs.get("worker", "")):
            _queue_again(study, trial, tries=trial.user_attrs.get("tries", 1))


def _queue_again(study: Any, trial: Any, tries: int) -> None:
    """Mark it as failed, and have the same settings tried by whoever is next; not for ever: it may be what kills."""
    study.tell(trial.number, state=_optuna().trial.TrialState.FAIL)
    if trial.params and tries < _MOST_TRIES:
        study.enqueue_trial(trial.params, user_attrs={"tries": tries})


def _is_hopeless(trial: Any) -> bool:
    return bool(trial.state.name == "FAIL" and trial.user_attrs.get("tries", 0) >= _MOST_TRIES)


def _untried_point(study: Any, plan: Plan) -> dict[str, Value] | None:
    """A point of the grid that no trial has, in an order that the seed shuffles."""
    tried = [t.params or t.system_attrs.get("fixed_params") for t in study.get_trials(deepcopy=False)]
    names = list(plan.space)
    points = list(itertools.product(*(d.grid() for d in plan.space.values())))
    for place in np.random.default_rng(plan.seed).permutation(len(points)):
        point = dict(zip(names, points[place], strict=True))
        if point not in tried:
            return point
    return None


def _sampler(plan: Plan, number: int) -> Any:
    optuna = _optuna()
    seed = int(np.random.SeedSequence([plan.seed, number]).generate_state(1)[0])
    if plan.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=_STARTUP)
    return optuna.samplers.RandomSampler(seed=seed)


def _suggest(trial: Any, name: str, dimension: OneOf | Any) -> None:
    if isinstance(dimension, OneOf):
        trial.suggest_categorical(name, dimension.values)
    elif isinstance(dimension, Real):
        trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
    else:
        trial.suggest_int(name, dimension.low, dimension.high, log=dimension.log)


def _finished(study: Any) -> list[Tried]:
    kept = [t for t in study.get_trials(deepcopy=False) if t.state.name in ("COMPLETE", "PRUNED")]
    return [
        Tried(t.number, dict(t.params), tuple(t.intermediate_values.values()), t.state.name == "PRUNED") for t in kept
    ]


def _has_result(study: Any) -> bool:
    return any(t.state.name == "COMPLETE" for t in study.get_trials(deepcopy=False))


def _open_study(place: StudyFolder, plan: Plan) -> Any:
    optuna = _optuna()
    with place.locked():
        _cut_torn_line(place.journal)
        backend = optuna.storages.journal.JournalFileBackend(str(place.journal), lock_obj=_JournalLock(place.journal))
        return optuna.create_study(
            study_name=plan.name,
            storage=optuna.storages.JournalStorage(backend),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=_UNPRUNED),
            load_if_exists=True,
        )


class _JournalLock:
    """What Optuna takes around each line it writes. Its own locks are files that a killed process leaves behind."""

    def __init__(self, journal: Path) -> None:
        self._file = journal.with_suffix(".journal-lock")
        self._handle: IO[str] | None = None

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._handle = self._file.open("a")
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        """Let go."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None


def _cut_torn_line(journal: Path) -> None:
    """A process that died while writing leaves half a line, which nobody could read past."""
    if not journal.is_file():
        return
    content = journal.read_bytes()
    if content and not content.endswith(b"\n"):
        with journal.open("r+b") as handle:
            handle.truncate(content.rfind(b"\n") + 1)


def _is_held(file: Path) -> bool:
    try:
        handle = os.open(file, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    file.unlink(missing_ok=True)
    return False


def best_of(tried: Sequence[Tried]) -> Tried:
    """The least loss among those that saw all folds; of equals the earliest, so the usual settings first."""
    return min((t for t in tried if not t.pruned), key=lambda t: (t.loss, t.number))


def _optuna() -> Any:
    try:
        import optuna  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("tune", Text("tuning", "调参")) from None
    logging.getLogger("optuna").setLevel(logging.WARNING)
    return optuna
