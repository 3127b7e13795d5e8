"""Class scores of whole images and of sliding windows, at the image's size or another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from gss.model.views.windows import coverage, pad_to_alignment, windows

# (images (B, 3, H, W) uint8 or float, size (height, width)) -> floating point scores (B, K, height, width), logits or
# vote fractions. The tensor is handed over: it may be written into.
Score = Callable[[Tensor, tuple[int, int]], Tensor]

# Rows that softmax_ holds twice.
STRIP = 64


def whole_scores(score: Score, images: Tensor, *, unaligned: Literal["pad", "stretch"] = "pad") -> Tensor:
    """Scores (B, K, H, W) float32 of images (B, 3, H, W) in one pass; see `InferenceConfig` on `unaligned`."""
    height, width = images.shape[-2:]
    padded = pad_to_alignment(images) if unaligned == "pad" else images
    size = (padded.shape[-2], padded.shape[-1])
    scores = score(padded, size)
    if scores.ndim != 4 or len(scores) != len(images) or tuple(scores.shape[-2:]) != size:
        expected = f"({len(images)}, K, {size[0]}, {size[1]})"
        raise ValueError(f"score: expected it to return {expected}, got {tuple(scores.shape)}")
    return scores[..., :height, :width].float()


def slide_scores(
    score: Score,
    images: Tensor,
    crop: tuple[int, int],
    stride: tuple[int, int],
    *,
    batch: int = 1,
    unaligned: Literal["pad", "stretch"] = "pad",
) -> Tensor:
    """Scores (B, K, H, W) float32 of images (B, 3, H, W): each pixel's mean over the windows that see it.

    The model sees nothing but the window, `batch` of them at a time. Held are K planes of the image's size and the
    scores of one batch of windows.

    Raises ValueError where the stride is below 1 or above the crop.
    """
    size = (images.shape[-2], images.shape[-1])
    grid = windows(size, crop, stride)
    if len(grid) == 1:
        return whole_scores(score, images, unaligned=unaligned)
    total: Tensor | None = None
    for first in range(0, len(grid), batch):
        places = grid[first : first + batch]
        # All windows of an image are equally large, so they make one batch.
        crops = torch.cat([images[..., rows, columns] for rows, columns in places])
        total = _add_windows(total, whole_scores(score, crops, unaligned=unaligned), places, size)
    assert total is not None  # a grid has at least one window
    return total.div_(coverage(size, crop, stride).to(total.device))


def _add_windows(
    total: Tensor | None, scores: Tensor, places: list[tuple[slice, slice]], size: tuple[int, int]
) -> Tensor:
    """`total` (B, K, *size), at first None, plus window scores (len(places) * B, K, h, w) at their places."""
    images = len(scores) // len(places)
    if total is None:
        total = scores.new_zeros((images, scores.shape[1], *size))
    for (rows, columns), part in zip(places, scores.split(images), strict=True):
        total[..., rows, columns] += part
    return total


def rescale(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Scores (B, K, H, W) resized bilinearly (align_corners=False) to `size` (height, width)."""
    if tuple(scores.shape[-2:]) == tuple(size):
        return scores
    return F.interpolate(scores, size=size, mode="bilinear", align_corners=False)


def softmax_(scores: Tensor) -> Tensor:
    """Softmax over the classes of (B, K, H, W), in place: 150 classes of a large photo are gigabytes."""
    for strip in scores.split(STRIP, dim=2):
        strip.copy_(strip.softmax(1))
    return scores
