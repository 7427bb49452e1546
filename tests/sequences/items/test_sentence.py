"""sentence-transformers, tried on a tiny random BERT that is built on the spot: no network."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.sequences.items.made import write_tiny_bert

from ebbtide.core.errors import InputError, MissingBundleError, MissingExtraError
from ebbtide.sequences.items import sentence
from ebbtide.sequences.items.sentence import SentenceEncoder


def test_vectors_are_reduced_to_the_dims_asked_for(goods: pl.DataFrame, tmp_path: Path) -> None:
    model = str(write_tiny_bert(tmp_path))
    assert SentenceEncoder(model, dims=5).fit(goods, 0).encode(goods).vectors.shape == (15, 5)
    assert SentenceEncoder(model, dims=0).fit(goods, 0).encode(goods).vectors.shape == (15, 15)


def test_the_reduction_keeps_distances(goods: pl.DataFrame, tmp_path: Path) -> None:
    """15 texts differ in 14 directions at most, so nothing is lost in 15 of 16."""
    model = str(write_tiny_bert(tmp_path))
    whole = sentence._vectors(model, goods["text"])
    kept = SentenceEncoder(model, dims=15).fit(goods, 0).encode(goods).vectors
    np.testing.assert_allclose(
        np.linalg.norm(kept[0] - kept, axis=1), np.linalg.norm(whole[0] - whole, axis=1), atol=1e-4
    )


def test_another_model_under_the_same_name_is_found_out(goods: pl.DataFrame, tmp_path: Path) -> None:
    model = write_tiny_bert(tmp_path / "a")
    (tmp_path / "saved").mkdir()
    SentenceEncoder(str(model), dims=4).fit(goods, 0).save(tmp_path / "saved")
    write_tiny_bert(tmp_path / "b", seed=1).rename(tmp_path / "other")
    model.rename(tmp_path / "old")
    (tmp_path / "other").rename(model)
    sentence._load.cache_clear()
    with pytest.raises(MissingBundleError, match="is not the one that this bundle was trained with"):
        SentenceEncoder.load(tmp_path / "saved")


def test_a_folder_without_a_model_is_named(
    goods: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sentence_transformers", reason="the extra `text` is not installed")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match=r"is no sentence-transformers model that can be loaded"):
        SentenceEncoder(str(tmp_path / "nothing")).fit(goods, 0)


def test_without_the_extra_the_command_is_told(goods: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    sentence._load.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install 'ebbtide\[text\]'"):
        SentenceEncoder("any").fit(goods, 0)
