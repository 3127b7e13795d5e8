"""Our own folder layout, Cityscapes and ADE20K: pairs, ids, splits, and errors for what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gss.config import AugmentationConfig
from gss.data.sources.folders import EVALUATED_IDS, LABEL_IDS_TO_TRAIN_IDS, list_cityscapes
from gss.data.sources.layouts import LAYOUTS, detect_layout, open_dataset
from gss.data.transforms import Augmentation
from gss.io.labels import write_label
from gss.palette import Palette
from tests.gss.data.trees import check, write_ids, write_image


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    """Two cities with one image each: aachen with train ids and label ids, ulm as it is downloaded."""
    for city, ids, kinds in (("aachen", [0, 18, 255], "TrainIds"), ("ulm", [7, 33, 4], "Ids")):
        stem = f"{city}_000000_000019"
        write_image(tmp_path / "leftImg8bit" / "train" / city / f"{stem}_leftImg8bit.png")
        write_ids(tmp_path / "gtFine" / "train" / city / f"{stem}_gtFine_label{kinds}.png", ids)
        (tmp_path / "gtFine" / "train" / city / f"{stem}_gtFine_polygons.json").write_text("{}")
    write_ids(tmp_path / "gtFine" / "train" / "aachen" / "aachen_000000_000019_gtFine_labelIds.png", [1])
    return tmp_path


@pytest.fixture
def ade20k(tmp_path: Path) -> Path:
    for split, kind in (("training", "train"), ("validation", "val")):
        stem = f"ADE_{kind}_00000001"
        write_image(tmp_path / "images" / split / f"{stem}.jpg")
        write_ids(tmp_path / "annotations" / split / f"{stem}.png", [1, 150, 0])
    return tmp_path


def test_items_of_a_folder(folder: Path, palette: Palette) -> None:
    dataset = open_dataset(folder, "train", palette)
    assert len(dataset) == 4 and dataset.names == ["n0", "n1", "n2", "n3"]
    item = dataset[1]
    assert item["name"] == "n1"
    assert item["image"].shape == (3, 12, 16) and item["image"].dtype == torch.uint8
    assert item["label"].shape == (12, 16) and item["label"].dtype == torch.uint8
    with pytest.raises(IndexError, match="index: expected 0..3, got 4"):
        dataset[4]


@pytest.mark.parametrize("cache", [True, False])
def test_samples_depend_on_the_generator_only(folder: Path, palette: Palette, cache: bool) -> None:
    transform = Augmentation(AugmentationConfig(scale=(1.0, 1.0), crop=(6, 6), photometric=False))
    dataset = open_dataset(folder, "train", palette, transform, cache)

    def sample(seed: int) -> dict[str, torch.Tensor]:
        return dataset.sample(2, torch.Generator().manual_seed(seed))

    first, again = sample(5), sample(5)
    assert first["image"].shape == (3, 6, 6)
    assert torch.equal(first["image"], again["image"]) and torch.equal(first["label"], again["label"])
    assert any(not torch.equal(first["image"], sample(seed)["image"]) for seed in range(6, 12))


def test_callers_cannot_change_the_cache(folder: Path, palette: Palette) -> None:
    dataset = open_dataset(folder, "val", palette)
    before = dataset[0]["label"].clone()
    dataset[0]["label"].fill_(9)
    dataset.sample(0, torch.Generator())["label"].fill_(9)
    assert torch.equal(dataset[0]["label"], before)


def test_broken_folders(folder: Path, palette: Palette) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder; expected .*images/test/NAME.jpg"):
        open_dataset(folder, "test", palette)
    (folder / "annotations" / "train" / "n2.png").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 4 images have no annotation PNG: n2"):
        open_dataset(folder, "train", palette)
    (folder / "images" / "train" / "n0.png").write_bytes((folder / "images" / "train" / "n1.png").read_bytes())
    with pytest.raises(ValueError, match="two images of one name: n0.jpg and n0.png"):
        open_dataset(folder, "train", palette)
    write_label(folder / "annotations" / "val" / "n0.png", torch.zeros(5, 5, dtype=torch.uint8), palette)
    with pytest.raises(ValueError, match=r"label is \(5, 5\)"):
        open_dataset(folder, "val", palette)[0]
    for file in (folder / "images" / "val").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match="no images"):
        open_dataset(folder, "val", palette)


def test_cityscapes_pairs_by_city_with_train_ids_first(cityscapes: Path) -> None:
    assert detect_layout(cityscapes) == "cityscapes"
    dataset = open_dataset(cityscapes, "train")
    assert dataset.names == ["aachen/aachen_000000_000019", "ulm/ulm_000000_000019"]
    assert dataset.palette == Palette.named("cityscapes") and dataset.palette.num_classes == 19
    assert dataset[0]["label"][0, :3].tolist() == [0, 18, 255]
    assert dataset[1]["label"][0, :3].tolist() == [0, 18, 255]
    sample = dataset.sample(1, torch.Generator())
    assert sample["image"].shape == (3, 4, 6) and sample["label"].dtype == torch.uint8


def test_cityscapes_label_ids_follow_the_public_table() -> None:
    table = LABEL_IDS_TO_TRAIN_IDS
    names = Palette.named("cityscapes").class_names
    assert len(EVALUATED_IDS) == 19
    known = {7: "road", 20: "traffic sign", 26: "car", 31: "train", 33: "bicycle"}
    assert {k: names[table[k]] for k in known} == known
    # caravan and trailer are not evaluated, nor is the license plate, which is -1
    assert [int(table[k]) for k in (0, 6, 18, 29, 30, 255)] == [255] * 6
    assert int(table[34]) == 254  # no id of the data set


def test_cityscapes_without_labels_splits_or_with_a_foreign_id(cityscapes: Path) -> None:
    label = cityscapes / "gtFine" / "train" / "ulm" / "ulm_000000_000019_gtFine_labelIds.png"
    write_ids(label, [7, 40])
    with pytest.raises(ValueError, match="ids 40 are not among those of the data set"):
        open_dataset(cityscapes, "train")[1]
    label.unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 2 images .* ulm_000000_000019_leftImg8bit.png .*labelTrainIds"):
        open_dataset(cityscapes, "train")
    missing = "leftImg8bit/val: no such folder; expected .*FOLDER/NAME_leftImg8bit.png"
    with pytest.raises(FileNotFoundError, match=missing):
        open_dataset(cityscapes, "val")


def test_cityscapes_by_a_list_of_names_or_paths(cityscapes: Path) -> None:
    names = cityscapes / "list.txt"
    for line in (
        "ulm/ulm_000000_000019",
        "leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png gtFine/train/ulm/ulm_000000_000019_gtFine_x.png",
    ):
        names.write_text(f"{line}\n\n")
        pairs = list_cityscapes(cityscapes, "train", names).complete()
        assert [pair.name for pair in pairs] == ["ulm/ulm_000000_000019"]
    names.write_text("ulm/ulm_000000_000019\nbonn/nothing\n")
    with pytest.raises(FileNotFoundError, match=r"1 of 2 images that .*list.txt names are not there: bonn/nothing"):
        list_cityscapes(cityscapes, "train", names).complete()
    names.write_text("\n")
    with pytest.raises(ValueError, match="got an empty file"):
        list_cityscapes(cityscapes, "train", names)


def test_ade20k_ignores_zero_and_counts_classes_from_zero(ade20k: Path) -> None:
    assert detect_layout(ade20k) == "ade20k"
    dataset = open_dataset(ade20k, "val")
    assert dataset.names == ["ADE_val_00000001"] and dataset.palette.num_classes == 150
    assert dataset[0]["label"].ravel()[:4].tolist() == [0, 149, 255, 255]
    report = check(ade20k, "ade20k")
    assert report.ok and report.counts == {"train": 1, "val": 1} and report.sizes == {(4, 6): 2}
    assert np.flatnonzero(report.class_pixels).tolist() == [0, 149] and report.ignored_pixels == 2 * 22
    assert report.class_pixels.dtype == np.int64


def test_ade20k_with_a_foreign_id(ade20k: Path) -> None:
    write_ids(ade20k / "annotations" / "validation" / "ADE_val_00000001.png", [1, 151])
    (problem,) = check(ade20k, "ade20k", splits=("val",)).problems
    assert (problem.kind, problem.file) == ("class id outside palette", "annotations/validation/ADE_val_00000001.png")
    assert problem.detail == "151 (23 pixels); the data set has other ids in its label files"
    with pytest.raises(ValueError, match="ids 151 are not among"):
        open_dataset(ade20k, "val")[0]


def test_unknown_splits_and_layouts(ade20k: Path) -> None:
    with pytest.raises(ValueError, match="split: expected one of train, val .*, got 'validation'"):
        open_dataset(ade20k, "validation", layout="ade20k")
    with pytest.raises(ValueError, match="layout: expected one of folder, labels, cityscapes, .*, got 'ade'"):
        open_dataset(ade20k, "val", layout="ade")
    assert len(LAYOUTS) == 11
