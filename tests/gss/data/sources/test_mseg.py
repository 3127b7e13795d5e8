"""MSeg: seven training sets that repeat, in universal ids, and six test sets in ids of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from gss.data.sources.layouts import detect_layout, list_split, open_dataset
from gss.data.sources.mseg import TEST_SETS, TRAIN_SETS
from gss.data.sources.taxonomy import classes_of
from gss.palette import Palette
from tests.gss.data.trees import TEST_FILES, check, write_ids, write_image

# An image and its label in each set, written out once more.
TRAIN_FILES = {
    "ADE20K/ADEChallengeData2016/images/training/ADE_train_00000001.jpg": "ADE20K/ADEChallengeData2016/"
    "annotations_semseg150_relabeled/training/ADE_train_00000001.png",
    "BDD/bdd100k/seg/images/train/0004a4c0.jpg": "BDD/bdd100k/seg_relabeled/labels/train/0004a4c0_train_id.png",
    "Cityscapes/leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png": "Cityscapes/gtFine_19cls_relabeled/train/ulm/"
    "ulm_000000_000019_gtFine_labelIds.png",
    "COCOPanoptic/images/train2017/000000000009.jpg": "COCOPanoptic/semantic_relabeled133/train2017/000000000009.png",
    "IDD/IDD_Segmentation/leftImg8bit/train/0/005506_leftImg8bit.png": "IDD/IDD_Segmentation/gtFine39_relabeled/train/"
    "0/005506_gtFine_labelids.png",
    "MapillaryVistasPublic/training/images/a_b.jpg": "MapillaryVistasPublic/training_semseg65_relabeled/labels/a_b.png",
    "SUNRGBD/image/train/img-000007.jpg": "SUNRGBD/semseg-relabeled37/train/00000007.png",
}
TEST_NAMES = ["2007_000033", "2008_000002", "0016E5_07959", "au0000", "000052_10", "scene0568_00/001500"]
REPEATS = [6, 17, 40, 1, 17, 7, 24]


@pytest.fixture
def training(tmp_path: Path) -> Path:
    for image, label in TRAIN_FILES.items():
        write_image(tmp_path / image)
        write_ids(tmp_path / label, [0, 1, 255])
    return tmp_path


@pytest.fixture
def testing(tmp_path: Path) -> Path:
    for name, (image, label) in TEST_FILES.items():
        write_image(tmp_path / image)
        write_ids(tmp_path / label, [0, len(classes_of(name)) - 1, 255])
    return tmp_path


def test_training_sets_repeat_and_speak_universal(training: Path) -> None:
    assert detect_layout(training) == "mseg"
    dataset = open_dataset(training, "train")
    assert len(dataset.pairs) == 7 and len(dataset) == sum(REPEATS) == 112
    assert [dataset.names.count(pair.name) for pair in dataset.pairs] == REPEATS
    assert dataset.names[0] == "ade20k-150-relabeled/ADE_train_00000001"
    assert dataset.names[-1] == "sunrgbd-37-relabeled/000007"
    assert dataset.names[6 + 17] == "cityscapes-19-relabeled/ulm/ulm_000000_000019"
    names = Palette.named("mseg").class_names
    starts = [sum(REPEATS[:k]) for k in range(7)]
    assert [[names[k] for k in dataset[start]["label"].ravel()[:2]] for start in starts] == [
        ["airplane", "animal_other"],
        ["bicycle", "bicyclist"],
        ["bicycle", "bicyclist"],
        ["airplane", "apple"],
        ["autorickshaw", "backpack"],
        ["animal_other", "banner"],
        ["apparel", "armchair"],
    ]
    assert dataset[0]["label"][-1, -1] == 255


def test_repeats_weigh_in_the_class_shares(training: Path) -> None:
    report = check(training, "mseg")
    assert report.ok and report.counts == {"train": 7}
    assert report.class_pixels.sum() == 2 * 112 and report.ignored_pixels == 22 * 112


def test_training_set_that_is_missing_is_named(training: Path) -> None:
    (training / "SUNRGBD" / "image").rename(training / "elsewhere")
    with pytest.raises(FileNotFoundError, match="SUNRGBD/image/train: no such folder; expected .*img-NAME.jpg"):
        open_dataset(training, "train")
    with pytest.raises(ValueError, match="split: expected 'train'"):
        open_dataset(training, "val", layout="mseg")


def test_lists_choose_training_images(training: Path, tmp_path: Path) -> None:
    extra = "BDD/bdd100k/seg/images/train/ffff.jpg"
    write_image(training / extra)  # has no label, and the list does not name it
    lists = tmp_path / "dataset_lists"
    for (image, label), name in zip(TRAIN_FILES.items(), TRAIN_SETS, strict=True):
        folder = f"{TRAIN_SETS[name].folder}/"
        (lists / name / "list").mkdir(parents=True)
        line = f"{image.removeprefix(folder)} {label.removeprefix(folder)}\n"
        (lists / name / "list" / "train.txt").write_text(line)
    assert len(open_dataset(training, "train", lists=lists).pairs) == 7
    with pytest.raises(FileNotFoundError, match="1 of 8 images have no annotation PNG: ffff.jpg"):
        open_dataset(training, "train")
    # the GSS code's kind of list: stems
    sunrgbd = lists / "sunrgbd-37-relabeled" / "list"
    (sunrgbd / "train.txt").unlink()
    (sunrgbd / "train_mmseg.txt").write_text("000007\n")
    assert len(open_dataset(training, "train", lists=lists).pairs) == 7
    (sunrgbd / "train_mmseg.txt").unlink()
    with pytest.raises(FileNotFoundError, match="expected .*train.txt or train_mmseg.txt"):
        open_dataset(training, "train", lists=lists)


@pytest.mark.parametrize(("name", "image"), list(zip(TEST_SETS, TEST_NAMES, strict=True)))
def test_test_sets_keep_their_own_ids(testing: Path, name: str, image: str) -> None:
    dataset = open_dataset(testing, "val", layout=name)
    classes = classes_of(name)
    assert dataset.palette.class_names == classes
    assert dataset.names == [image]
    assert dataset[0]["label"].ravel()[:3].tolist() == [0, len(classes) - 1, 255]
    # the folder of the one data set does as well
    assert open_dataset(testing / TEST_SETS[name].folder, "val", layout=name).names == dataset.names


def test_all_test_sets_in_one_folder_are_ambiguous(testing: Path) -> None:
    with pytest.raises(ValueError, match=f"several data sets; choose one with layout: {', '.join(TEST_SETS)}"):
        detect_layout(testing)
    assert detect_layout(testing / "Camvid") == "camvid-11"
    with pytest.raises(ValueError, match="split: expected 'val', the test images of kitti-19, got 'train'"):
        open_dataset(testing, "train", layout="kitti-19")


def test_folder_with_more_than_the_test_images_needs_a_list(testing: Path, tmp_path: Path) -> None:
    for number in range(50):
        write_image(testing / "KITTI" / "training" / "image_2" / f"{number:06}_10.png", (1, 1))
        write_ids(testing / "KITTI" / "training" / "label19" / f"{number:06}_10.png", [3], (1, 1))
    write_image(testing / "KITTI" / "training" / "image_2" / "unlabelled.png")
    listing = list_split(testing, "val", layout="kitti-19")
    assert [(problem.kind, problem.file) for problem in listing.problems] == [("list needed", "KITTI")]
    with pytest.raises(
        ValueError, match="51 labelled images, but the test set of kitti-19 has 50; a list must name them"
    ):
        open_dataset(testing, "val", layout="kitti-19")
    names = tmp_path / "val.txt"
    names.write_text("training/image_2/000003_10.png training/label19/000003_10.png\n")
    assert open_dataset(testing, "val", layout="kitti-19", lists=names).names == ["000003_10"]


def test_scannet_lists_by_frame(testing: Path, tmp_path: Path) -> None:
    names = tmp_path / "val.txt"
    for line in ("scene0568_00/color/001500.jpg scene0568_00/label20/001500.png", "scene0568_00/color/001500"):
        names.write_text(line)
        assert open_dataset(testing, "val", layout="scannet-20", lists=names).names == ["scene0568_00/001500"]
    names.write_text("001500\n")  # the list of the GSS code, which does not say the scene
    with pytest.raises(FileNotFoundError, match="1 of 1 images .* are not there: 001500"):
        open_dataset(testing, "val", layout="scannet-20", lists=names)
