"""A data set as a folder of images and index PNGs.

DIR/images/{train,val}/NAME.jpg (or .jpeg, .png)
DIR/annotations/{train,val}/NAME.png
DIR/palette.json (optional)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from gss.data.labels import read_image, read_label
from gss.palette import Palette

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")

Transform = Callable[[torch.Tensor, torch.Tensor, torch.Generator], tuple[torch.Tensor, torch.Tensor]]


class FolderDataset(Dataset[dict[str, Any]]):
    """Images uint8 (3, H, W) RGB with labels uint8 (H, W), class ids 0..K-1 and 255 = ignore.

    `transform(image, label, generator)` is applied by `sample` only. With `cache`, decoded arrays stay in memory after
    their first use (CamVid's train split: 250 MB). Names are sorted, so an index means the same on every machine.

    Raises FileNotFoundError for a missing folder or annotation, ValueError for a split without images or for two
    images of one name.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str,
        palette: Palette,
        transform: Transform | None = None,
        cache: bool = True,
    ) -> None:
        self.root = Path(root)
        self.split = split
        self.palette = palette
        self.transform = transform
        images, annotations = split_files(self.root, split)
        missing = sorted(set(images) - set(annotations))
        if missing:
            shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
            raise FileNotFoundError(
                f"{self.root / 'annotations' / split}: {len(missing)} of {len(images)} images have no annotation PNG: "
                f"{shown}; `gss data check` lists every problem"
            )
        self.names = sorted(images)
        self._images = images
        self._annotations = annotations
        self._cache: dict[int, tuple[torch.Tensor, torch.Tensor]] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The pair as stored: {"image", "label", "name"}, without the transform."""
        image, label = self._pair(index)
        return {"image": image.clone(), "label": label.clone(), "name": self.names[index]}

    def sample(self, index: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """{"image", "label"} after the transform; a pure function of the index and the generator's state."""
        image, label = self._pair(index)
        if self.transform is None:
            return {"image": image.clone(), "label": label.clone()}
        image, label = self.transform(image, label, generator)
        return {"image": image, "label": label}

    def _pair(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index: expected 0..{len(self) - 1}, got {index}")
        index %= len(self)
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        name = self.names[index]
        image = read_image(self._images[name])
        label = read_label(self._annotations[name], self.palette)
        if image.shape[1:] != label.shape:
            raise ValueError(
                f"{self._annotations[name]}: label is {tuple(label.shape)} (height, width), but the image is "
                f"{tuple(image.shape[1:])}"
            )
        if self._cache is not None:
            self._cache[index] = (image, label)
        return image, label


def split_files(root: Path, split: str) -> tuple[dict[str, Path], dict[str, Path]]:
    """The files of a split by name: (images, annotations).

    Raises FileNotFoundError for a missing folder, ValueError for no images at all or two images of one name.
    """
    folders = (root / "images" / split, root / "annotations" / split)
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{folder}: no such folder; expected {root}/images/{split}/NAME.jpg and "
                f"{root}/annotations/{split}/NAME.png"
            )
    images: dict[str, Path] = {}
    for file in list_files(folders[0], IMAGE_SUFFIXES):
        if file.stem in images:
            raise ValueError(f"{folders[0]}: two images of one name: {images[file.stem].name} and {file.name}")
        images[file.stem] = file
    if not images:
        raise ValueError(f"{folders[0]}: no images (.jpg, .jpeg or .png)")
    return images, {file.stem: file for file in list_files(folders[1], (".png",))}


def list_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The files of a folder with one of these suffixes in any case, sorted by name; hidden files are left out."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    return [folder / name for name in names if name.lower().endswith(suffixes)]
