"""Miniature data sets: files of a few pixels under the names that the official ones have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from gss.data.check import Report, check_listings
from gss.data.sources.layouts import layout_palette, layout_splits, list_split
from gss.palette import Palette

# The image and the label file of one picture of each of MSeg's test sets, below mseg_dataset.
TEST_FILES = {
    "voc2012": ("PASCAL_VOC_2012/JPEGImages/2007_000033.jpg", "PASCAL_VOC_2012/SegmentationClassAug/2007_000033.png"),
    "pascal-context-60": (
        "PASCAL_Context/JPEGImages/2008_000002.jpg",
        "PASCAL_Context/Segmentation_GT_60cls/2008_000002.png",
    ),
    "camvid-11": ("Camvid/701_StillsRaw_full/0016E5_07959.png", "Camvid/semseg11/0016E5_07959_L.png"),
    "wilddash-19": ("WildDash/wd_val_01/au0000_100000.png", "WildDash/wd_val_19class/au0000_100000_labelIds.png"),
    "kitti-19": ("KITTI/training/image_2/000052_10.png", "KITTI/training/label19/000052_10.png"),
    "scannet-20": (
        "ScanNet/scannet_frames_25k/scene0568_00/color/001500.jpg",
        "ScanNet/scannet_frames_25k/scene0568_00/label20/001500.png",
    ),
}


def write_image(path: Path, size: tuple[int, int] = (4, 6)) -> None:
    """A grey (height, width) picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(path)


def write_ids(path: Path, ids: list[int], size: tuple[int, int] = (4, 6)) -> None:
    """A label file: `ids` one after the other, the last one in the rest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = np.full(size[0] * size[1], ids[-1], np.uint8)
    labels[: len(ids)] = ids
    Image.fromarray(labels.reshape(size)).save(path)


def check(root: Path, layout: str = "folder", palette: Palette | None = None, splits: tuple[str, ...] = ()) -> Report:
    """The report on the splits of a data set."""
    listings = {split: list_split(root, split, layout=layout) for split in splits or layout_splits(layout)}
    return check_listings(listings, palette or layout_palette(root, layout))
