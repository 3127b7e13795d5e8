"""The folder data set: order, purity of samples, and errors at construction."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gss.data.sources.folder import FolderDataset
from gss.data.transforms import Compose, RandomCrop, RandomFlip
from gss.palette import Palette


def test_items(folder: Path, palette: Palette) -> None:
    dataset = FolderDataset(folder, "train", palette)
    assert len(dataset) == 4
    assert dataset.names == ["n0", "n1", "n2", "n3"]
    item = dataset[1]
    assert item["name"] == "n1"
    assert item["image"].shape == (3, 12, 16) and item["image"].dtype == torch.uint8
    assert item["label"].shape == (12, 16) and item["label"].dtype == torch.uint8
    with pytest.raises(IndexError, match="index: expected 0..3, got 4"):
        dataset[4]


@pytest.mark.parametrize("cache", [True, False])
def test_samples_depend_on_the_generator_only(folder: Path, palette: Palette, cache: bool) -> None:
    transform = Compose((RandomCrop((6, 6)), RandomFlip()))
    dataset = FolderDataset(folder, "train", palette, transform, cache)

    def sample(seed: int) -> dict[str, torch.Tensor]:
        return dataset.sample(2, torch.Generator().manual_seed(seed))

    first, again = sample(5), sample(5)
    assert first["image"].shape == (3, 6, 6)
    assert torch.equal(first["image"], again["image"]) and torch.equal(first["label"], again["label"])
    assert any(not torch.equal(first["image"], sample(seed)["image"]) for seed in range(6, 12))


def test_callers_cannot_change_the_cache(folder: Path, palette: Palette) -> None:
    dataset = FolderDataset(folder, "val", palette)
    before = dataset[0]["label"].clone()
    dataset[0]["label"].fill_(9)
    dataset.sample(0, torch.Generator())["label"].fill_(9)
    assert torch.equal(dataset[0]["label"], before)


def test_missing_folder(folder: Path, palette: Palette) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder; expected .*images/test/NAME.jpg"):
        FolderDataset(folder, "test", palette)


def test_no_images(folder: Path, palette: Palette) -> None:
    for file in (folder / "images" / "val").iterdir():
        file.unlink()
    with pytest.raises(ValueError, match="no images"):
        FolderDataset(folder, "val", palette)


def test_missing_annotation(folder: Path, palette: Palette) -> None:
    (folder / "annotations" / "train" / "n2.png").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 4 images have no annotation PNG: n2"):
        FolderDataset(folder, "train", palette)


def test_two_images_of_one_name(folder: Path, palette: Palette) -> None:
    (folder / "images" / "train" / "n0.png").write_bytes((folder / "images" / "train" / "n1.png").read_bytes())
    with pytest.raises(ValueError, match="two images of one name: n0.jpg and n0.png"):
        FolderDataset(folder, "train", palette)


def test_sizes_must_agree(folder: Path, palette: Palette) -> None:
    from gss.io.labels import write_label

    write_label(folder / "annotations" / "val" / "n0.png", torch.zeros(5, 5, dtype=torch.uint8), palette)
    with pytest.raises(ValueError, match=r"label is \(5, 5\)"):
        FolderDataset(folder, "val", palette)[0]
