"""Cityscapes in its official folders: both kinds of label files, names, and what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gss.data.sources.cityscapes import EVALUATED_IDS, LABEL_IDS_TO_TRAIN_IDS, list_cityscapes
from gss.data.sources.layouts import detect_layout, open_dataset
from gss.palette import Palette
from tests.gss.data.trees import write_ids, write_image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two cities with one image each: aachen with train ids and label ids, ulm as it is downloaded."""
    for city, ids, kinds in (("aachen", [0, 18, 255], "TrainIds"), ("ulm", [7, 33, 4], "Ids")):
        stem = f"{city}_000000_000019"
        write_image(tmp_path / "leftImg8bit" / "train" / city / f"{stem}_leftImg8bit.png")
        write_ids(tmp_path / "gtFine" / "train" / city / f"{stem}_gtFine_label{kinds}.png", ids)
        (tmp_path / "gtFine" / "train" / city / f"{stem}_gtFine_polygons.json").write_text("{}")
    write_ids(tmp_path / "gtFine" / "train" / "aachen" / "aachen_000000_000019_gtFine_labelIds.png", [1])
    return tmp_path


def test_pairs_by_city_with_train_ids_first(root: Path) -> None:
    dataset = open_dataset(root, "train")
    assert dataset.names == ["aachen/aachen_000000_000019", "ulm/ulm_000000_000019"]
    assert dataset.palette == Palette.named("cityscapes") and dataset.palette.num_classes == 19
    assert dataset[0]["label"][0, :3].tolist() == [0, 18, 255]
    assert dataset[1]["label"][0, :3].tolist() == [0, 18, 255]
    sample = dataset.sample(1, torch.Generator())
    assert sample["image"].shape == (3, 4, 6) and sample["label"].dtype == torch.uint8


def test_label_ids_follow_the_public_table() -> None:
    table = LABEL_IDS_TO_TRAIN_IDS
    names = Palette.named("cityscapes").class_names
    assert len(EVALUATED_IDS) == 19
    assert names[table[7]] == "road" and names[table[26]] == "car" and names[table[33]] == "bicycle"
    assert names[table[20]] == "traffic sign" and names[table[31]] == "train"
    # caravan and trailer are not evaluated, nor is the license plate, which is -1
    assert [int(table[k]) for k in (0, 6, 18, 29, 30, 255)] == [255] * 6
    assert int(table[34]) == 254  # no id of the data set


def test_layout_is_found(root: Path) -> None:
    assert detect_layout(root) == "cityscapes"


def test_missing_labels_and_splits(root: Path) -> None:
    (root / "gtFine" / "train" / "ulm" / "ulm_000000_000019_gtFine_labelIds.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 2 images .* ulm_000000_000019_leftImg8bit.png .*labelTrainIds"):
        open_dataset(root, "train")
    with pytest.raises(
        FileNotFoundError, match="leftImg8bit/val: no such folder; expected .*FOLDER/NAME_leftImg8bit.png"
    ):
        open_dataset(root, "val")


def test_an_id_that_cityscapes_lacks_is_an_error(root: Path) -> None:
    write_ids(root / "gtFine" / "train" / "ulm" / "ulm_000000_000019_gtFine_labelIds.png", [7, 40])
    with pytest.raises(ValueError, match="ids 40 are not among those of the data set"):
        open_dataset(root, "train")[1]


def test_a_list_of_names_or_paths(root: Path, tmp_path: Path) -> None:
    for line in (
        "ulm/ulm_000000_000019",
        "leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png gtFine/train/ulm/ulm_000000_000019_gtFine_x.png",
    ):
        names = tmp_path / "list.txt"
        names.write_text(f"{line}\n\n")
        assert [pair.name for pair in list_cityscapes(root, "train", names).complete()] == ["ulm/ulm_000000_000019"]
    names.write_text("ulm/ulm_000000_000019\nbonn/nothing\n")
    with pytest.raises(FileNotFoundError, match=r"1 of 2 images that .*list.txt names are not there: bonn/nothing"):
        list_cityscapes(root, "train", names).complete()
    names.write_text("\n")
    with pytest.raises(ValueError, match="got an empty file"):
        list_cityscapes(root, "train", names)
