"""MSeg: seven relabelled training sets in the universal taxonomy, and six test sets in taxonomies of their own.

DIR (mseg_dataset) is the folder that the scripts of mseg-api make. The folders, suffixes and repeats below are those of
the official GSS recipe (mseg_512x512.py), the numbers of test images those of mseg-api's lists. The taxonomies are in
`gss.data.sources.taxonomy`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gss.data.listing import Files, LabelFiles, Listing, list_pairs
from gss.data.sources.taxonomy import train_to_universal


@dataclass(frozen=True)
class SourceSet:
    """A data set in DIR: its folder, its files in there, how often an epoch shows it, and how many images it has.

    `count` is the number of test images, and 0 for training sets.
    """

    folder: str
    images: Files
    labels: Files
    repeat: int = 1
    count: int = 0


def _source(folder: str, images: str, labels: str, repeat: int = 1, count: int = 0) -> SourceSet:
    """Image and label files are written as template and suffix with a "|" between them."""
    image, label = (Files(template, (suffix,)) for template, suffix in (images.split("|"), labels.split("|")))
    return SourceSet(folder, image, label, repeat, count)


TRAIN_SETS = {
    "ade20k-150-relabeled": _source(
        "ADE20K/ADEChallengeData2016",
        "images/training/{}|.jpg",
        "annotations_semseg150_relabeled/training/{}|.png",
        repeat=6,
    ),
    "bdd-relabeled": _source(
        "BDD/bdd100k", "seg/images/train/{}|.jpg", "seg_relabeled/labels/train/{}|_train_id.png", repeat=17
    ),
    "cityscapes-19-relabeled": _source(
        "Cityscapes",
        "leftImg8bit/train/*/{}|_leftImg8bit.png",
        "gtFine_19cls_relabeled/train/*/{}|_gtFine_labelIds.png",
        repeat=40,
    ),
    "coco-panoptic-133-relabeled": _source(
        "COCOPanoptic", "images/train2017/{}|.jpg", "semantic_relabeled133/train2017/{}|.png"
    ),
    "idd-39-relabeled": _source(
        "IDD/IDD_Segmentation",
        "leftImg8bit/train/*/{}|_leftImg8bit.png",
        "gtFine39_relabeled/train/*/{}|_gtFine_labelids.png",
        repeat=17,
    ),
    "mapillary-public65-relabeled": _source(
        "MapillaryVistasPublic", "training/images/{}|.jpg", "training_semseg65_relabeled/labels/{}|.png", repeat=7
    ),
    "sunrgbd-37-relabeled": _source(
        "SUNRGBD", "image/train/img-{}|.jpg", "semseg-relabeled37/train/00{}|.png", repeat=24
    ),
}

# In the order of the paper's table 6.
TEST_SETS = {
    "voc2012": _source("PASCAL_VOC_2012", "JPEGImages/{}|.jpg", "SegmentationClassAug/{}|.png", count=1449),
    "pascal-context-60": _source("PASCAL_Context", "JPEGImages/{}|.jpg", "Segmentation_GT_60cls/{}|.png", count=5105),
    "camvid-11": _source("Camvid", "701_StillsRaw_full/{}|.png", "semseg11/{}|_L.png", count=101),
    "wilddash-19": _source("WildDash", "wd_val_01/{}|_100000.png", "wd_val_19class/{}|_100000_labelIds.png", count=70),
    "kitti-19": _source("KITTI", "training/image_2/{}|.png", "training/label19/{}|.png", count=50),
    "scannet-20": _source("ScanNet/scannet_frames_25k", "*/color/{}|.jpg", "*/label20/{}|.png", count=5436),
}


def list_mseg(root: Path, split: str, lists: Path | None = None) -> Listing:
    """The pairs of all seven training sets, each named SET/NAME, with labels in universal ids.

    Every image of the training folders is used unless `lists` is a folder of lists, see `find_list`. Raises ValueError
    for a split other than "train": the test sets are layouts of their own.
    """
    if split != "train":
        raise ValueError(f"split: expected 'train' (the test sets are layouts of their own), got {split!r}")
    whole = Listing(root)
    for name, source in TRAIN_SETS.items():
        part = list_pairs(
            root,
            source.images,
            [LabelFiles(source.labels, train_to_universal(name))],
            folder=source.folder,
            names=find_list(lists, name, split),
            prefix=f"{name}/",
            repeat=source.repeat,
        )
        whole.pairs += part.pairs
        whole.problems += part.problems
    return whole


def list_test_set(root: Path, split: str, name: str, lists: Path | None = None) -> Listing:
    """The test images of the data set `name` (split "val"), with labels in its own ids.

    `root` is mseg_dataset or the folder of the one data set. `lists` is a text file with the test images or a folder
    of lists, see `find_list`. Without it all labelled images are used; more of them than the test set has are a
    problem, because scores on other images are not comparable. Raises ValueError for another split or name.
    """
    if name not in TEST_SETS:
        raise ValueError(f"name: expected one of {', '.join(TEST_SETS)}, got {name!r}")
    if split != "val":
        raise ValueError(f"split: expected 'val', the test images of {name}, got {split!r}")
    source = TEST_SETS[name]
    folder = source.folder if (root / source.folder).is_dir() else ""
    names = lists if lists is not None and lists.is_file() else find_list(lists, name, split)
    labels = [LabelFiles(source.labels)]
    listing = list_pairs(root, source.images, labels, folder=folder, names=names, unlabelled=True)
    if names is None and len(listing.pairs) > source.count:
        detail = (
            f"{len(listing.pairs)} labelled images, but the test set of {name} has {source.count}; "
            "a list must name them (--lists)"
        )
        listing.add("list needed", root / folder, detail)
    return listing


def find_list(lists: Path | None, data_set: str, split: str) -> Path | None:
    """The list of a data set's split: LISTS/SET/list/SPLIT.txt as in mseg-api, or SPLIT_mmseg.txt as in the GSS code.

    Raises FileNotFoundError if the folder has neither.
    """
    if lists is None:
        return None
    candidates = [lists / data_set / "list" / name for name in (f"{split}.txt", f"{split}_mmseg.txt")]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"{lists}: expected {candidates[0]} or {candidates[1].name} in it, found neither")
