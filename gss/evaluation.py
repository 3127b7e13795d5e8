"""Scores on a split: the model's mIoU, and the tokenizer's ceiling."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from .data.folder import FolderDataset
from .inference import ALIGNMENT
from .metrics import SegmentationMetrics
from .palette import Palette
from .result import Result

if TYPE_CHECKING:
    from .model import GSS
    from .twin import PixelClassifier

Progress = Callable[[int, int], None]


def evaluate(model: GSS | PixelClassifier, dataset: FolderDataset, progress: Progress | None = None) -> dict[str, Any]:
    """Predict every image of a split at its own size and compare with its labels.

    `progress(done, total)` is called after each image. Returns `SegmentationMetrics.compute()`: mIoU, mAcc, aAcc in
    0..1 and per_class. Raises ValueError where the data's classes are not the model's.
    """
    require_same_classes(model.palette, dataset)
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
    Raises ValueError where the data's classes are not the model's.
    """
    from .training.stages import maskige_size, resize_labels

    palette, tokenizer = model.palette, model.tokenizer
    require_same_classes(palette, dataset)
    working = SegmentationMetrics(palette.num_classes, palette.class_names)
    full = SegmentationMetrics(palette.num_classes, palette.class_names)
    use = torch.zeros(tokenizer.codes, dtype=torch.int64)
    device = tokenizer.codebook.device
    for index in range(len(dataset)):
        label = dataset[index]["label"][None].to(device)
        right, bottom = -label.shape[-1] % ALIGNMENT, -label.shape[-2] % ALIGNMENT
        label = F.pad(label, (0, right, 0, bottom), value=palette.ignore_index)
        height, width = label.shape[-2:]
        size = maskige_size(tokenizer.stride, (height // ALIGNMENT, width // ALIGNMENT))
        small = resize_labels(label, size, palette.num_classes)
        tokens = tokenizer.encode(model.maskige.encode(small))
        painted = tokenizer.decode(tokens)
        working.update(model.classify(painted).labels, small)
        full.update(model.classify(painted, (height, width)).labels, label)
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


def require_same_classes(palette: Palette, dataset: FolderDataset) -> None:
    """Raises ValueError unless the data has the classes of the model's `palette`, in the same order.

    What the data has says the data set's own palette, and palette.json in its folder if there is one. With another
    order class ids would be compared that mean different things, and every score would be wrong without a word.
    """
    palettes = [(f"the data set {dataset.root}", dataset.palette)]
    beside = dataset.root / "palette.json"
    if beside.is_file():
        palettes.append((str(beside), Palette.load(beside)))
    for where, other in palettes:
        pairs = zip_longest(palette.class_names, other.class_names, fillvalue="none")
        for k, (expected, got) in enumerate(pairs):
            if expected != got:
                raise ValueError(
                    f"{where}: expected the model's classes, but class {k} is {got} instead of {expected}; the model's "
                    f"palette is {_listed(palette)}, the data's {_listed(other)}"
                )


def _listed(palette: Palette) -> str:
    return f"{palette.name!r} ({', '.join(palette.class_names)})"
