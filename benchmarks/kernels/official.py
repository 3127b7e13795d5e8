"""The formulas of the published system (arXiv 2303.11316 and its code), written out plainly.

They store what gsskernels never stores: all differences of pixels and colours, one plane a class, all logits.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def encode(labels: Tensor, palette_with_ignore: Tensor) -> Tensor:
    """(B, H, W) int64 -> (B, 3, H, W) float32: the palette's row of every label, the last row where it is no class."""
    row = labels.clamp(max=len(palette_with_ignore) - 1)
    return palette_with_ignore[row].permute(0, 3, 1, 2).float()


def decode(maskige: Tensor, palette: Tensor) -> Tensor:
    """(B, 3, H, W), (K, 3) -> (B, H, W) int64, through all differences (B, K, 3, H, W)."""
    difference = maskige[:, None] - palette[None, :, :, None, None]
    return difference.pow(2).sum(2).argmin(1)


def resize(labels: Tensor, size: tuple[int, int], num_classes: int) -> Tensor:
    """(B, H, W) int64 -> (B, H', W') int64, through one plane a class."""
    planes = F.one_hot(labels, num_classes).permute(0, 3, 1, 2).float()
    return F.interpolate(planes, size, mode="bilinear", align_corners=False).argmax(1)


def confusion(prediction: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """(K, K) int64, rows are the target: a histogram of the labelled pixels' cells."""
    labelled = target != ignore_index
    cell = target[labelled].long() * num_classes + prediction[labelled].long()
    return torch.bincount(cell, minlength=num_classes**2).view(num_classes, num_classes)


def nearest_code(x: Tensor, codebook: Tensor) -> Tensor:
    """(N, D), (V, D) -> (N,) int64, through all distances (N, V)."""
    return torch.cdist(x, codebook).argmin(1)


def linear_argmax(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.linear(x, weight, bias).argmax(1)


def linear_sample(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.multinomial(F.linear(x, weight, bias).softmax(1), 1)[:, 0]


def linear_cross_entropy(x: Tensor, weight: Tensor, target: Tensor, bias: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(x, weight, bias), target)


def code_statistics(x: Tensor, codes: Tensor, num_codes: int) -> tuple[Tensor, Tensor]:
    """Counts (V,) and sums (V, D), through the one-hot matrix (N, V), as vector-quantize-pytorch does it."""
    chosen = F.one_hot(codes, num_codes).to(x.dtype)
    return chosen.sum(0), chosen.t() @ x
