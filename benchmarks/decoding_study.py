"""What is decoded from one token distribution, and what each way scores: the table in docs/results.md.

    python benchmarks/decoding_study.py RUN --data DIR --out decoding.json

One pass over a split; every way reads the same trunk features of the same generative run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

import gss
from gss.data.sources.folder import FolderDataset
from gss.evaluation.metrics import SegmentationMetrics
from gss.io.files import write_text
from gss.model.views.windows import ALIGNMENT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    model = gss.load(arguments.run)
    if not isinstance(model, gss.GSS):
        raise SystemExit(f"{arguments.run}: expected a generative run, got a pixel classifier")
    dataset = FolderDataset(arguments.data, arguments.split, model.palette, cache=False)
    scores: dict[str, SegmentationMetrics] = {}
    with torch.inference_mode():
        for index in range(len(dataset)):
            pair = dataset[index]
            for name, labels in ways(model, pair["image"]):
                metrics = scores.setdefault(
                    name, SegmentationMetrics(model.palette.num_classes, model.palette.class_names)
                )
                metrics.update(labels, pair["label"])
    results = {name: metrics.compute() for name, metrics in scores.items()}
    write_text(
        arguments.out, json.dumps({"split": arguments.split, "images": len(dataset), **results}, indent=2) + "\n"
    )
    for name, result in results.items():
        print(f"{100 * result['mIoU']:.1f}  {name}")


def ways(model: gss.GSS, image: Tensor) -> Iterator[tuple[str, Tensor]]:
    """(name, labels (H, W)) for each way to decide; the image's sides have to be multiples of 4."""
    size = (image.shape[1], image.shape[2])
    if size[0] % ALIGNMENT or size[1] % ALIGNMENT:
        raise ValueError(f"image: expected sides that are multiples of {ALIGNMENT}, got {size}")
    head, codebook, patches = model.token_head, model.tokenizer.codebook, model.code_patches()
    features = model.encoder(image[None])
    fused, hidden = model.trunk(features)
    logits = torch.einsum("bchw,vc->bhwv", hidden, head.weight) + head.bias
    probability = logits.softmax(-1)

    def painted(codes: Tensor) -> Tensor:
        return model.maskige.decode(model.tokenizer.decode_vectors(codes), size=size).labels[0]

    def resized(scores: Tensor) -> Tensor:
        return F.interpolate(scores, size=size, mode="bilinear", align_corners=False).argmax(1)[0]

    found = head.consensus(hidden, patches, codebook, model.palette.num_classes)
    yield "most likely token", painted(model.tokenizer.quantizer.lookup(logits.argmax(-1)))
    yield "token with most class votes", painted(model.tokenizer.quantizer.lookup(found.tokens))
    yield "mean code", painted((probability @ codebook).permute(0, 3, 1, 2))
    yield "consensus", painted(found.codes)
    votes = (probability @ patches).unflatten(-1, (model.tokenizer.stride**2, model.palette.num_classes))
    yield (
        "class marginals",
        resized(F.pixel_shuffle(votes.permute(0, 4, 3, 1, 2).flatten(1, 2), model.tokenizer.stride)),
    )
    yield "auxiliary pixel head", resized(model.pixel_head(features, fused))


if __name__ == "__main__":
    main()
