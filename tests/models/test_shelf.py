"""The shelf: what is current, what was before it, and that nothing else changes it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebbtide.core.errors import InputError, MissingBundleError, RetryError
from ebbtide.models.shelf import Shelf

NAMES = ["a", "b", "c"]


@pytest.fixture
def shelf(tmp_path):
    """A shelf with three bundles, none of them current."""
    for name in NAMES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(json.dumps({"schema_version": 0}))
    return Shelf(tmp_path)


def test_an_empty_shelf_says_what_to_do(tmp_path):
    shelf = Shelf(tmp_path / "none")
    assert (shelf.ids(), shelf.history()) == ([], [])
    with pytest.raises(MissingBundleError, match="run `ebbtide train` first"):
        shelf.current_id()
    with pytest.raises(MissingBundleError, match="run `ebbtide train` first"):
        shelf.load()
    with pytest.raises(InputError, match="no earlier bundle"):
        shelf.roll_back()


def test_bundles_without_promotion_are_not_current(shelf):
    assert shelf.ids() == NAMES
    with pytest.raises(MissingBundleError):
        shelf.current_id()


def test_the_promoted_bundle_is_current(shelf):
    for name in ("b", "a"):
        shelf.promote(name)
        assert shelf.current_id() == name


def test_rolling_back_undoes_promotions_one_by_one(shelf):
    for name in ("a", "b", "c"):
        shelf.promote(name)
    assert [shelf.roll_back(), shelf.roll_back()] == ["b", "a"]
    with pytest.raises(InputError, match="no earlier bundle"):
        shelf.roll_back()
    assert shelf.current_id() == "a"


def test_promoting_the_current_bundle_again_changes_nothing(shelf):
    """Else a roll-back would lead to the same bundle."""
    for name in ("a", "b", "b"):
        shelf.promote(name)
    assert shelf.history() == ["a", "b"]
    assert shelf.roll_back() == "a"


@given(steps=st.lists(st.sampled_from([*NAMES, "back"]), max_size=12))
@settings(max_examples=30, deadline=None)
def test_the_history_is_a_stack(steps, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shelf")
    for name in NAMES:
        (folder / name).mkdir()
        (folder / name / "manifest.json").write_text("{}")
    shelf, expected = Shelf(folder), []
    for step in steps:
        if step != "back":
            shelf.promote(step)
            expected += [step] if expected[-1:] != [step] else []
        elif len(expected) > 1:
            expected.pop()
            assert shelf.roll_back() == expected[-1]
        assert Shelf(folder).history() == expected


def test_an_unknown_bundle_is_refused_with_the_known_ones(shelf):
    shelf.promote("a")
    for act in (shelf.promote, shelf.load):
        with pytest.raises(InputError, match="no bundle `z`; there are: a, b, c"):
            act("z")
    assert shelf.history() == ["a"]


def test_what_a_killed_writer_left_behind_is_no_bundle(shelf):
    (shelf.folder / ".writing-x").mkdir()
    (shelf.folder / ".writing-x" / "manifest.json").write_text("{}")
    assert shelf.ids() == NAMES


def test_a_disk_that_refuses_keeps_the_current_bundle(shelf, monkeypatch):
    shelf.promote("a")

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(RetryError, match=r"\(No space left on device\): it stays as it was"):
        shelf.promote("b")
    assert shelf.current_id() == "a"
    assert sorted(p.name for p in shelf.folder.iterdir()) == ["a", "b", "c", "history"]
