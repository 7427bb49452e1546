"""Sealed folders: whole or absent, replaced whole, verified when read."""

from __future__ import annotations

import os

import pytest

from ebbtide.core.errors import MissingBundleError
from ebbtide.models import sealed
from ebbtide.models.sealed import read_sealed, write_sealed


def writer(text):
    return lambda folder: (folder / "part.txt").write_text(text, encoding="utf-8")


def test_what_is_written_is_read_back(tmp_path):
    write_sealed(tmp_path / "model", writer("one"), {"schema_version": 3, "about": "x"})
    manifest = read_sealed(tmp_path / "model", 3)
    assert manifest["about"] == "x"
    assert list(manifest["files"]) == ["part.txt"]


def test_a_folder_that_stands_there_is_replaced_whole(tmp_path):
    write_sealed(tmp_path / "model", writer("one"), {"schema_version": 3})
    (tmp_path / "model" / "stray.txt").write_text("left over")
    write_sealed(tmp_path / "model", writer("two"), {"schema_version": 3})
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["manifest.json", "part.txt"]
    assert (tmp_path / "model" / "part.txt").read_text() == "two"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_move_that_fails_leaves_the_old_folder_whole(tmp_path, monkeypatch):
    write_sealed(tmp_path / "model", writer("one"), {"schema_version": 3})
    real = os.replace

    def refuse(source, target):
        if ".writing-" in str(source):
            raise OSError("disk")
        real(source, target)

    monkeypatch.setattr(sealed.os, "replace", refuse)
    with pytest.raises(OSError, match="disk"):
        write_sealed(tmp_path / "model", writer("two"), {"schema_version": 3})
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "part.txt").read_text() == "one"
    assert read_sealed(tmp_path / "model", 3)


@pytest.mark.parametrize("name", ["part.txt", "manifest.json"])
def test_a_changed_file_is_found(name, tmp_path):
    write_sealed(tmp_path / "model", writer("one"), {"schema_version": 3, "about": "x"})
    file = tmp_path / "model" / name
    file.write_text(file.read_text().replace("one", "two").replace('"x"', '"y"'))
    with pytest.raises(MissingBundleError, match=f"damaged: {name} differ"):
        read_sealed(tmp_path / "model", 3)


def test_another_schema_is_refused(tmp_path):
    write_sealed(tmp_path / "model", writer("one"), {"schema_version": 3})
    with pytest.raises(MissingBundleError, match="schema version 3, this version reads 4"):
        read_sealed(tmp_path / "model", 4)
