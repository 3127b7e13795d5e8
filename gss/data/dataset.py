"""A data set of image and label files, and a checked loop over it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from gss.data.listing import Pair
from gss.io.images import read_image
from gss.io.labels import read_label
from gss.io.progress import Progress
from gss.palette import Palette

Transform = Callable[[torch.Tensor, torch.Tensor, torch.Generator], tuple[torch.Tensor, torch.Tensor]]


class PairDataset(Dataset[dict[str, Any]]):
    """Images uint8 (3, H, W) RGB with label maps uint8 (H, W): class ids 0..K-1, and 255 for pixels without a class.

    Args:
        root: the folder of the data set.
        split: the name of the split, for messages.
        pairs: its files. The data set holds each pair `pair.repeat` times; `names[i]` is the name of item i.
        palette: the classes.
        transform: called as transform(image, label, generator) by `sample` only.
        cache: keep decoded images and labels in memory after their first use.

    Raises ValueError for no pairs.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str,
        pairs: Sequence[Pair],
        palette: Palette,
        transform: Transform | None = None,
        cache: bool = True,
    ) -> None:
        self.root = Path(root)
        self.split = split
        self.palette = palette
        self.transform = transform
        self.pairs = tuple(pairs)
        if not self.pairs:
            raise ValueError(f"{self.root}: expected image and label pairs in the split {split!r}, got none")
        self._order = [k for k, pair in enumerate(self.pairs) for _ in range(pair.repeat)]
        self.names = [self.pairs[k].name for k in self._order]
        self._cache: dict[int, tuple[torch.Tensor, torch.Tensor]] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The pair as stored, without the transform: {"image", "label", "name"}."""
        image, label = self._pair(index)
        return {"image": image.clone(), "label": label.clone(), "name": self.names[index]}

    def sample(self, index: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
        """{"image", "label"} after the transform; depends on the index and the state of the generator only."""
        image, label = self._pair(index)
        if self.transform is None:
            return {"image": image.clone(), "label": label.clone()}
        image, label = self.transform(image, label, generator)
        return {"image": image, "label": label}

    def _pair(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index: expected 0..{len(self) - 1}, got {index}")
        place = self._order[index]
        if self._cache is not None and place in self._cache:
            return self._cache[place]
        pair = self.pairs[place]
        image, label = read_image(pair.image), read_label(pair.label, self.palette, pair.remap)
        if image.shape[1:] != label.shape:
            sizes = f"label is {tuple(label.shape)} (height, width), but the image is {tuple(image.shape[1:])}"
            raise ValueError(f"{pair.label}: {sizes}")
        if self._cache is not None:
            self._cache[place] = (image, label)
        return image, label


def labelled_pairs(
    dataset: PairDataset, palette: Palette, progress: Progress | None = None
) -> Iterator[dict[str, Any]]:
    """Every {"image", "label", "name"} of a data set in order; `progress` is called after each.

    Raises ValueError before the first pair if the classes of the data are not those of `palette`, the model's.
    """
    require_same_classes(palette, dataset)

    def pairs() -> Iterator[dict[str, Any]]:
        for index in range(len(dataset)):
            yield dataset[index]
            if progress is not None:
                progress(index + 1, len(dataset))

    return pairs()


def require_same_classes(palette: Palette, dataset: PairDataset) -> None:
    """Raise ValueError unless the data has the classes of the model's `palette`, in the same order.

    Both the palette of the data set and palette.json in its folder, if there is one, are compared. In another order
    the same class id means different classes, and every score would be wrong without any message.
    """
    palettes = [(f"the data set {dataset.root}", dataset.palette)]
    beside = dataset.root / "palette.json"
    if beside.is_file():
        palettes.append((str(beside), Palette.load(beside)))
    for where, other in palettes:
        pairs = zip_longest(palette.class_names, other.class_names, fillvalue="none")
        for k, (expected, got) in enumerate(pairs):
            if expected != got:
                raise ValueError(
                    f"{where}: expected the model's classes, but class {k} is {got} instead of {expected}; the model's "
                    f"palette is {_listed(palette)}, the data's {_listed(other)}"
                )


def _listed(palette: Palette) -> str:
    return f"{palette.name!r} ({', '.join(palette.class_names)})"
