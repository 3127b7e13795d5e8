"""Photos: every kind of image that a user may pass, as uint8 RGB tensors."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from gss.io.files import PathLike
from gss.io.pillow import UnreadableFile, load_image, open_image, save_image

__all__ = ["UnreadableFile", "image_to_tensor", "read_image", "save_image", "to_image", "to_images"]


def to_image(source: Any) -> Tensor:
    """An image of any kind as a uint8 tensor (3, H, W) RGB.

    Args:
        source: a path, PIL image, uint8 array (H, W, 3) or (H, W), or uint8 tensor (3, H, W). Paths and PIL images
            come upright (an EXIF orientation is applied) and without alpha.

    Raises:
        TypeError: another type or dtype.
        ValueError: another shape, an empty image, or more than 8 bits a channel.
        FileNotFoundError, UnreadableFile: a path without a complete image.

    >>> to_image(np.array([[7, 9]], np.uint8)).tolist()
    [[[7, 9]], [[7, 9]], [[7, 9]]]
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
    """One or several images as tensors, with their names.

    The name of a path is its stem. Without a path a single image has None; members of a list or batch are called
    image_000, image_001 and so on by their place. Where two paths have one stem, their places are added to it: saving
    one result never overwrites another.

    Args:
        source: an image as `to_image` takes it, a list of them, or a uint8 tensor (B, 3, H, W).

    Returns:
        (images, names, whether `source` was one image).

    Raises:
        TypeError, ValueError, FileNotFoundError, UnreadableFile: as `to_image`.

    >>> images, names, single = to_images(torch.zeros(2, 3, 4, 6, dtype=torch.uint8))
    >>> len(images), names, single
    (2, ['image_000', 'image_001'], False)
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

    Raises:
        FileNotFoundError: no such file.
        UnreadableFile: a damaged file.
        ValueError: more than 8 bits a channel.
    """
    with open_image(path) as image:
        return image_to_tensor(image, str(path))


def image_to_tensor(image: Image.Image, name: str = "image") -> torch.Tensor:
    """A Pillow image, opened or made in memory, as uint8 (3, H, W) RGB, upright; `name` begins the messages of errors.

    Raises:
        UnreadableFile: its file is damaged.
        ValueError: more than 8 bits a channel.

    >>> image_to_tensor(Image.new("L", (2, 1), 7)).shape
    torch.Size([3, 1, 2])
    """
    require_8_bits(name, image)
    load_image(name, image)
    pixels = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def require_8_bits(name: str, image: Image.Image) -> None:
    """Raises ValueError for a Pillow image of more than 8 bits a channel; `name` begins the message."""
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"{name}: expected an image of 8 bits a channel, got mode {image.mode}")
