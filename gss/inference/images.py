"""From whatever a user calls an image to a batch, and back to one result an image."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..data.labels import image_to_tensor, read_image

# Feature maps start at a quarter of the image, so a side that is a multiple of this needs no stretching.
ALIGNMENT = 4


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


def pad_to_alignment(images: Tensor) -> Tensor:
    """uint8 or float (B, 3, H, W) with its right and bottom border repeated up to the next multiple of `ALIGNMENT`."""
    height, width = images.shape[-2:]
    bottom, right = -height % ALIGNMENT, -width % ALIGNMENT
    if not (bottom or right):
        return images
    return F.pad(images.float(), (0, right, 0, bottom), mode="replicate").to(images.dtype)
