"""Cityscapes in its official folders.

DIR/leftImg8bit/{train,val}/CITY/NAME_leftImg8bit.png
DIR/gtFine/{train,val}/CITY/NAME_gtFine_labelTrainIds.png, or NAME_gtFine_labelIds.png as the download has it
"""

from __future__ import annotations

from pathlib import Path

from gss.data.listing import Files, LabelFiles, Listing, list_pairs
from gss.io.labels import remap_table

# Ids of the 19 evaluated classes in the order of their train ids, from the label table of the data set's own scripts
# (Cordts et al., CVPR 2016). The other ids up to 33, and 255 for -1 (license plate), are not evaluated.
EVALUATED_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

LABEL_IDS_TO_TRAIN_IDS = remap_table(
    {stored: 255 for stored in range(34)} | {stored: train_id for train_id, stored in enumerate(EVALUATED_IDS)}
)


def list_cityscapes(root: Path, split: str, names: Path | None = None) -> Listing:
    """The pairs of a split, named CITY/NAME. Label ids become train ids where an image has no train ids on disk."""
    images = Files(f"leftImg8bit/{split}/*/{{}}", ("_leftImg8bit.png",))
    train_ids = Files(f"gtFine/{split}/*/{{}}", ("_gtFine_labelTrainIds.png",))
    label_ids = Files(f"gtFine/{split}/*/{{}}", ("_gtFine_labelIds.png",))
    return list_pairs(root, images, [LabelFiles(train_ids), LabelFiles(label_ids, LABEL_IDS_TO_TRAIN_IDS)], names=names)
