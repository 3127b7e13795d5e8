"""The six data sets on which MSeg models are tested without training on them.

Their labels are in their own taxonomies, see `gss.data.sources.taxonomy`; 255 is ignored. The data folder is
mseg_dataset as the scripts of mseg-api make it, or the folder of the one data set. Most folders hold more than the test
images, so these sets take a list.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gss.data.listing import Files, LabelFiles, Listing, list_pairs
from gss.data.sources.mseg import find_list


@dataclass(frozen=True)
class EvaluationSet:
    """Its folder in mseg_dataset, its files in there, and the number of test images."""

    folder: str
    images: Files
    labels: Files
    count: int


# Folders and suffixes from the official recipes (mseg_512x512.py), counts from mseg-api's lists; in the order of the
# paper's table 6.
TEST_SETS = {
    "voc2012": EvaluationSet(
        "PASCAL_VOC_2012", Files("JPEGImages/{}", (".jpg",)), Files("SegmentationClassAug/{}", (".png",)), 1449
    ),
    "pascal-context-60": EvaluationSet(
        "PASCAL_Context", Files("JPEGImages/{}", (".jpg",)), Files("Segmentation_GT_60cls/{}", (".png",)), 5105
    ),
    "camvid-11": EvaluationSet(
        "Camvid", Files("701_StillsRaw_full/{}", (".png",)), Files("semseg11/{}", ("_L.png",)), 101
    ),
    "wilddash-19": EvaluationSet(
        "WildDash", Files("wd_val_01/{}", ("_100000.png",)), Files("wd_val_19class/{}", ("_100000_labelIds.png",)), 70
    ),
    "kitti-19": EvaluationSet(
        "KITTI", Files("training/image_2/{}", (".png",)), Files("training/label19/{}", (".png",)), 50
    ),
    "scannet-20": EvaluationSet(
        "ScanNet/scannet_frames_25k", Files("*/color/{}", (".jpg",)), Files("*/label20/{}", (".png",)), 5436
    ),
}


def list_test_set(root: Path, split: str, name: str, lists: Path | None = None) -> Listing:
    """The test images of the data set `name` (split "val"), its labels in its own ids.

    `lists` is a text file that names the test images (`gss.data.listing.read_names`) or a folder of lists, such as
    mseg-api's dataset_lists, with NAME/list/val.txt. Without it all labelled images are meant, and a folder that has
    more of them than the test set is a problem: scores on other images are not comparable. Raises ValueError for
    another split or name.
    """
    if name not in TEST_SETS:
        raise ValueError(f"name: expected one of {', '.join(TEST_SETS)}, got {name!r}")
    if split != "val":
        raise ValueError(f"split: expected 'val', the test images of {name}, got {split!r}")
    test_set = TEST_SETS[name]
    folder = test_set.folder if (root / test_set.folder).is_dir() else ""
    names = lists if lists is not None and lists.is_file() else find_list(lists, name, split)
    labels = [LabelFiles(test_set.labels)]
    listing = list_pairs(root, test_set.images, labels, folder=folder, names=names, unlabelled=True)
    if names is None and len(listing.pairs) > test_set.count:
        detail = (
            f"{len(listing.pairs)} labelled images, but the test set of {name} has {test_set.count}; "
            "a list must name them (--lists)"
        )
        listing.add("list needed", root / folder, detail)
    return listing
