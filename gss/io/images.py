"""Photos: every kind of image that a user may pass, as uint8 RGB tensors; the one image reader of the package."""

from __future__ import annotations

import os
import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from gss.io.files import PathLike, replace_file

# Pillow raises one of these, depending on the place of the damage in the file.
_DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, zlib.error, struct.error, Image.DecompressionBombError)


class UnreadableFile(OSError):
    """The file exists but is not a complete image."""


def to_image(source: Any) -> Tensor:
    """A path, PIL image, uint8 array (H, W, 3) or (H, W), or uint8 tensor (3, H, W) -> uint8 tensor (3, H, W) RGB.

    Paths and PIL images come upright (an EXIF orientation is applied) and without alpha.

    Raises TypeError for another type or dtype, ValueError for another shape, an empty image or more than 8 bits a
    channel, and for paths what `read_image` raises.
    """
    if isinstance(source, (str, os.PathLike)):
        return read_image(Path(source))
    if isinstance(source, Tensor):
        image = source
    elif isinstance(source, Image.Image):
        image = image_to_tensor(source)
    else:
        if not isinstance(source, np.ndarray):
            raise TypeError(f"image: expected a path, PIL image, numpy array or tensor, got {type(source).__name__}")
        array = source[..., None].repeat(3, -1) if source.ndim == 2 else source
        if array.ndim != 3 or array.shape[-1] != 3:
            raise ValueError(f"image: expected an array (H, W, 3) or (H, W), got {source.shape}")
        image = torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)
    if image.dtype != torch.uint8:
        raise TypeError(f"image: expected uint8 values 0..255, got {image.dtype}")
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"image: expected a tensor (3, H, W), got {tuple(image.shape)}")
    if image.numel() == 0:
        raise ValueError(f"image: expected at least one pixel, got {tuple(image.shape)}")
    return image.contiguous()


def to_images(source: Any) -> tuple[list[Tensor], list[str | None], bool]:
    """(images, names, whether `source` was one image): a single image, a list of them, or a tensor (B, 3, H, W).

    The name of a path is its stem. Without a path a single image has None; members of a list or batch are called
    image_000, image_001 and so on by their place. Where two paths have one stem, their places are added to it: saving
    one result never overwrites another.
    """
    many = isinstance(source, (list, tuple)) or (isinstance(source, Tensor) and source.ndim == 4)
    sources = list(source) if many else [source]
    names = [
        Path(s).stem if isinstance(s, (str, os.PathLike)) else f"image_{index:03d}" if many else None
        for index, s in enumerate(sources)
    ]
    taken = Counter(names)
    names = [f"{name}_{index:03d}" if taken[name] > 1 else name for index, name in enumerate(names)]
    return [to_image(s) for s in sources], names, not many


def read_image(path: PathLike) -> torch.Tensor:
    """A photo as uint8 (3, H, W) RGB, upright (an EXIF orientation is applied), alpha dropped.

    Raises FileNotFoundError, UnreadableFile for damaged files, ValueError for images of more than 8 bits a channel.
    """
    with open_image(path) as image:
        return image_to_tensor(image, str(path))


def image_to_tensor(image: Image.Image, name: str = "image") -> torch.Tensor:
    """A Pillow image, opened or made in memory, as `read_image` gives it; `name` begins the message of an error.

    Raises UnreadableFile where its file is damaged, ValueError for images of more than 8 bits a channel.
    """
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"{name}: expected an image of 8 bits a channel, got mode {image.mode}")
    load_image(name, image)
    pixels = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def save_image(path: PathLike, image: Image.Image) -> None:
    """Saves a Pillow image under its final name only once it is complete; the suffix decides the format."""
    # Not synced to disk: a picture lost to a power cut can be made again, and the wait is 8 ms a file.
    with replace_file(path, durable=False) as temporary:
        image.save(temporary)


def open_image(path: PathLike) -> Image.Image:
    try:
        return Image.open(path)
    except FileNotFoundError:
        raise
    except _DECODING_ERRORS as error:
        raise UnreadableFile(f"{path}: cannot be read as an image ({error})") from error


def load_image(path: PathLike, image: Image.Image) -> None:
    try:
        image.load()
    except _DECODING_ERRORS as error:
        raise UnreadableFile(f"{path}: cannot be read as an image ({error})") from error
