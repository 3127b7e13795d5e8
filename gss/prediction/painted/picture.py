"""Files, Pillow images, arrays and tensors as one kind of thing: a picture that comes in bands of rows."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gss.io.images import require_8_bits, to_image
from gss.io.pillow import UnreadableFile, check_png, open_image, raw_mode
from gss.io.rows import is_streamed, load_rows, open_rows

Grey = Literal["ids", "colors"]
BAND_PIXELS = 1 << 20  # decoded at once; each takes some 100 bytes on its way
MAX_WIDTH = 1 << 24  # pixels; a row and everything it is decoded through are in memory whole
_GREY_MODES = ("1", "L", "LA")
_LOSSY = ("JPEG", "MPO")  # Pillow's names; their values are never class ids


@dataclass(frozen=True)
class Picture:
    """A picture to decode.

    name: begins the messages of errors.
    height, width: in pixels.
    bands: gives the picture from top to bottom in bands of so many rows: (3, r, W), uint8 or floating 0..255, or uint8
        (r, W) with a table or ids.
    table: uint8 (n, 3), the colours of the values, or None.
    ids: the values are class ids.
    """

    name: str
    height: int
    width: int
    bands: Callable[[int], Iterator[Tensor]]
    table: np.ndarray | None = None
    ids: bool = False

    def rows(self) -> Iterator[tuple[slice, Tensor]]:
        """The bands with their rows, of about `BAND_PIXELS`. Raises UnreadableFile for a damaged file."""
        top = 0
        for band in self.bands(max(BAND_PIXELS // self.width, 1)):
            rows = slice(top, top + band.shape[-2])
            yield rows, band
            top = rows.stop


def open_picture(source: Any, grey: Grey) -> Picture:
    """A path, or an image in memory that `gss.io.images.to_image` takes, as a `Picture`.

    Raises:
        FileNotFoundError, UnreadableFile: no such file, or a damaged one.
        TypeError, ValueError: `grey` or `source` is none of the above.
    """
    if grey not in get_args(Grey):
        raise ValueError(f"grey: expected one of {', '.join(get_args(Grey))}, got {grey!r}")
    if isinstance(source, (str, os.PathLike)):
        return _from_file(Path(source), grey)
    if isinstance(source, Image.Image):
        return _from_pillow(source, "image", grey)
    if isinstance(source, np.ndarray) and source.ndim == 2 and grey == "ids":
        return _from_values(to_image(source)[0])
    return from_tensor(to_image(source))


def from_tensor(image: Tensor) -> Picture:
    """A tensor (3, H, W), uint8 or floating 0..1, as a `Picture`."""

    def bands(rows: int) -> Iterator[Tensor]:
        for band in image.split(rows, dim=-2):
            yield band.float() * 255 if band.is_floating_point() else band

    return Picture("image", image.shape[-2], image.shape[-1], bands)


def pillow_limit() -> int | None:
    """The number of pixels above which Pillow refuses a file, None where that was switched off."""
    return 2 * Image.MAX_IMAGE_PIXELS if Image.MAX_IMAGE_PIXELS else None


def _from_values(values: Tensor) -> Picture:
    height, width = values.shape
    return Picture("image", height, width, lambda rows: iter(values.split(rows)), ids=True)


def _from_file(path: Path, grey: Grey) -> Picture:
    with open_image(path, any_size=True) as image:
        if image.mode == "P" and image.palette is not None and len(image.palette.palette) % 3:
            raise UnreadableFile(f"{path}: cannot be read as an image (an incomplete colour table)")
        if ";16" in raw_mode(image):
            raise ValueError(f"{path}: expected an image of 8 bits a channel, got 16")
        if image.format == "PNG":
            check_png(path)
        if is_streamed(image):
            return _from_rows(path, image, grey)
        limit = pillow_limit()
        if limit is not None and image.width * image.height > limit:
            return _too_large(path, image, limit)
        return _from_pillow(image, str(path), "colors" if image.format in _LOSSY else grey)


def _from_pillow(image: Image.Image, name: str, grey: Grey) -> Picture:
    """A Pillow image, opened or made in memory."""
    require_8_bits(name, image)
    ids = grey == "ids" and image.mode in _GREY_MODES
    step = _stretch(image)
    height, width, rows_of = load_rows(name, image)
    table = None
    if image.mode == "P":
        table = np.array(image.getpalette("RGB") or (), np.uint8).reshape(-1, 3)

    def bands(rows: int) -> Iterator[Tensor]:
        for band in rows_of(rows):
            if table is not None:
                yield torch.from_numpy(np.array(band))
            elif ids:
                values = np.array(band.convert("L") if band.mode == "1" else band.getchannel(0))
                yield torch.from_numpy(values // step)
            else:
                yield torch.from_numpy(np.array(band.convert("RGB"))).permute(2, 0, 1)

    return Picture(name, height, width, bands, table, ids)


def _from_rows(path: Path, image: Image.Image, grey: Grey) -> Picture:
    """A large file, read through libvips; `image` is its header."""
    ids = grey == "ids" and image.mode in _GREY_MODES
    step = _stretch(image)
    table = None
    if image.format == "PNG" and image.mode == "P" and image.palette is not None:
        table = np.frombuffer(bytes(image.palette.palette), np.uint8).reshape(-1, 3)
    height, width, rows_of = open_rows(path, index_png=table is not None)
    if width > MAX_WIDTH:
        raise ValueError(f"{path}: expected at most {MAX_WIDTH} pixels a row, got {width}")

    def bands(rows: int) -> Iterator[Tensor]:
        for band in rows_of(rows):
            if ids or table is not None:
                yield torch.from_numpy(band[..., 0] // step)
            else:
                colors = band[..., :3] if band.shape[-1] >= 3 else band[..., :1].repeat(3, axis=-1)
                yield torch.from_numpy(np.ascontiguousarray(colors)).permute(2, 0, 1)

    return Picture(str(path), height, width, bands, table, ids)


def _too_large(path: Path, image: Image.Image, limit: int) -> Picture:
    """A file that Pillow does not open: its size is known, its bands raise ValueError."""
    size = f"{image.width} x {image.height}"
    remedy = "`pip install gss[large]` lets `gss decode` read PNG and TIFF files of any size that are not interlaced"

    def bands(rows: int) -> Iterator[Tensor]:
        raise ValueError(f"{path}: expected at most {limit} pixels, got {size}; {remedy}")

    return Picture(str(path), image.height, image.width, bands)


def _stretch(image: Image.Image) -> int:
    """The factor between the values of a grey image as read, stretched to 0..255, and as stored in 1, 2 or 4 bits."""
    if image.mode == "1":
        return 255
    bits = re.match(r"[LP];([124])", raw_mode(image))
    return 255 // ((1 << int(bits[1])) - 1) if bits else 1
