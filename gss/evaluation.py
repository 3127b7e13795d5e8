"""Scores on a split: the model's mIoU, and the tokenizer's ceiling."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from .data.folder import FolderDataset
from .inference import ALIGNMENT
from .metrics import SegmentationMetrics
from .result import Result

if TYPE_CHECKING:
    from .model import GSS
    from .twin import PixelClassifier

Progress = Callable[[int, int], None]


def evaluate(model: GSS | PixelClassifier, dataset: FolderDataset, progress: Progress | None = None) -> dict[str, Any]:
    """Predict every image of a split at its own size and compare with its labels.

    `progress(done, total)` is called after each image. Returns `SegmentationMetrics.compute()`: mIoU, mAcc, aAcc in
    0..1 and per_class.
    """
    metrics = SegmentationMetrics(model.palette.num_classes, model.palette.class_names)
    for index in range(len(dataset)):
        pair = dataset[index]
        result = model.predict(pair["image"])
        assert isinstance(result, Result)  # one image in, one result out
        metrics.update(result.labels, pair["label"])
        if progress is not None:
            progress(index + 1, len(dataset))
    return metrics.compute()


@torch.inference_mode()
def ceiling(model: GSS, dataset: FolderDataset, progress: Progress | None = None) -> dict[str, Any]:
    """Reconstruct-only scores, labels -> maskige -> tokens -> maskige -> labels: what a perfect prior would reach.

    Returns `compute()` at the working resolution, where the maskige lives, under "mIoU", "mAcc", "aAcc", "per_class";
    the mIoU against the labels at full size under "mIoU_full_size"; "codes", "codes_used", "perplexity" (of the token
    distribution over the split), "tokens_per_image" (mean) and "maskige_scale" (maskige pixels an image pixel).
    """
    from .training.stages import maskige_size, resize_labels

    palette, tokenizer = model.palette, model.tokenizer
    working = SegmentationMetrics(palette.num_classes, palette.class_names)
    full = SegmentationMetrics(palette.num_classes, palette.class_names)
    use = torch.zeros(tokenizer.codes, dtype=torch.int64)
    device = tokenizer.quantizer.codebook.device
    for index in range(len(dataset)):
        label = dataset[index]["label"][None].to(device)
        right, bottom = -label.shape[-1] % ALIGNMENT, -label.shape[-2] % ALIGNMENT
        label = F.pad(label, (0, right, 0, bottom), value=palette.ignore_index)
        height, width = label.shape[-2:]
        size = maskige_size(tokenizer.stride, (height // ALIGNMENT, width // ALIGNMENT))
        small = resize_labels(label, size, palette.num_classes)
        tokens = tokenizer.encode(model.maskige.encode(small))
        painted = tokenizer.decode(tokens)
        working.update(model.maskige.decode(painted).labels, small)
        full.update(model.maskige.decode(painted, size=(height, width)).labels, label)
        use += torch.bincount(tokens.flatten().cpu(), minlength=tokenizer.codes)
        if progress is not None:
            progress(index + 1, len(dataset))
    share = use[use > 0].double() / use.sum()
    return {
        **working.compute(),
        "mIoU_full_size": full.compute()["mIoU"],
        "codes": tokenizer.codes,
        "codes_used": int((use > 0).sum()),
        "perplexity": float(torch.exp(-(share * share.log()).sum())),
        "tokens_per_image": int(use.sum()) / len(dataset),
        "maskige_scale": tokenizer.stride / ALIGNMENT,
    }
