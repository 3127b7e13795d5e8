"""ADE20K in its official folders: 0 is no class, and the official names of the splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gss.data.check import check_listings
from gss.data.sources.layouts import LAYOUTS, detect_layout, layout_palette, layout_splits, list_split, open_dataset
from tests.gss.data.trees import write_ids, write_image


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split, kind in (("training", "train"), ("validation", "val")):
        stem = f"ADE_{kind}_00000001"
        write_image(tmp_path / "images" / split / f"{stem}.jpg")
        write_ids(tmp_path / "annotations" / split / f"{stem}.png", [1, 150, 0])
    return tmp_path


def test_zero_is_ignored_and_classes_count_from_zero(root: Path) -> None:
    assert detect_layout(root) == "ade20k"
    dataset = open_dataset(root, "val")
    assert dataset.names == ["ADE_val_00000001"]
    assert dataset.palette.num_classes == 150
    assert dataset[0]["label"].ravel()[:4].tolist() == [0, 149, 255, 255]


def test_check_counts_class_ids(root: Path) -> None:
    listings = {split: list_split(root, split) for split in layout_splits("ade20k")}
    report = check_listings(listings, layout_palette(root, "ade20k"))
    assert report.ok and report.counts == {"train": 1, "val": 1} and report.sizes == {(4, 6): 2}
    assert np.flatnonzero(report.class_pixels).tolist() == [0, 149] and report.ignored_pixels == 2 * 22
    assert report.class_pixels.dtype == np.int64


def test_an_id_that_ade20k_lacks(root: Path) -> None:
    write_ids(root / "annotations" / "validation" / "ADE_val_00000001.png", [1, 151])
    report = check_listings({"val": list_split(root, "val")}, layout_palette(root, "ade20k"))
    (problem,) = report.problems
    assert (problem.kind, problem.file) == ("class id outside palette", "annotations/validation/ADE_val_00000001.png")
    assert problem.detail == "151 (23 pixels); the data set has other ids in its label files"
    with pytest.raises(ValueError, match="ids 151 are not among"):
        open_dataset(root, "val")[0]


def test_splits_and_layouts_by_name(root: Path) -> None:
    with pytest.raises(ValueError, match="split: expected one of train, val .*, got 'validation'"):
        open_dataset(root, "validation", layout="ade20k")
    with pytest.raises(ValueError, match="layout: expected one of folder, labels, cityscapes, .*, got 'ade'"):
        open_dataset(root, "val", layout="ade")
    assert len(LAYOUTS) == 11
