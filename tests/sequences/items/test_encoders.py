"""The exam of every item encoder: the same laws for all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.sequences.items.made import fake_torchvision, items_of, write_tiny_bert

from ebbtide.core.errors import DataError, MissingBundleError
from ebbtide.sequences.items.backbone import BackboneEncoder
from ebbtide.sequences.items.encoder import ItemEncoder
from ebbtide.sequences.items.encoders import ENCODERS, load_encoder
from ebbtide.sequences.items.pictures import PictureEncoder
from ebbtide.sequences.items.ready import ReadyEncoder
from ebbtide.sequences.items.sentence import SentenceEncoder
from ebbtide.sequences.items.text import TextEncoder

Made = tuple[ItemEncoder, pl.DataFrame]


@pytest.fixture(params=sorted(ENCODERS))
def made(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """An encoder before fitting, and items for it."""
    fixture = request.getfixturevalue
    match request.param:
        case "text":
            return TextEncoder(dims=8), fixture("goods")
        case "vector":
            return ReadyEncoder(), fixture("goods")
        case "sentence":
            return SentenceEncoder(str(write_tiny_bert(tmp_path / "bert")), dims=8), fixture("goods")
        case "pictures":
            return PictureEncoder(dims=8, epochs=2), fixture("pictures")
        case _:
            items = fixture("pictures").head(6)
            return BackboneEncoder("tinynet", str(fake_torchvision(tmp_path, monkeypatch)), dims=4), items


def test_every_encoder_is_examined() -> None:
    assert len(ENCODERS) == 5
    assert all(name == kind.name for name, kind in ENCODERS.items())


def test_vectors_have_their_shape_and_inputs_stay_as_they_were(made: Made) -> None:
    encoder, items = made
    before = items.clone()
    vectors, problems = encoder.fit(items, 0).encode(items)
    assert vectors.shape == (len(items), vectors.shape[1])
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert not problems
    assert items.equals(before)


def test_the_order_of_items_and_their_company_change_nothing(made: Made) -> None:
    encoder, items = made
    order = np.random.default_rng(3).permutation(len(items))
    whole = encoder.fit(items, 0).encode(items).vectors
    shuffled = encoder.fit(items[order], 0)
    np.testing.assert_allclose(shuffled.encode(items[order]).vectors, whole[order], atol=1e-5)
    np.testing.assert_allclose(shuffled.encode(items[[2]]).vectors, whole[[2]], atol=1e-5)


def test_copies_of_an_item_add_nothing(made: Made) -> None:
    """A catalogue with a new price every day is fitted like one with a single row an item."""
    encoder, items = made
    whole = encoder.fit(items, 0).encode(items).vectors
    again = encoder.fit(pl.concat([items] * 3), 0).encode(pl.concat([items, items])).vectors
    np.testing.assert_allclose(again, np.concatenate([whole, whole]), atol=1e-5)


def test_saved_and_loaded_it_says_the_same(made: Made, tmp_path: Path) -> None:
    encoder, items = made
    fitted = encoder.fit(items, 0)
    folder = tmp_path / "saved"
    folder.mkdir()
    fitted.save(folder)
    loaded = load_encoder(encoder.name, folder)
    assert np.array_equal(loaded.encode(items).vectors, fitted.encode(items).vectors)
    assert {p.suffix for p in folder.iterdir()} <= {".npz", ".json"}


def test_an_empty_value_is_unknown_and_counted(made: Made) -> None:
    encoder, items = made
    some = items.with_columns(pl.lit(None, pl.String).alias(encoder.column)).head(2)
    vectors, problems = encoder.fit(items, 0).encode(pl.concat([items.head(1), some]))
    assert np.isfinite(vectors[0]).all()
    assert np.isnan(vectors[1:]).all()
    assert problems == {"empty": 2}


def test_nobody_is_encoded_as_nobody(made: Made) -> None:
    encoder, items = made
    fitted = encoder.fit(items, 0)
    assert fitted.encode(items.clear()).vectors.shape == (0, fitted.encode(items).vectors.shape[1])


def test_nothing_to_learn_from_is_an_error_that_says_so(made: Made) -> None:
    encoder, items = made
    nothing = items.with_columns(pl.lit(None, pl.String).alias(encoder.column))
    with pytest.raises(DataError, match=r"no item has a text|must have one length|none of the 0 pictures"):
        encoder.fit(nothing, 0)


def test_one_item_is_enough_to_go_on(made: Made) -> None:
    encoder, items = made
    vectors = encoder.fit(items.head(1), 0).encode(items.head(1)).vectors
    assert vectors.shape[0] == 1
    assert np.isfinite(vectors).all()


def test_an_unknown_encoder_in_a_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingBundleError, match="`telepathy`"):
        load_encoder("telepathy", tmp_path)


def test_vectors_of_several_lengths_are_refused_when_fitted_and_counted_later() -> None:
    mixed = items_of(vector=["[1, 2]", "[1, 2, 3]", "[3, 4]"])
    with pytest.raises(DataError, match="2 × 2, 1 × 3"):
        ReadyEncoder().fit(mixed, 0)
    vectors, problems = ReadyEncoder(2).encode(mixed)
    assert vectors[[0, 2]].tolist() == [[1, 2], [3, 4]]
    assert np.isnan(vectors[1]).all()
    assert problems == {"other_length": 1}
