"""The grid of sliding windows, as in the official code, and padding to whole cells."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# A token stands for a cell of 4x4 pixels: the finest feature map has a quarter of the image's side.
ALIGNMENT = 4


def window_starts(length: int, crop: int, stride: int) -> list[int]:
    """First pixels of the windows along a side: every `stride` pixels, the last one shifted back inside.

    A side no longer than `crop` has one window, at 0, which is as long as the side.

    Raises ValueError where length or stride is below 1, or stride above crop, which would leave pixels out.
    """
    if length < 1:
        raise ValueError(f"length: expected at least 1 pixel, got {length}")
    if not 1 <= stride <= crop:
        raise ValueError(f"stride: expected 1 to the crop {crop}, got {stride}")
    last = max(length - crop, 0)
    count = (last + stride - 1) // stride + 1
    return [min(index * stride, last) for index in range(count)]


def windows(size: tuple[int, int], crop: tuple[int, int], stride: tuple[int, int]) -> list[tuple[slice, slice]]:
    """(rows, columns) of every window of an image of `size` (height, width), row by row; all are equally large."""
    rows, columns = (
        [slice(start, min(start + side, length)) for start in window_starts(length, side, step)]
        for length, side, step in zip(size, crop, stride, strict=True)
    )
    return [(row, column) for row in rows for column in columns]


def coverage(size: tuple[int, int], crop: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """Number of windows over each pixel of an image of `size`, float32 (H, W), at least 1."""
    # Windows form a grid, so the count of a pixel is that of its row times that of its column.
    counts = []
    for length, side, step in zip(size, crop, stride, strict=True):
        count = torch.zeros(length)
        for start in window_starts(length, side, step):
            count[start : start + side] += 1
        counts.append(count)
    return counts[0][:, None] * counts[1]


def pad_to_alignment(images: Tensor) -> Tensor:
    """uint8 or float (B, 3, H, W) with its right and bottom border repeated up to the next multiple of `ALIGNMENT`."""
    height, width = images.shape[-2:]
    bottom, right = -height % ALIGNMENT, -width % ALIGNMENT
    if not (bottom or right):
        return images
    return F.pad(images.float(), (0, right, 0, bottom), mode="replicate").to(images.dtype)
