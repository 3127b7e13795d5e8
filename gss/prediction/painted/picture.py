"""Whatever holds colours, as one kind of thing: a picture that comes in bands of rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gss.io.images import UnreadableFile, image_to_tensor, to_image
from gss.prediction.painted.png.reader import PngReader
from gss.prediction.painted.png.writer import SIGNATURE

Grey = Literal["ids", "colors"]
BAND_PIXELS = 1 << 20  # decoded at once; each takes some 100 bytes on its way
_GREY_MODES = ("1", "L", "LA")
_LOSSY = ("JPEG", "MPO")  # Pillow's names; their values are never class ids


@dataclass(frozen=True)
class Picture:
    """height, width; `bands(rows)` gives it from top to bottom: as values uint8 (r, W) where `table` is the colour of
    each value, uint8 (n, 3), or `ids` says that they are class ids; else as (3, r, W), uint8 or floating 0..255.
    """

    name: str
    height: int
    width: int
    bands: Callable[[int], Iterator[Tensor]]
    table: np.ndarray | None = None
    ids: bool = False

    def rows(self) -> Iterator[tuple[slice, Tensor]]:
        """The bands with their rows, of about `BAND_PIXELS`."""
        top = 0
        for band in self.bands(max(BAND_PIXELS // self.width, 1)):
            rows = slice(top, top + band.shape[-2])
            yield rows, band
            top = rows.stop


@contextmanager
def open_picture(source: Any, grey: Grey) -> Iterator[Picture]:
    """A path, or an image in memory that `gss.io.images.to_image` takes, as a `Picture`.

    Raises:
        FileNotFoundError, UnreadableFile: no such file, or a damaged one, also while its bands are read.
        TypeError, ValueError: `grey` or `source` is none of the above.
    """
    if grey not in get_args(Grey):
        raise ValueError(f"grey: expected one of {', '.join(get_args(Grey))}, got {grey!r}")
    if not isinstance(source, (str, os.PathLike)):
        yield _in_memory(source, "image", grey)
        return
    path = Path(source)
    with path.open("rb") as file:
        is_png = file.read(len(SIGNATURE)) == SIGNATURE
    if not is_png:
        yield _through_pillow(path, grey)
        return
    with PngReader(path) as png:
        # Upright and deinterlaced only whole; neither is how large pictures are stored.
        if png.interlaced or png.orientation != 1:
            if grey == "ids" and png.channels < 3 and png.table is None and png.depth < 8:
                raise ValueError(f"{path}: expected grey class ids in an 8-bit PNG that is not interlaced")
            yield _through_pillow(path, grey)
        else:
            yield _from_png(png, grey)


def _from_png(png: PngReader, grey: Grey) -> Picture:
    name = str(png.path)
    if png.depth > 8:
        raise ValueError(f"{name}: expected an image of 8 bits a channel, got {png.depth}")
    if png.channels >= 3:

        def colors(rows: int) -> Iterator[Tensor]:
            for band in png.bands(rows):
                yield torch.from_numpy(band).permute(2, 0, 1)[:3]

        return Picture(name, png.height, png.width, colors)

    def values(rows: int) -> Iterator[Tensor]:
        for band in png.bands(rows):
            yield torch.from_numpy(band if band.ndim == 2 else band[..., 0])

    if png.table is not None:
        return Picture(name, png.height, png.width, values, table=png.table)
    if grey == "ids":
        return Picture(name, png.height, png.width, values, ids=True)
    brightest = (1 << png.depth) - 1
    levels = np.arange(brightest + 1, dtype=np.uint8) * np.uint8(255 // brightest)
    return Picture(name, png.height, png.width, values, table=levels[:, None].repeat(3, 1))


def _through_pillow(path: Path, grey: Grey) -> Picture:
    """The whole picture in memory, 3 bytes a pixel; Pillow refuses sizes that no honest picture has."""
    try:
        image = Image.open(path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableFile(f"{path}: cannot be read as an image ({error})") from error
    with image:
        return _in_memory(image, str(path), "colors" if image.format in _LOSSY else grey)


def _in_memory(source: Any, name: str, grey: Grey) -> Picture:
    if isinstance(source, Image.Image):
        image = image_to_tensor(source, name)
        is_grey = source.mode in _GREY_MODES
    else:
        image = to_image(source)
        is_grey = isinstance(source, np.ndarray) and source.ndim == 2
    if not (is_grey and grey == "ids"):
        return picture_of(image, name)
    values = image[0]
    if isinstance(source, Image.Image) and source.mode == "1":
        values = values // 255  # Pillow shows the value 1 as white
    return replace(picture_of(values, name), ids=True)


def picture_of(image: Tensor, name: str = "image") -> Picture:
    """A tensor (3, H, W), uint8 or floating 0..1, as a `Picture`."""

    def bands(rows: int) -> Iterator[Tensor]:
        for band in image.split(rows, dim=-2):
            yield band.float() * 255 if band.is_floating_point() else band

    return Picture(name, image.shape[-2], image.shape[-1], bands)
