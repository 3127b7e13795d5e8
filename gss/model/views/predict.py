"""From images to class probabilities and labels: views, windows, averages."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gss.config import InferenceConfig
from gss.io.resize import fit_box, resize_images
from gss.model.views.scores import Score, rescale, slide_scores, softmax_, whole_scores
from gss.model.views.windows import windows


class ScoredLabels(NamedTuple):
    """labels (B, H, W) uint8 where K <= 255, else int32; margin (B, H, W) float32, best score less second best."""

    labels: Tensor
    margin: Tensor


def needs_scores(config: InferenceConfig, size: tuple[int, int]) -> bool:
    """Whether an image of `size` (height, width) is looked at more than once, or at another size.

    If not, its class map is that of a single pass, and the fused decode of `gsskernels` makes it without K planes.
    """
    views = view_sizes(size, config)
    one_pass = config.mode == "whole" or len(windows(size, config.crop, config.stride)) == 1
    return views != [tuple(size)] or config.flip or not one_pass


@torch.inference_mode()
def predict_labels(
    score: Score, images: Tensor, config: InferenceConfig, size: tuple[int, int] | None = None
) -> ScoredLabels:
    """The most probable classes of images, and by how much; arguments and errors are those of `predict_scores`."""
    return labels_and_margin(predict_scores(score, images, config, size))


@torch.inference_mode()
def predict_scores(
    score: Score,
    images: Tensor,
    config: InferenceConfig,
    size: tuple[int, int] | None = None,
    *,
    softmax: bool = True,
) -> Tensor:
    """Class probabilities (B, K, height, width) float32 of images (B, 3, H, W), uint8 or float.

    For each view (scale, mirrored or not): the image is resized, scored whole or in windows, the scores are resized to
    `size` and go through a softmax over the classes. Vote fractions do too, as in the official code, so that their
    probabilities lie close together but keep their order. The result is the mean over the views.

    Args:
        score: see `Score`.
        config: see `InferenceConfig`.
        size: (height, width) of the result; None for that of the images.
        softmax: with False the scores themselves are averaged, which is right for vote fractions that are to be added
            up over classes.

    Raises:
        ValueError: settings outside their range, images of another shape, or scores that are not as large as asked.
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.numel() == 0:
        raise ValueError(f"images: expected a tensor (B, 3, H, W) of at least one pixel, got {tuple(images.shape)}")
    own_size = (images.shape[-2], images.shape[-1])
    total: Tensor | None = None
    views = view_sizes(own_size, config)
    for view in views:
        resized = resize_images(images, view)
        for mirrored in (False, True) if config.flip else (False,):
            scores = _view_scores(score, resized, config, size or own_size, mirrored)
            scores = softmax_(scores) if softmax else scores
            total = scores if total is None else total.add_(scores)
    assert total is not None  # an InferenceConfig has at least one scale
    return total.div_(len(views) * (2 if config.flip else 1))


def _view_scores(
    score: Score, images: Tensor, config: InferenceConfig, size: tuple[int, int], mirrored: bool
) -> Tensor:
    seen = images.flip(-1) if mirrored else images
    if config.mode == "slide":
        scores = slide_scores(score, seen, config.crop, config.stride, batch=config.batch, unaligned=config.unaligned)
    else:
        scores = whole_scores(score, seen, unaligned=config.unaligned)
    scores = rescale(scores, size)
    return scores.flip(-1) if mirrored else scores


def labels_and_margin(scores: Tensor) -> ScoredLabels:
    """The best class of each pixel of scores (B, K, H, W), the lowest on ties, and its lead over the second best.

    The margin is +inf where K is 1. One pass over the planes, so neither an index of 8 bytes nor a sort per pixel.
    """
    num_classes = scores.shape[1]
    best = scores[:, 0].float().clone()
    second = torch.full_like(best, -torch.inf)
    labels = torch.zeros_like(best, dtype=torch.uint8 if num_classes <= 255 else torch.int32)
    for k in range(1, num_classes):
        plane = scores[:, k].float()
        labels.masked_fill_(plane > best, k)
        second = torch.maximum(second, torch.minimum(best, plane))
        best = torch.maximum(best, plane)
    return ScoredLabels(labels, best - second)


def view_sizes(size: tuple[int, int], config: InferenceConfig) -> list[tuple[int, int]]:
    """The size (height, width) at which an image of `size` is scored, for each of `config.scales`."""
    height, width = config.box or size
    boxes = [(max(int(height * scale), 1), max(int(width * scale), 1)) for scale in config.scales]
    return [fit_box(size, box) if config.keep_ratio else box for box in boxes]
