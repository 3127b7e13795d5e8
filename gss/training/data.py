"""The training data of a run: found, checked and counted before the run begins."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from gss.config import AugmentationConfig, Recipe
from gss.data.check import DataError, check_listings
from gss.data.dataset import PairDataset
from gss.data.listing import Pair, decoded_bytes
from gss.data.sources.layouts import detect_layout, layout_palette, list_split
from gss.data.transforms import Augmentation
from gss.palette import Palette, get_palette


@dataclass(frozen=True)
class TrainingData:
    """The train split of a data set. `pixels` counts the labelled pixels of each class; None if not counted."""

    root: Path
    palette: Palette
    pairs: tuple[Pair, ...]
    pixels: tuple[int, ...] | None

    @property
    def names(self) -> list[str]:
        """The names of the samples, each as often as its pair is repeated."""
        return [pair.name for pair in self.pairs for _ in range(pair.repeat)]

    def dataset(self, config: AugmentationConfig, cache_gib: float) -> PairDataset:
        """The samples with a stage's augmentation. Decoded images stay in memory if all fit into `cache_gib`."""
        limit = cache_gib * 2**30
        cache = decoded_bytes(self.pairs, limit) <= limit
        return PairDataset(self.root, "train", self.pairs, self.palette, Augmentation(config), cache)


def find_training_data(
    recipe: Recipe, root: Path, layout: str | None = None, lists: Path | None = None, check: bool = True
) -> TrainingData:
    """The train split in `root`. The folders tell the layout unless it is given.

    With `check`, every file is read first and the pixels of each class are counted.

    Raises:
        DataError: files have problems.
        FileNotFoundError, ValueError: there is no such data set, or it has no palette.
    """
    layout = layout or detect_layout(root)
    palette = recipe_palette(recipe, root, layout)
    listing = list_split(root, "train", layout=layout, lists=lists)
    if not check:
        return TrainingData(root, palette, tuple(listing.complete()), None)
    report = check_listings({"train": listing}, palette)
    if not report.ok:
        raise DataError(report)
    return TrainingData(root, palette, tuple(listing.complete()), tuple(report.class_pixels.tolist()))


def recipe_palette(recipe: Recipe, root: Path, layout: str) -> Palette:
    """The palette to train with.

    It is the recipe's, unless the data folder has a palette.json with other classes. A recipe that starts from a run
    takes the palette of that run, whose weights know no other colours.

    Raises:
        ValueError: the layout or the run has other classes than the palette.
    """
    palette = _data_palette(recipe, root, layout)
    if recipe.start_from is None:
        return palette
    file = Path(recipe.start_from, "config.json")
    start = Palette.from_dict(json.loads(file.read_text())["palette"])
    if start.class_names != palette.class_names:
        raise ValueError(
            f"start_from: {file} does not have the {palette.num_classes} classes of the data, but "
            f"{start.num_classes} of the palette {start.name!r}"
        )
    return start


def _data_palette(recipe: Recipe, root: Path, layout: str) -> Palette:
    palette = get_palette(recipe.palette)
    if (root / "palette.json").is_file():
        own = Palette.load(root / "palette.json")
        return palette if palette.class_names == own.class_names else own
    if layout not in ("folder", "labels"):
        expected = layout_palette(root, layout)
        if palette.class_names != expected.class_names:
            raise ValueError(
                f"palette: {recipe.palette!r} does not have the classes of the {layout!r} data set, which has "
                f"{expected.num_classes}: {', '.join(expected.class_names[:5])}, ..."
            )
    return palette
