"""ADE20K (the scene parsing benchmark, ADEChallengeData2016) in its official folders.

DIR/images/{training,validation}/NAME.jpg
DIR/annotations/{training,validation}/NAME.png, 0 = no class, 1..150 = the classes
"""

from __future__ import annotations

from pathlib import Path

import torch

from gss.data.listing import Files, LabelFiles, Listing, list_pairs
from gss.io.labels import remap_table

SPLITS = {"train": "training", "val": "validation"}

# 0 is no class and the classes count from 1. The ids beyond 150 keep counting, so that they are found to be no class of
# the palette; 255 would become 254, which the official evaluation takes for no class as well.
ZERO_IS_NO_CLASS = remap_table({0: 255} | {stored: stored - 1 for stored in range(1, 255)})


def list_ade20k(root: Path, split: str, names: Path | None = None) -> Listing:
    """The pairs of "train" or "val". Raises ValueError for another split."""
    if split not in SPLITS:
        raise ValueError(
            f"split: expected one of {', '.join(SPLITS)} (images/training and images/validation), got {split!r}"
        )
    images = Files(f"images/{SPLITS[split]}/{{}}", (".jpg",))
    annotations = Files(f"annotations/{SPLITS[split]}/{{}}", (".png",))
    return list_pairs(root, images, [LabelFiles(annotations, ZERO_IS_NO_CLASS)], names=names)


def reduce_zero_label(labels: torch.Tensor) -> torch.Tensor:
    """Stored ids to class ids: 0 to 255 (ignore), k to k - 1, 255 stays. uint8 of any shape, as it is stored.

    The official evaluation reads ADE20K's annotations as they are and does this before it counts. Raises TypeError for
    another dtype.
    """
    if labels.dtype != torch.uint8:
        raise TypeError(f"labels: expected uint8, got {labels.dtype}")
    return ZERO_IS_NO_CLASS.to(labels.device)[labels.to(torch.int64)]
