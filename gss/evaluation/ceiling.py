"""The best score a tokenizer allows: label maps through tokens and back (paper, reconstruction mIoU)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gss.data.classes import require_same_classes
from gss.evaluation.metrics import SegmentationMetrics
from gss.model.codec import Codec, Progress, reconstruct
from gss.model.tokenizers.vector_quantizer import perplexity
from gss.model.views.windows import ALIGNMENT


@torch.inference_mode()
def ceiling(
    codec: Codec,
    dataset: Any,
    progress: Progress | None = None,
    scale: int | None = None,
    box: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Reconstruct-only scores of a data set: what a perfect prior would reach.

    Returns `SegmentationMetrics.compute()` at the resolution of the maskige under "mIoU", "mAcc", "aAcc", "per_class",
    and its matrix under "confusion"; the mIoU against the labels at full size, the paper's reconstruction mIoU, under
    "mIoU_full_size"; "codes", "codes_used", "perplexity" (of the token distribution over the split), "tokens_per_image"
    (mean) and "maskige_scale" (maskige pixels an image pixel). Raises ValueError where the data's classes are not the
    model's.
    """
    palette, tokenizer = codec.palette, codec.tokenizer
    require_same_classes(palette, dataset)
    working = SegmentationMetrics(palette.num_classes, palette.class_names)
    full = SegmentationMetrics(palette.num_classes, palette.class_names)
    use = torch.zeros(tokenizer.codes, dtype=torch.int64)
    device = tokenizer.codebook.device
    for index in range(len(dataset)):
        label = dataset[index]["label"][None].to(device)
        result = reconstruct(codec, label, scale, box)
        size = (result.target.shape[-2], result.target.shape[-1])
        working.update(codec.classify(result.painted, size).labels, result.target)
        full.update(result.labels, label)
        use += torch.bincount(result.tokens.flatten().cpu(), minlength=tokenizer.codes)
        if progress is not None:
            progress(index + 1, len(dataset))
    return {
        **working.compute(),
        "confusion": working.confusion.tolist(),
        "mIoU_full_size": full.compute()["mIoU"],
        **token_facts(codec, use, len(dataset), scale),
    }


def token_facts(codec: Codec, counts: Tensor, images: int, scale: int | None) -> dict[str, Any]:
    """What the counts (V,) of the tokens of so many label maps say, with the keys that `ceiling` documents."""
    return {
        "codes": codec.tokenizer.codes,
        "codes_used": int((counts > 0).sum()),
        "perplexity": float(perplexity(counts.double())),
        "tokens_per_image": int(counts.sum()) / images,
        "maskige_scale": scale or codec.tokenizer.stride / ALIGNMENT,
    }
