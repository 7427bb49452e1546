"""Every item encoder by its name, as `items.encoder` calls it.

To add one: write one file with a class that keeps `encoder.ItemEncoder`, and name it here.
"""

from __future__ import annotations

from pathlib import Path

from ebbtide.core.errors import MissingBundleError
from ebbtide.core.settings import ItemsConfig
from ebbtide.sequences.items.backbone import BackboneEncoder
from ebbtide.sequences.items.encoder import ItemEncoder
from ebbtide.sequences.items.pictures import PictureEncoder
from ebbtide.sequences.items.ready import ReadyEncoder
from ebbtide.sequences.items.sentence import SentenceEncoder
from ebbtide.sequences.items.text import TextEncoder

ENCODERS: dict[str, type[ItemEncoder]] = {
    kind.name: kind for kind in (TextEncoder, SentenceEncoder, PictureEncoder, BackboneEncoder, ReadyEncoder)
}


def make_encoder(name: str, config: ItemsConfig, root: Path) -> ItemEncoder:
    """An encoder to be fitted, as the config asks; files are looked for in the workspace `root`."""
    match name:
        case "text":
            return TextEncoder(config.dims)
        case "sentence":
            return SentenceEncoder(_local(config.model, root), config.dims)
        case "pictures":
            return PictureEncoder(config.dims)
        case "backbone":
            return BackboneEncoder(config.model, _local(config.weights, root), config.dims)
        case _:
            return ReadyEncoder()


def load_encoder(name: str, folder: Path) -> ItemEncoder:
    """A fitted encoder from its folder. Raises MissingBundleError for a name that this version does not know."""
    if name not in ENCODERS:
        raise MissingBundleError(
            "the bundle holds an item encoder that this version does not know: `{name}`; train again",
            "模型包含有此版本不认识的商品编码器：`{name}`；请重新训练",
            name=name,
        )
    return ENCODERS[name].load(folder)


def _local(name: str, root: Path) -> str:
    """A file or folder of the workspace as a whole path; anything else (a name on the hub) as it is."""
    return str((root / name).resolve()) if name and (root / name).exists() else name
