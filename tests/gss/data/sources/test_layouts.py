"""Layouts by name and by folder, and `gss data check` on them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gss.cli import main
from gss.data.dataset import PairDataset
from gss.data.listing import Files, decoded_bytes
from gss.data.sources.layouts import detect_layout, layout_palette, layout_splits, list_split, open_dataset
from gss.palette import Palette
from gss.palettes.files import write_palette
from tests.gss.data.trees import write_ids, write_image


def test_plain_folder(folder: Path, palette: Palette) -> None:
    assert detect_layout(folder) == "folder" and layout_splits("folder") == ("train", "val")
    with pytest.raises(ValueError, match="no palette.json, and no palette was given"):
        open_dataset(folder, "train")
    write_palette(folder / "palette.json", palette)

    def flip(image: torch.Tensor, label: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        return image.flip(2), label.flip(1)

    dataset = open_dataset(str(folder), "train", transform=flip, cache=False)
    assert dataset.palette == layout_palette(folder, "folder") == palette
    known = open_dataset(folder, "train", palette)
    assert dataset.names == known.names and torch.equal(dataset[2]["image"], known[2]["image"])
    assert torch.equal(dataset.sample(2, torch.Generator())["label"], known[2]["label"].flip(1))


def test_folder_that_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected images/SPLIT and annotations/SPLIT, or the official folders of one"):
        detect_layout(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere: no such list of images"):
        list_split(tmp_path, "train", layout="folder", lists=tmp_path / "nowhere")


def test_a_list_for_a_plain_folder(folder: Path, palette: Palette, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("n3\nn1\n")
    assert open_dataset(folder, "train", palette, lists=names).names == ["n1", "n3"]


def test_a_data_set_has_pairs(tmp_path: Path, palette: Palette) -> None:
    with pytest.raises(ValueError, match="expected image and label pairs in the split 'train', got none"):
        PairDataset(tmp_path, "train", [], palette)


def test_decoded_bytes_stop_at_the_limit(folder: Path, palette: Palette) -> None:
    pairs = open_dataset(folder, "train", palette).pairs
    assert decoded_bytes(pairs) == 4 * 4 * 12 * 16
    assert decoded_bytes(pairs, limit=1000) == 2 * 4 * 12 * 16


def test_names_are_what_the_template_leaves_open() -> None:
    files = Files("a/*/b/x-{}", ("_i.png", ".jpg"))
    assert files.name("a/ulm/b/x-7_i.png") == files.name("a/ulm/b/x-7.JPG") == "ulm/7"
    assert files.name("a/ulm/b/7.jpg") is None and files.name("a/ulm/c/b/x-7.jpg") is None
    assert files.path("ulm/7") == "a/ulm/b/x-7_i.png"
    assert files.base == "a" and files.example == "a/FOLDER/b/x-NAME_i.png"
    assert Files("image/train/img-{}", (".jpg",)).base == "image/train"


def test_hidden_files_and_other_folders_are_left_out(tmp_path: Path) -> None:
    for name in ("s1/color/2.jpg", "s1/color/1.jpg", "s1/color/._1.jpg", ".s2/color/1.jpg", "s3/other/1.jpg"):
        write_image(tmp_path / name)
    (tmp_path / "readme.txt").write_text("")
    assert [name for name, _ in Files("*/color/{}", (".jpg",)).scan(tmp_path)] == ["s1/1", "s1/2"]


def test_check_command_on_an_official_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "val"):
        write_image(tmp_path / "leftImg8bit" / split / "ulm" / f"{split}_leftImg8bit.png")
        write_ids(tmp_path / "gtFine" / split / "ulm" / f"{split}_gtFine_labelIds.png", [7, 8, 0])
    assert main(["data", "check", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "train: 1 images, val: 1 images" in text and "road" in text and "50.00 %" in text
    write_image(tmp_path / "leftImg8bit" / "val" / "ulm" / "more_leftImg8bit.png")
    assert main(["data", "check", str(tmp_path), "--layout", "cityscapes", "--splits", "val", "--json", "-"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["counts"] == {"val": 1} and report["class_pixels"]["sidewalk"] == 1
    (problem,) = report["problems"]
    assert problem["kind"] == "missing annotation"
    assert problem["detail"] == "no gtFine/val/ulm/more_gtFine_labelTrainIds.png"
    names = tmp_path / "names.txt"
    names.write_text("ulm/val\n")
    assert main(["data", "check", str(tmp_path), "--splits", "val", "--lists", str(names)]) == 0


def test_check_command_asks_for_a_known_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(tmp_path)]) == 1
    assert "official folders of one of cityscapes, ade20k, mseg" in capsys.readouterr().err
    assert main(["data", "check", str(tmp_path), "--layout", "kitti"]) == 1
    assert "layout: expected one of folder" in capsys.readouterr().err
    assert main(["data", "check", str(tmp_path), "--layout", "kitti-19"]) == 1
    assert "missing folder: 2" in capsys.readouterr().out
