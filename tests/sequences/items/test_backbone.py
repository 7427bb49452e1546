"""A torchvision network with given weights; torchvision itself is played by a net of one layer."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.sequences.items.made import fake_torchvision

from ebbtide.core.errors import InputError, MissingBundleError, MissingExtraError
from ebbtide.sequences.items.backbone import BackboneEncoder


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return str(fake_torchvision(tmp_path, monkeypatch))


def test_the_last_layer_is_left_out_and_colour_decides(pictures: pl.DataFrame, weights: str) -> None:
    vectors = BackboneEncoder("tinynet", weights, dims=0).fit(pictures, 0).encode(pictures).vectors
    assert vectors.shape == (24, 6)
    kinds = pictures["category"].cast(pl.Int64).to_numpy()
    centres = np.stack([vectors[kinds == k].mean(axis=0) for k in range(3)])
    nearest = np.linalg.norm(vectors[:, None] - centres, axis=2).argmin(axis=1)
    assert (nearest == kinds).mean() > 0.9


def test_weights_in_safetensors_are_the_same(pictures: pl.DataFrame, weights: str, tmp_path: Path) -> None:
    torch, safetensors = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    safetensors.save_file(torch.load(weights, weights_only=True), tmp_path / "same.safetensors")
    items = pictures.head(4)
    one = BackboneEncoder("tinynet", weights, dims=3).fit(items, 0).encode(items).vectors
    two = BackboneEncoder("tinynet", str(tmp_path / "same.safetensors"), dims=3).fit(items, 0).encode(items).vectors
    assert np.array_equal(one, two)


@pytest.mark.parametrize(("model", "file"), [("nonet", "tinynet.pth"), ("tinynet", "absent.pth")])
def test_an_unknown_network_or_file_is_named(pictures: pl.DataFrame, weights: str, model: str, file: str) -> None:
    with pytest.raises(InputError, match=f"got `{model}` and `.*{file}`"):
        BackboneEncoder(model, str(Path(weights).with_name(file))).fit(pictures, 0)


def test_weights_of_another_network_are_refused(pictures: pl.DataFrame, weights: str) -> None:
    with pytest.raises(InputError, match=r"the weights in tinynet.pth do not fit `othernet`"):
        BackboneEncoder("othernet", weights).fit(pictures, 0)


def test_other_weights_in_the_same_file_are_found_out(pictures: pl.DataFrame, weights: str, tmp_path: Path) -> None:
    (tmp_path / "saved").mkdir()
    BackboneEncoder("tinynet", weights, dims=2).fit(pictures.head(4), 0).save(tmp_path / "saved")
    Path(weights).write_bytes(b"other")
    with pytest.raises(MissingBundleError, match=r"put tinynet.pth back, or train again"):
        BackboneEncoder.load(tmp_path / "saved")


def test_without_torchvision_the_command_is_told(pictures: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ebbtide\[pictures\]'"):
        BackboneEncoder("resnet18", "x.pth").fit(pictures, 0)
