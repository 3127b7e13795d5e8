"""Measures of a tokenizer alone: the best score it allows, and the use of its codebook."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gss.data.dataset import PairDataset, labelled_pairs
from gss.evaluation.metrics import SegmentationMetrics
from gss.io.progress import Progress
from gss.model.codec import Codec, covered_labels, labels_to_tokens, reconstruct
from gss.model.tokenizers.vector_quantizer import perplexity
from gss.model.views.windows import ALIGNMENT


@torch.inference_mode()
def ceiling(
    codec: Codec,
    dataset: PairDataset,
    progress: Progress | None = None,
    scale: int | None = None,
    box: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Scores of the label maps after encoding to tokens and decoding, which a perfect prior would reach.

    `scale` and `box` are those of `gss.model.codec.reconstruct`. Returns:

    - "mIoU", "mAcc", "aAcc", "per_class" and "confusion" at the resolution of the maskige, see `SegmentationMetrics`
    - "mIoU_full_size": against the labels at full size, the paper's reconstruction mIoU (arXiv 2303.11316, table 2)
    - "codes", "codes_used", and "perplexity" of the token distribution over the split
    - "tokens_per_image" (mean) and "maskige_scale" (maskige pixels for each image pixel side)

    Raises ValueError if the classes of the data are not the model's.
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
    codec: Codec, dataset: PairDataset, progress: Progress | None = None, scale: int | None = None
) -> dict[str, Any]:
    """Encode every label map of a data set, `scale` as in `gss.model.codec.reconstruct`, and count the tokens.

    Returns "codes" V, "codes_used", "usage" (the share of used codes), "dead_codes" (the list of unused codes),
    "perplexity" and "bits_per_token" of the token distribution, "commonest_share" (the share of the most frequent
    code), "counts" of each code, "tokens_per_image" (mean) and "maskige_scale" as in `ceiling`.

    Raises ValueError if the classes of the data are not the codec's, and for no label maps.
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
    """Codebook facts from the counts (V,) of the tokens of `images` label maps, with the keys of `ceiling`."""
    return {
        "codes": codec.tokenizer.codes,
        "codes_used": int((counts > 0).sum()),
        "perplexity": float(perplexity(counts.double())),
        "tokens_per_image": int(counts.sum()) / images,
        "maskige_scale": scale or codec.tokenizer.stride / ALIGNMENT,
    }
