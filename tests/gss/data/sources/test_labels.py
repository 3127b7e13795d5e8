"""Label maps without images, for what needs only those."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gss.cli import main
from gss.data.sources.layouts import detect_label_layout, detect_layout, list_split, open_dataset
from gss.io.labels import write_label
from gss.palette import Palette
from gss.palettes.files import write_palette

PALETTE = Palette("two", ("a", "b"), ((0, 0, 0), (255, 0, 0)))


def write(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True)
    for index, name in enumerate(names):
        labels = torch.zeros(6, 8 + index, dtype=torch.uint8)
        labels[2:] = 1
        write_label(folder / name, labels, PALETTE)


def test_annotations_alone(tmp_path: Path) -> None:
    write(tmp_path / "annotations" / "train", "b.png", "a.png")
    write(tmp_path / "annotations" / "val", "c.png")
    assert detect_label_layout(tmp_path) == "labels" and detect_layout(tmp_path) == "folder"
    dataset = open_dataset(tmp_path, "train", PALETTE, layout="labels")
    assert dataset.names == ["a", "b"]
    item = dataset[0]
    assert item["label"].shape == (6, 9) and item["label"].unique().tolist() == [0, 1]
    # A label map is its own image, in the colours of its table.
    assert item["image"][:, 0, 0].tolist() == [0, 0, 0] and item["image"][:, 5, 0].tolist() == [255, 0, 0]
    assert open_dataset(tmp_path, "val", PALETTE, layout="labels").names == ["c"]
    with pytest.raises(ValueError, match=r"no palette\.json, and no palette was given"):
        open_dataset(tmp_path, "val", layout="labels")


def test_a_folder_of_pngs_is_any_split(tmp_path: Path) -> None:
    write(tmp_path / "maps", "x.png", "y.PNG")
    (tmp_path / "maps" / "notes.txt").write_text("no label map")
    assert detect_label_layout(tmp_path / "maps") == "labels"
    for split in ("train", "val"):
        assert open_dataset(tmp_path / "maps", split, PALETTE, layout="labels").names == ["x", "y"]
    with pytest.raises(ValueError, match="expected images/SPLIT and annotations/SPLIT"):
        detect_label_layout(tmp_path)


def test_folders_with_images_are_what_they_were(tmp_path: Path) -> None:
    write(tmp_path / "annotations" / "train", "a.png")
    (tmp_path / "images").mkdir()
    assert detect_label_layout(tmp_path) == "folder"


def test_check_names_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "annotations" / "train", "a.png", "b.png")
    write(tmp_path / "annotations" / "val", "c.png")
    write_palette(tmp_path / "palette.json", PALETTE)
    assert main(["data", "check", str(tmp_path), "--layout", "labels"]) == 0
    three = Palette("three", ("a", "b", "c"), ((0, 0, 0), (255, 0, 0), (0, 255, 0)))
    write_label(tmp_path / "annotations" / "train" / "b.png", torch.full((4, 4), 2, dtype=torch.uint8), three)
    assert main(["data", "check", str(tmp_path), "--layout", "labels"]) == 1
    assert "annotations/train/b.png: 2 (16 pixels)" in capsys.readouterr().out
    listing = list_split(tmp_path, "test", layout="labels")
    assert [problem.kind for problem in listing.problems] == ["missing folder"]
