"""Data sets in one folder: our own layout, label maps alone, Cityscapes and ADE20K.

folder      DIR/images/{train,val}/NAME.jpg (or .jpeg, .png)
            DIR/annotations/{train,val}/NAME.png
labels      DIR/annotations/{train,val}/NAME.png, or DIR/NAME.png
cityscapes  DIR/leftImg8bit/{train,val}/CITY/NAME_leftImg8bit.png
            DIR/gtFine/{train,val}/CITY/NAME_gtFine_labelTrainIds.png, or NAME_gtFine_labelIds.png as downloaded
ade20k      DIR/images/{training,validation}/NAME.jpg (ADEChallengeData2016)
            DIR/annotations/{training,validation}/NAME.png, 0 = no class, 1..150 = the classes

Every function lists the pairs of a split; `names` is a text file with the images to use, see
`gss.data.listing.read_names`.
"""

from __future__ import annotations

from pathlib import Path

import torch

from gss.data.listing import IMAGE_SUFFIXES, Files, LabelFiles, Listing, list_pairs
from gss.io.labels import remap_table

PNG = (".png",)

# Ids of the 19 evaluated classes in the order of their train ids, from the label table of Cordts et al., "The
# Cityscapes Dataset", CVPR 2016. The other ids up to 33, and 255 for -1 (license plate), are not evaluated.
EVALUATED_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
LABEL_IDS_TO_TRAIN_IDS = remap_table(
    {stored: 255 for stored in range(34)} | {stored: train_id for train_id, stored in enumerate(EVALUATED_IDS)}
)

ADE20K_SPLITS = {"train": "training", "val": "validation"}
# 0 is no class, and the classes count from 1. Ids beyond 150 keep counting, so that the check reports them. 255 would
# become 254, which the official evaluation does not count either.
ZERO_IS_NO_CLASS = remap_table({0: 255} | {stored: stored - 1 for stored in range(1, 255)})


def list_folder(root: Path, split: str, names: Path | None = None) -> Listing:
    """Images and index PNGs of our own layout."""
    images = Files(f"images/{split}/{{}}", IMAGE_SUFFIXES)
    return list_pairs(root, images, [LabelFiles(Files(f"annotations/{split}/{{}}", PNG))], names=names)


def list_labels(root: Path, split: str, names: Path | None = None) -> Listing:
    """Label maps alone: training a tokenizer and measuring it need no photo.

    Each label map is its own image, in the colours of its table.
    """
    files = Files(f"annotations/{split}/{{}}" if (root / "annotations").is_dir() else "{}", PNG)
    return list_pairs(root, files, [LabelFiles(files)], names=names)


def list_cityscapes(root: Path, split: str, names: Path | None = None) -> Listing:
    """Cityscapes, with names CITY/NAME. Label ids become train ids where an image has no file of train ids."""
    images = Files(f"leftImg8bit/{split}/*/{{}}", ("_leftImg8bit.png",))
    train_ids = LabelFiles(Files(f"gtFine/{split}/*/{{}}", ("_gtFine_labelTrainIds.png",)))
    label_ids = LabelFiles(Files(f"gtFine/{split}/*/{{}}", ("_gtFine_labelIds.png",)), LABEL_IDS_TO_TRAIN_IDS)
    return list_pairs(root, images, [train_ids, label_ids], names=names)


def list_ade20k(root: Path, split: str, names: Path | None = None) -> Listing:
    """ADE20K's scene parsing benchmark. Raises ValueError for another split than "train" or "val"."""
    if split not in ADE20K_SPLITS:
        raise ValueError(f"split: expected one of train, val (images/training and images/validation), got {split!r}")
    images = Files(f"images/{ADE20K_SPLITS[split]}/{{}}", (".jpg",))
    annotations = LabelFiles(Files(f"annotations/{ADE20K_SPLITS[split]}/{{}}", PNG), ZERO_IS_NO_CLASS)
    return list_pairs(root, images, [annotations], names=names)


def reduce_zero_label(labels: torch.Tensor) -> torch.Tensor:
    """ADE20K's stored ids, uint8 of any shape, as class ids: 0 to 255 (no class), k to k - 1, 255 stays.

    The official evaluation reads the annotations as they are stored and does this before it counts. Raises TypeError
    for another dtype.

    Example:
        >>> reduce_zero_label(torch.tensor([0, 1, 150, 255], dtype=torch.uint8)).tolist()
        [255, 0, 149, 255]
    """
    if labels.dtype != torch.uint8:
        raise TypeError(f"labels: expected uint8, got {labels.dtype}")
    return ZERO_IS_NO_CLASS.to(labels.device)[labels.to(torch.int64)]
