"""Pictures: what an autoencoder of three minutes' reading sees, and files that are no pictures."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.sequences.items.made import items_of, own_kind_share

from ebbtide.core.errors import DataError, MissingExtraError
from ebbtide.sequences.items.picture_files import read_pictures
from ebbtide.sequences.items.pictures import PictureEncoder


def only(path: Path, size: int = 8) -> np.ndarray:
    """The pixels of one picture."""
    ((_, pictures),) = read_pictures([str(path)], size)
    assert not pictures.problems
    return pictures.pixels[0]


def test_the_nearest_picture_is_of_the_same_kind(pictures: pl.DataFrame) -> None:
    vectors = PictureEncoder(dims=16, epochs=60).fit(pictures, 0).encode(pictures).vectors
    assert own_kind_share(vectors, pictures["category"].to_list()) >= 0.8  # chance: 7 of 23


def test_training_brings_the_pictures_back_better(pictures: pl.DataFrame) -> None:
    torch = pytest.importorskip("torch", reason="the extra `deep` is not installed")
    train = pytest.importorskip("ebbtide.sequences.items.autoencoder").train_autoencoder
    ((_, found),) = read_pictures(pictures["picture"].to_list(), 64)
    x = torch.from_numpy(found.pixels).permute(0, 3, 1, 2).float() / 255
    nets = [train(found.pixels, 16, epochs, 0) for epochs in (1, 40)]
    with torch.no_grad():
        short, long = (float(((net(x) - x) ** 2).mean()) for net in nets)
    assert long < 0.5 * short


def test_files_that_are_no_pictures_are_counted_and_unknown(pictures: pl.DataFrame, tmp_path: Path) -> None:
    whole = Path(pictures["picture"][0]).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.png").write_bytes(b"")
    bad = ["cut.png", "text.jpg", "empty.png", "absent.png", "."]
    paths = [pictures["picture"][0], *(str(tmp_path / b) for b in bad), "https://example.com/a.jpg", None]
    vectors, problems = PictureEncoder(dims=4, epochs=1).fit(pictures, 0).encode(items_of(picture=paths))
    assert np.isfinite(vectors).all(axis=1).tolist() == [True] + [False] * 7
    assert problems == {"broken_file": 3, "missing_file": 2, "link": 1, "empty": 1}


def test_an_image_of_absurd_size_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = pytest.importorskip("PIL.Image", reason="the extra `deep` is not installed")
    image.new("L", (300, 300)).save(tmp_path / "large.png")
    for most in (80_000, 10_000):  # over the limit: a warning of Pillow; over twice the limit: an error
        monkeypatch.setattr(image, "MAX_IMAGE_PIXELS", most)
        ((_, pictures),) = read_pictures([str(tmp_path / "large.png")], 8)
        assert pictures.problems == {"broken_file": 1}


def test_every_mode_becomes_a_square_on_white(tmp_path: Path) -> None:
    """Transparent is white, grey is grey, a wide picture gets white bars above and below."""
    image = pytest.importorskip("PIL.Image", reason="the extra `deep` is not installed")
    image.new("RGBA", (20, 20), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    image.new("L", (20, 20), 100).save(tmp_path / "grey.png")
    image.new("RGB", (40, 20), (0, 0, 255)).save(tmp_path / "wide.bmp")
    image.new("P", (20, 20)).save(tmp_path / "palette.gif")
    image.new("I;16", (20, 20)).save(tmp_path / "deep.png")
    image.new("CMYK", (20, 20)).save(tmp_path / "print.jpg")
    assert (only(tmp_path / "clear.png") == 255).all()
    assert (only(tmp_path / "grey.png") == 100).all()
    wide = only(tmp_path / "wide.bmp")
    assert (wide[[0, 1, 6, 7]] == 255).all()
    assert (wide[3] == (0, 0, 255)).all()
    for name in ("palette.gif", "deep.png", "print.jpg"):
        assert only(tmp_path / name).shape == (8, 8, 3)


def test_a_picture_stands_as_the_camera_says(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="the extra `deep` is not installed")
    halves = np.zeros((8, 8, 3), np.uint8)
    halves[:4] = 255  # white above
    tags = image.Exif()
    tags[0x0112] = 3  # turned by 180 degrees
    image.fromarray(halves).save(tmp_path / "turned.png", exif=tags)
    pixels = only(tmp_path / "turned.png")
    assert pixels[0].max() == 0
    assert pixels[7].min() == 255


def test_no_readable_picture_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra `deep` is not installed")
    with pytest.raises(DataError, match="none of the 2 pictures of the items can be read"):
        PictureEncoder().fit(items_of(picture=["a.jpg", "http://x/y.jpg"]), 0)


def test_without_the_extra_the_command_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "ebbtide.sequences.items.autoencoder", raising=False)
    with pytest.raises(MissingExtraError, match=r"pip install 'ebbtide\[deep\]'"):
        PictureEncoder().fit(items_of(picture=["a.jpg"]), 0)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match="reading item pictures"):
        list(read_pictures(["a.jpg"], 8))
