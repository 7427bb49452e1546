"""The search for settings: deterministic, resumable, shared; nothing lost and nothing tried twice."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from ebbtide.core.errors import MissingExtraError, RetryError
from ebbtide.models.space import OneOf, Real, Whole, usual_values
from ebbtide.pipeline.study import Plan, StudyFolder, best_of, search

pytest.importorskip("optuna", reason="the extra `tune` is not installed")

SPACE = {"x": Real(0.1, 10.0, usual=1.0, log=True), "n": Whole(1, 5, usual=2), "kind": OneOf(("a", "b"), usual="a")}
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["ebbtide.pipeline.study", "optuna"])


def plan(trials: int = 12, **options) -> Plan:
    return Plan(**{"name": "study", "space": SPACE, "trials": trials, "sampler": "random", **options})


def bowl(values):
    """Three folds; least at x = 3, n = 4, kind b."""
    loss = abs(values["x"] - 3) + abs(values["n"] - 4) + (values["kind"] == "a")
    yield from (loss + 0.1, loss + 0.2, loss + 0.1)


def told(tried):
    return [(tuple(sorted(t.values.items())), t.losses, t.pruned) for t in tried]


@pytest.fixture
def place(tmp_path: Path) -> StudyFolder:
    return StudyFolder(tmp_path / "tuning", "model")


def elsewhere(place: StudyFolder, name: str) -> StudyFolder:
    return StudyFolder(place.folder.parent / name, "model")


def test_the_first_trial_is_the_model_as_it_comes(place):
    first = search(place, plan(3), bowl)[0]
    assert first.values == usual_values(SPACE) == {"x": 1.0, "n": 2, "kind": "a"}


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_the_same_seed_tries_the_same_and_another_seed_something_else(place, sampler):
    one = search(place, plan(sampler=sampler), bowl)
    assert told(search(elsewhere(place, "again"), plan(sampler=sampler), bowl)) == told(one)
    assert told(search(elsewhere(place, "other"), plan(sampler=sampler, seed=1), bowl)) != told(one)


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_resumed_or_not_it_tries_the_same(place, sampler):
    whole = search(place, plan(12, sampler=sampler), bowl)
    parts = elsewhere(place, "parts")
    for trials in (1, 5, 5, 12):
        tried = search(parts, plan(trials, sampler=sampler), bowl)
        assert len(tried) == trials
    assert told(tried) == told(whole)


def test_tpe_finds_what_is_better(place):
    found = best_of(search(place, plan(40, sampler="tpe"), bowl))
    assert found.loss < 1.0 < next(bowl(usual_values(SPACE)))


def test_what_is_worse_than_the_median_after_a_fold_is_given_up(place):
    tried = search(place, plan(20), bowl)
    pruned = [t for t in tried if t.pruned]
    assert pruned
    assert not any(t.pruned for t in tried[:4]), "a median needs something to be a median of"
    assert all(len(t.losses) < 3 for t in pruned)
    assert all(len(t.losses) == 3 for t in tried if not t.pruned)
    assert best_of(tried) == min((t for t in tried if not t.pruned), key=lambda t: t.loss)


def test_of_equals_the_earliest_wins(place):
    """So the usual settings stay unless something is better."""
    assert best_of(search(place, plan(6), lambda _: iter((1.0,)))).values == usual_values(SPACE)


def test_a_grid_is_tried_point_by_point_and_then_ends(place):
    space = {"x": Real(0.1, 10.0, usual=1.0, log=True), "kind": OneOf(("a", "b"), usual="a")}
    tried = search(place, plan(50, space=space, sampler="grid"), lambda _: iter((1.0,)))
    points = {(t.values["x"], t.values["kind"]) for t in tried}
    assert points == {(x, k) for x in (0.1, 1.0, 10.0) for k in "ab"}
    assert len(tried) == len(points)


def test_a_loss_that_is_no_number_is_the_worst_of_all(place):
    tried = search(place, plan(6), lambda v: iter((float("nan") if v["kind"] == "b" else 1.0,)))
    assert len(tried) == 6
    assert best_of(tried).values["kind"] == "a"


def test_when_the_time_is_over_it_ends_and_the_last_trial_is_kept_for_later(place):
    def slow(values):
        for loss in bowl(values):
            time.sleep(0.05)
            yield loss

    tried = search(place, plan(100, seconds=0.4), slow)
    assert 1 <= len(tried) < 20
    more = search(place, plan(len(tried) + 1), bowl)
    assert told(more) == told(search(elsewhere(place, "calm"), plan(len(tried) + 1), bowl))


def test_without_any_time_one_trial_is_still_brought_to_its_end(place):
    (only,) = search(place, plan(9, seconds=0.0), bowl)
    assert not only.pruned


def test_studies_of_other_names_have_nothing_to_do_with_it(place):
    search(place, plan(3, name="old data"), bowl)
    assert len(search(place, plan(2, name="new data"), bowl)) == 2
    assert len(search(place, plan(3, name="old data"), bowl)) == 3


def test_forgotten_it_starts_anew(place):
    search(place, plan(4), bowl)
    place.forget()
    assert len(search(place, plan(2), bowl)) == 2


def test_nothing_is_forgotten_under_another_process(place):
    with place.worker(), pytest.raises(RetryError, match="another process is tuning `model`"):
        place.forget()
    place.forget()


def _slowly(values):
    for loss in bowl(values):
        time.sleep(0.02)
        yield loss


def _work(folder: Path, trials: int, marks: Path, hang_at: int | None) -> None:
    """In a process of its own: leave a mark for each trial begun; at one of them wait to be killed."""

    def losses(values):
        (marks / f"{os.getpid()}-{time.monotonic_ns()}.json").write_text(json.dumps(values))
        if hang_at is not None and len(list(marks.iterdir())) > hang_at:
            (marks.parent / "hanging").touch()
            time.sleep(60)
        yield from _slowly(values)

    search(StudyFolder(folder, "model"), plan(trials), losses)


def _start(place: StudyFolder, marks: Path, trials: int, hang_at: int | None = None):
    marks.mkdir(exist_ok=True)
    child = FORKS.Process(target=_work, args=(place.folder, trials, marks, hang_at))
    child.start()
    return child


def test_a_killed_trial_is_neither_lost_nor_doubled(place, tmp_path):
    """Killed in the midst of its fourth trial and resumed, the study is the one that was never killed."""
    child = _start(place, tmp_path / "marks", 8, hang_at=3)
    while not (tmp_path / "hanging").exists():
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    tried = search(place, plan(8), bowl)
    assert told(tried) == told(search(elsewhere(place, "calm"), plan(8), bowl))


def test_settings_that_kill_three_times_are_left_alone(place, tmp_path):
    for number in range(4):
        marks = tmp_path / f"{number}"
        child = _start(place, marks, 3, hang_at=0)
        while not (tmp_path / "hanging").exists():
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        (tmp_path / "hanging").unlink()
    begun = [json.loads(f.read_text()) for n in range(4) for f in (tmp_path / f"{n}").iterdir()]
    assert begun[:3] == [usual_values(SPACE)] * 3
    assert begun[3] != usual_values(SPACE)


def test_two_processes_share_one_study(place, tmp_path):
    """As many trials as were asked for, by both, none of them twice."""
    marks = tmp_path / "marks"
    children = [_start(place, marks, 24) for _ in range(2)]
    for child in children:
        child.join()
    tried = search(place, plan(24), bowl)
    assert len(tried) == 24
    assert set(Counter(t for t, _, _ in told(tried)).values()) == {1}
    begun = Counter(f.name.split("-")[0] for f in marks.iterdir())
    assert len(begun) == 2
    assert sum(begun.values()) == 24


def test_half_a_line_at_the_end_of_the_journal_is_cut_off(place):
    search(place, plan(3), bowl)
    with place.journal.open("a") as handle:
        handle.write('{"op_code": 4, "work')
    assert told(search(place, plan(6), bowl)) == told(search(elsewhere(place, "calm"), plan(6), bowl))


def test_nobody_leaves_anything_but_the_journal(place):
    search(place, plan(3), bowl)
    assert sorted(f.suffix for f in place.folder.iterdir()) == [".journal", ".journal-lock", ".lock"]


def test_without_the_extra_it_says_what_to_install(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"ebbtide\[tune\]"):
        search(place, plan(3), bowl)
