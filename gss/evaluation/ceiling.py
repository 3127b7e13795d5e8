"""Measures of a tokenizer alone: the best score it allows (the paper's reconstruction mIoU), and its codebook use."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gss.data.dataset import labelled_pairs
from gss.evaluation.metrics import SegmentationMetrics
from gss.io.progress import Progress
from gss.model.codec import Codec, covered_labels, labels_to_tokens, reconstruct
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
    working = SegmentationMetrics(palette.num_classes, palette.class_names)
    full = SegmentationMetrics(palette.num_classes, palette.class_names)
    use = torch.zeros(tokenizer.codes, dtype=torch.int64)
    device = tokenizer.codebook.device
    for pair in labelled_pairs(dataset, palette, progress):
        label = pair["label"][None].to(device)
        result = reconstruct(codec, label, scale, box)
        size = (result.target.shape[-2], result.target.shape[-1])
        working.update(codec.classify(result.painted, size).labels, result.target)
        full.update(result.labels, label)
        use += torch.bincount(result.tokens.flatten().cpu(), minlength=tokenizer.codes)
    return {
        **working.compute(),
        "confusion": working.confusion.tolist(),
        "mIoU_full_size": full.compute()["mIoU"],
        **token_facts(codec, use, len(dataset), scale),
    }


@torch.inference_mode()
def codebook_use(
    codec: Codec, dataset: Any, progress: Progress | None = None, scale: int | None = None
) -> dict[str, Any]:
    """Encodes every label map of a data set, `scale` as in `gss.model.codec.reconstruct`, and counts the tokens.

    Returns "codes" V, "codes_used", "usage" (their share), "dead_codes" (the list of those never chosen), "perplexity"
    and "bits_per_token" of the token distribution, "commonest_share" of the tokens that are the commonest code,
    "tokens_per_image" (mean), "maskige_scale" (maskige pixels an image pixel) and "counts" of each code.

    Raises ValueError where the data's classes are not the codec's, and for no label maps.
    """
    if len(dataset) == 0:
        raise ValueError("dataset: expected at least one label map, got none")
    counts = torch.zeros(codec.tokenizer.codes, dtype=torch.int64)
    device = codec.tokenizer.codebook.device
    for pair in labelled_pairs(dataset, codec.palette, progress):
        target, _ = covered_labels(codec, pair["label"][None].to(device), scale)
        tokens = labels_to_tokens(codec, target)
        counts += torch.bincount(tokens.flatten().cpu(), minlength=codec.tokenizer.codes)
    facts = token_facts(codec, counts, len(dataset), scale)
    return {
        **facts,
        "usage": facts["codes_used"] / facts["codes"],
        "dead_codes": (counts == 0).nonzero().flatten().tolist(),
        "bits_per_token": math.log2(facts["perplexity"]),
        "commonest_share": float(counts.max() / counts.sum()),
        "counts": counts.tolist(),
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
