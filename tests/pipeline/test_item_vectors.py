"""Item vectors of a workspace: which encoder, files found in it, problems told."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.sequences.items.made import items_of, write_pictures

from ebbtide.core.config import Config, parse_config
from ebbtide.core.errors import ConfigError, DataError
from ebbtide.pipeline.item_vectors import fit_item_vectors, problem_line, with_whole_paths

NOW = datetime(2024, 6, 1, tzinfo=UTC)


def config(**items: Any) -> Config:
    return parse_config({"items": items}, environ={})


@pytest.mark.parametrize(
    ("columns", "encoder"),
    [
        ({"text": ["mug", "red mug"], "vector": ["[1, 2]", None]}, "vector"),
        ({"text": ["mug", "red mug"], "picture": ["a.jpg", None]}, "text"),
        ({"picture": ["a.jpg", "b.jpg"]}, None),
    ],
)
def test_auto_takes_vectors_then_texts_and_never_pictures(
    tmp_path: Path, columns: dict[str, list[str]], encoder: str
) -> None:
    found = fit_item_vectors(config(), tmp_path, items_of(**columns), NOW)
    assert (found.encoder.name if found else None) == encoder


def test_what_is_not_known_yet_does_not_choose_the_encoder(tmp_path: Path) -> None:
    later = datetime(2024, 7, 1, tzinfo=UTC)
    items = items_of(text=["mug", "red mug"], vector=["[1, 2]", None], valid_from=[later, None])
    found = fit_item_vectors(config(), tmp_path, items, NOW)
    assert found is not None
    assert found.encoder.name == "text"
    assert len(found.item) == 1


def test_none_is_none_and_what_is_asked_for_must_be_there(tmp_path: Path) -> None:
    items = items_of(text=["mug", "red mug"])
    assert fit_item_vectors(config(encoder="none"), tmp_path, items, NOW) is None
    with pytest.raises(DataError, match="the vectors of the items must have one length; found: 0"):
        fit_item_vectors(config(encoder="vector"), tmp_path, items, NOW)
    with pytest.raises(ConfigError, match="encoder"):
        config(encoder="telepathy")


def test_pictures_are_found_from_the_workspace(tmp_path: Path) -> None:
    told = with_whole_paths(items_of(picture=["a/b.jpg", "/data/c.jpg", "https://x/y.jpg", None]), tmp_path)
    assert told["picture"].to_list() == [f"{tmp_path}/a/b.jpg", "/data/c.jpg", "https://x/y.jpg", None]


def test_pictures_end_to_end_and_their_problems_in_words(tmp_path: Path) -> None:
    names = [Path(p).name for p in write_pictures(tmp_path)["picture"].head(6)]
    items = items_of(picture=[*names, "absent.png", "ftp://x/y.png", None])
    found = fit_item_vectors(config(encoder="pictures", dims=4), tmp_path, items, NOW)
    assert found is not None
    assert found.vector.shape == (6, 4)
    line = problem_line(found)
    assert line is not None
    assert line.en == (
        "rows of the items table whose `picture` gave no vector: 1 without one; 1 that are links, which are not followed; "
        "1 whose file is not there"
    )
    assert "1 个文件不存在" in line.zh


def test_without_problems_nothing_is_said(tmp_path: Path) -> None:
    found = fit_item_vectors(config(), tmp_path, items_of(text=["mug", "red mug"]), NOW)
    assert found is not None
    assert problem_line(found) is None
