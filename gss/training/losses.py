"""Losses of the stages: means over the labelled pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# Number of logits that exist at label size at a time: what fits a CPU's cache, and on a GPU enough that the launch of
# each kernel is a small part of its time.
LOGITS_AT_A_TIME = 1 << 20
LOGITS_AT_A_TIME_ON_GPU = 1 << 26


def upsampled_cross_entropy(
    logits: Tensor, labels: Tensor, weight: Tensor, ignore_index: int = 255
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of bilinearly upsampled logits, and their most likely classes.

    The output is computed a few rows at a time, together with its gradient: the K planes at label size, the largest
    tensors of the official formula, never exist as a whole.

    Args:
        logits: (B, K, h, w).
        labels: (B, H, W) integers with `ignore_index`.
        weight: (K,) weights of the classes; the loss is the mean over pixels by the weight of their class, and 0 if no
            pixel is labelled.

    Returns:
        The loss, and the classes (B, H, W) int64.

    >>> loss, classes = upsampled_cross_entropy(torch.zeros(1, 3, 2, 2), torch.zeros(1, 4, 4).long(), torch.ones(3))
    >>> round(loss.item(), 4), tuple(classes.shape)
    (1.0986, (1, 4, 4))
    """
    return _UpsampledCrossEntropy.apply(logits, labels, weight, ignore_index)


class _UpsampledCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, weight: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
        (batch, classes, height, _), (rows, columns) = logits.shape, labels.shape[-2:]
        labels = labels.long()
        labelled = labels != ignore_index
        mass = (weight[torch.where(labelled, labels, 0)] * labelled).sum().clamp_min(torch.finfo(weight.dtype).tiny)
        total = logits.new_zeros((), dtype=torch.float32)
        gradient = torch.zeros_like(logits, dtype=torch.float32)
        winners = torch.empty_like(labels)
        device = logits.device
        upper, lower, _ = _row_sources(height, rows)
        uppers, lowers, share = _row_indices(height, rows, device)
        step = max(1, (LOGITS_AT_A_TIME_ON_GPU if device.type == "cuda" else LOGITS_AT_A_TIME) // (classes * columns))
        for image in range(batch):
            for first in range(0, rows, step):
                band = slice(first, min(first + step, rows))
                start, stop = upper[band][0], lower[band][-1] + 1
                source = logits[image, :, start:stop].detach().float().requires_grad_(logits.requires_grad)
                with torch.set_grad_enabled(logits.requires_grad):
                    top = source.index_select(1, uppers[band] - start)
                    bottom = source.index_select(1, lowers[band] - start)
                    between = top + (bottom - top) * share[band]
                    size = (between.shape[1], columns)
                    upsampled = F.interpolate(between[None], size=size, mode="bilinear", align_corners=False)
                    loss = F.cross_entropy(
                        upsampled, labels[image : image + 1, band], weight, ignore_index=ignore_index, reduction="sum"
                    )
                winners[image, band] = upsampled.detach().argmax(1)[0]
                total += loss.detach()
                if logits.requires_grad:
                    gradient[image, :, start:stop] += torch.autograd.grad(loss, source)[0]
        ctx.save_for_backward((gradient / mass).to(logits.dtype))
        ctx.mark_non_differentiable(winners)
        return total / mass, winners

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grads[0], None, None, None


def _row_sources(height: int, rows: int) -> tuple[list[int], list[int], Tensor]:
    """For each of `rows` output rows the two rows of `height` it lies between, and the weight of the lower one."""
    place = ((torch.arange(rows, dtype=torch.float32, device="cpu") + 0.5) * (height / rows) - 0.5).clamp_min(0)
    upper = place.long().clamp_max(height - 1)
    return upper.tolist(), (upper + 1).clamp_max(height - 1).tolist(), place - upper


@lru_cache(maxsize=8)
def _row_indices(height: int, rows: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """`_row_sources` on a device, kept because each copy there makes the host wait."""
    upper, lower, share = _row_sources(height, rows)
    return torch.tensor(upper, device=device), torch.tensor(lower, device=device), share.to(device)[:, None]


def cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor | None = None, ignore_index: int = 255) -> Tensor:
    """Mean cross-entropy over labelled pixels, by class weight (K,) if given; 0 if the batch has no labelled pixel.

    logits (B, K, H, W) float32, labels (B, H, W) integers with `ignore_index`.

    >>> cross_entropy(torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), 255)).item()
    0.0
    """
    labels = labels.long()
    total = F.cross_entropy(logits, labels, weight=weight, ignore_index=ignore_index, reduction="sum")
    labelled = labels != ignore_index
    if weight is None:
        return total / labelled.sum().clamp_min(1)
    mass = (weight[torch.where(labelled, labels, 0)] * labelled).sum()
    return total / mass.clamp_min(torch.finfo(mass.dtype).tiny)


def palette_distances(maskige: Tensor, colors: Tensor) -> Tensor:
    """maskige (B, 3, H, W), colors (K, 3) -> squared distances (B, K, H, W), differentiable.

    Expanded as |x|^2 - 2 x.p + |p|^2, a 1x1 convolution, so that no (B, K, 3, H, W) tensor of differences exists.

    >>> palette_distances(torch.ones(1, 3, 1, 1), torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])).flatten().tolist()
    [3.0, 0.0]
    """
    cross = F.conv2d(maskige, -2 * colors[:, :, None, None], colors.square().sum(1))
    return cross + maskige.square().sum(1, keepdim=True)


def class_weights(pixels: Sequence[int], power: float) -> Tensor:
    """Weights (K,) of the classes: share of the pixels ^ -power, with mean 1 over pixels; 1 for absent classes.

    Raises ValueError if there are no pixels.

    >>> weights = class_weights([900, 100], power=0.5)
    >>> round(float(weights[1] / weights[0]), 3)
    3.0
    """
    counts = torch.as_tensor(pixels, dtype=torch.float64)
    present = counts > 0
    if not bool(present.any()):
        raise ValueError("pixels: expected at least one labelled pixel in the training split, got none")
    share = counts / counts.sum()
    weights = torch.where(present, share.clamp_min(1e-12) ** -power, 1.0)
    return (weights / (weights * share).sum()).float()
