"""Resizing of images and label maps as OpenCV does it, bit for bit."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# OpenCV weighs pixels with 11 fractional bits.
WEIGHT_BITS = 11


def fit_box(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the same aspect ratio inside the box, long side along long side: (height, width).

    The orientation of the box does not matter. The factor is min(long / long, short / short), and a side becomes
    int(side * factor + 0.5), the rule of the official code, and at least 1.

    >>> fit_box((480, 640), (512, 2048))
    (512, 683)
    """
    factor = min(max(box) / max(size), min(box) / min(size))
    height, width = (max(int(side * factor + 0.5), 1) for side in size)
    return height, width


def resize_images(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize with half-pixel centres and without antialiasing.

    uint8 images equal those of OpenCV's INTER_LINEAR, bit for bit, since the official weights were trained and tested
    on its output. Its fixed-point arithmetic rounds about one value in eight differently from the exact result, by 1.

    Args:
        images: (B, 3, H, W), uint8 or floating.
        size: (height, width).

    Returns:
        (B, 3, height, width) of the dtype of `images`; `images` itself where it has the size already.

    >>> resize_images(torch.tensor([[[[0.0, 1.0]]]]), (1, 4)).flatten().tolist()
    [0.0, 0.25, 0.75, 1.0]
    """
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    if images.dtype != torch.uint8:
        return F.interpolate(images, size=size, mode="bilinear", align_corners=False)
    low, high, weight = _neighbours(images.shape[-1], size[1], images.device)
    pixels = images.int()
    across = pixels[..., low] * ((1 << WEIGHT_BITS) - weight) + pixels[..., high] * weight
    low, high, weight = _neighbours(images.shape[-2], size[0], images.device)
    weight = weight[:, None]
    # OpenCV drops 4 bits here and 16 of each product below before adding them; the rounding depends on it.
    across = across >> 4
    top = (across[..., low, :] * ((1 << WEIGHT_BITS) - weight)) >> 16
    bottom = (across[..., high, :] * weight) >> 16
    return ((top + bottom + 2) >> 2).to(torch.uint8)


def _neighbours(source: int, target: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of the two source pixels around each target pixel, and the weight of the second, 0 to 2^11 (int32)."""
    step = 1.0 / (target / source)
    # Positions are rounded to float32 before they are split, as in OpenCV.
    position = ((torch.arange(target, dtype=torch.float64) + 0.5) * step - 0.5).float()
    low = position.floor()
    weight = ((position - low) * (1 << WEIGHT_BITS)).round().int()
    low = low.long()
    low, high = low.clamp(0, source - 1), (low + 1).clamp(0, source - 1)
    return low.to(device), high.to(device), weight.to(device)


def source_corners(old: int, new: int) -> torch.Tensor:
    """The source index under the left upper corner of each target pixel, in OpenCV's order of divisions."""
    corners = torch.arange(new, dtype=torch.float64) * (1 / (new / old))
    return corners.floor_().clamp_(max=old - 1).to(torch.int64)
