"""How a tokenizer uses its codebook on the label maps of a data set: which codes, how evenly, and which never."""

from __future__ import annotations

import math
from typing import Any

import torch

from gss.data.classes import require_same_classes
from gss.evaluation.ceiling import Progress, token_facts
from gss.model.codec import Codec, maskige_labels


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
    require_same_classes(codec.palette, dataset)
    if len(dataset) == 0:
        raise ValueError("dataset: expected at least one label map, got none")
    counts = torch.zeros(codec.tokenizer.codes, dtype=torch.int64)
    device = codec.tokenizer.codebook.device
    for index in range(len(dataset)):
        target, _ = maskige_labels(codec, dataset[index]["label"][None].to(device), scale)
        tokens = codec.tokenizer.encode(codec.maskige.encode(target))
        counts += torch.bincount(tokens.flatten().cpu(), minlength=codec.tokenizer.codes)
        if progress is not None:
            progress(index + 1, len(dataset))
    facts = token_facts(codec, counts, len(dataset), scale)
    return {
        **facts,
        "usage": facts["codes_used"] / facts["codes"],
        "dead_codes": (counts == 0).nonzero().flatten().tolist(),
        "bits_per_token": math.log2(facts["perplexity"]),
        "commonest_share": float(counts.max() / counts.sum()),
        "counts": counts.tolist(),
    }
