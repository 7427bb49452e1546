"""Reading picture files: squares of one size, white where there was nothing; what cannot be read is counted."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ebbtide.core.errors import MissingExtraError
from ebbtide.core.language import Text

Pixels = NDArray[np.uint8]
_CHUNK = 256


class Pictures(NamedTuple):
    """pixels (R, size, size, 3) of those that could be read; at (R,) their places in the chunk; problems counted."""

    pixels: Pixels
    at: NDArray[np.int64]
    problems: Counter[str]


def read_pictures(paths: Sequence[str], size: int) -> Iterator[tuple[int, Pictures]]:
    """The pictures in chunks, each with the place of its first; memory is bounded by a chunk.

    Problems: `link` (not a file here), `missing_file`, `broken_file` (not an image, cut off, or of absurd size).
    """
    image = _pillow()
    for start in range(0, len(paths), _CHUNK):
        found: list[Pixels] = []
        at: list[int] = []
        problems: Counter[str] = Counter()
        for place, path in enumerate(paths[start : start + _CHUNK]):
            problem = "link" if "://" in path else "" if Path(path).is_file() else "missing_file"
            if not problem:
                pixels = _square(image, path, size)
                if pixels is not None:
                    found.append(pixels)
                    at.append(place)
                    continue
                problem = "broken_file"
            problems[problem] += 1
        stacked = np.stack(found) if found else np.zeros((0, size, size, 3), np.uint8)
        yield start, Pictures(stacked, np.array(at, np.int64), problems)


def _square(image: Any, path: str, size: int) -> Pixels | None:
    """(size, size, 3): turned as the camera says, transparency on white, fitted into the square; None if unreadable."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", image.Image.DecompressionBombWarning)
            with image.Image.open(path) as opened:
                opened.draft("RGB", (size, size))  # JPEG: decode no more than needed
                turned = image.ImageOps.exif_transpose(opened)
                whole = turned.convert("RGBA")
    except (OSError, SyntaxError, ValueError, image.Image.DecompressionBombError, image.Image.DecompressionBombWarning):
        return None
    white = image.Image.new("RGBA", whole.size, (255, 255, 255, 255))
    flat = image.Image.alpha_composite(white, whole).convert("RGB")
    padded = image.ImageOps.pad(flat, (size, size), color=(255, 255, 255))
    return np.asarray(padded, np.uint8)


def _pillow() -> Any:
    try:
        import PIL.Image  # noqa: PLC0415  an optional dependency
        import PIL.ImageOps  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("deep", Text("reading item pictures", "读取商品图片")) from None
    return PIL
