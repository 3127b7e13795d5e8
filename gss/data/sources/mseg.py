"""MSeg's training data: seven relabelled data sets below one folder, in the universal taxonomy.

DIR (mseg_dataset) holds the folders that mseg-api's download and remapping scripts make. Each set comes up `repeat`
times an epoch, as in the official GSS recipes; sampling is uniform over the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gss.data.listing import Files, LabelFiles, Listing, list_pairs
from gss.data.sources.taxonomy import train_to_universal


@dataclass(frozen=True)
class TrainSet:
    """One of the seven: its folder in DIR, its files in there, and how often it comes up."""

    folder: str
    images: Files
    labels: Files
    repeat: int


JPEG, PNG = (".jpg",), (".png",)

# Folders, suffixes and repeats from the official recipes (mseg_512x512.py).
TRAIN_SETS = {
    "ade20k-150-relabeled": TrainSet(
        "ADE20K/ADEChallengeData2016",
        Files("images/training/{}", JPEG),
        Files("annotations_semseg150_relabeled/training/{}", PNG),
        repeat=6,
    ),
    "bdd-relabeled": TrainSet(
        "BDD/bdd100k",
        Files("seg/images/train/{}", JPEG),
        Files("seg_relabeled/labels/train/{}", ("_train_id.png",)),
        repeat=17,
    ),
    "cityscapes-19-relabeled": TrainSet(
        "Cityscapes",
        Files("leftImg8bit/train/*/{}", ("_leftImg8bit.png",)),
        Files("gtFine_19cls_relabeled/train/*/{}", ("_gtFine_labelIds.png",)),
        repeat=40,
    ),
    "coco-panoptic-133-relabeled": TrainSet(
        "COCOPanoptic",
        Files("images/train2017/{}", JPEG),
        Files("semantic_relabeled133/train2017/{}", PNG),
        repeat=1,
    ),
    "idd-39-relabeled": TrainSet(
        "IDD/IDD_Segmentation",
        Files("leftImg8bit/train/*/{}", ("_leftImg8bit.png",)),
        Files("gtFine39_relabeled/train/*/{}", ("_gtFine_labelids.png",)),
        repeat=17,
    ),
    "mapillary-public65-relabeled": TrainSet(
        "MapillaryVistasPublic",
        Files("training/images/{}", JPEG),
        Files("training_semseg65_relabeled/labels/{}", PNG),
        repeat=7,
    ),
    "sunrgbd-37-relabeled": TrainSet(
        "SUNRGBD",
        Files("image/train/img-{}", JPEG),
        Files("semseg-relabeled37/train/00{}", PNG),
        repeat=24,
    ),
}


def list_mseg(root: Path, split: str, lists: Path | None = None) -> Listing:
    """The pairs of all seven sets, each named SET/NAME, with labels in universal ids.

    Every image of the training folders is used unless `lists` is a folder of lists, such as mseg-api's dataset_lists,
    with SET/list/train.txt or train_mmseg.txt for each set. Raises ValueError for a split other than "train": MSeg is
    evaluated on the data sets of `gss.data.sources.mseg`.
    """
    if split != "train":
        raise ValueError(f"split: expected 'train' (the test sets are layouts of their own), got {split!r}")
    whole = Listing(root)
    for name, train_set in TRAIN_SETS.items():
        part = list_pairs(
            root,
            train_set.images,
            [LabelFiles(train_set.labels, train_to_universal(name))],
            folder=train_set.folder,
            names=find_list(lists, name, split),
            prefix=f"{name}/",
            repeat=train_set.repeat,
        )
        whole.pairs += part.pairs
        whole.problems += part.problems
    return whole


def find_list(lists: Path | None, data_set: str, split: str) -> Path | None:
    """The list of a data set's split: LISTS/SET/list/SPLIT.txt as in mseg-api, or SPLIT_mmseg.txt as in the GSS code.

    Raises FileNotFoundError where the folder has neither.
    """
    if lists is None:
        return None
    candidates = [lists / data_set / "list" / name for name in (f"{split}.txt", f"{split}_mmseg.txt")]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"{lists}: expected {candidates[0]} or {candidates[1].name} in it, found neither")


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
