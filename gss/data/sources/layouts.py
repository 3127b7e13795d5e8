"""Data sets by the layout of their folders: which layout a folder has, its splits, its palette, the data set itself."""

from __future__ import annotations

import os
from pathlib import Path

from gss.data.dataset import PairDataset, Transform
from gss.data.listing import Listing, list_files
from gss.data.sources.folders import list_ade20k, list_cityscapes, list_folder, list_labels
from gss.data.sources.mseg import TEST_SETS, TRAIN_SETS, list_mseg, list_test_set
from gss.data.sources.taxonomy import palette_of
from gss.palette import Palette

_LISTERS = {
    "folder": list_folder,
    "labels": list_labels,
    "cityscapes": list_cityscapes,
    "ade20k": list_ade20k,
    "mseg": list_mseg,
}
LAYOUTS = (*_LISTERS, *TEST_SETS)


def open_dataset(
    root: str | os.PathLike[str],
    split: str,
    palette: Palette | None = None,
    transform: Transform | None = None,
    cache: bool = True,
    *,
    layout: str | None = None,
    lists: Path | None = None,
) -> PairDataset:
    """A split ("train" or "val") of the data set in the folder `root`, sorted by name.

    Args:
        palette: the classes; by default `layout_palette`.
        transform, cache: see `PairDataset`.
        layout: one of `LAYOUTS`; by default what `detect_layout` finds.
        lists: a text file with the images to use, for MSeg a folder of such files.

    Raises FileNotFoundError and ValueError for missing files, see `Listing.complete`; ValueError for an unknown
    layout, an ambiguous folder, a split that the layout does not have, and a data set without a palette.

    Example:
        >>> import tempfile
        >>> from gss.scenes import generate_scenes
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     generate_scenes(folder, train=1, val=2, size=(48, 64))
        ...     dataset = open_dataset(folder, "val")
        ...     dataset.names, tuple(dataset[0]["image"].shape), tuple(dataset[0]["label"].shape)
        (['00000', '00001'], (3, 48, 64), (48, 64))
    """
    root = Path(root)
    layout = layout or detect_layout(root)
    pairs = list_split(root, split, layout=layout, lists=lists).complete()
    return PairDataset(root, split, pairs, palette or layout_palette(root, layout), transform, cache)


def list_split(root: Path, split: str, *, layout: str | None = None, lists: Path | None = None) -> Listing:
    """The pairs and problems of a split, see `open_dataset`. Missing files are problems in the listing, not errors."""
    layout = layout or detect_layout(root)
    if lists is not None and not lists.exists():
        raise FileNotFoundError(f"{lists}: no such list of images")
    if layout in TEST_SETS:
        return list_test_set(root, split, layout, lists)
    if layout not in _LISTERS:
        raise ValueError(f"layout: expected one of {', '.join(LAYOUTS)}, got {layout!r}")
    return _LISTERS[layout](root, split, lists)


def detect_layout(root: Path) -> str:
    """The layout of the folder. Raises ValueError if it looks like none or like several, and names them."""
    found = _candidates(root)
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"{root}: has the folders of several data sets; choose one with layout: {', '.join(found)}")
    raise ValueError(
        f"{root}: expected images/SPLIT and annotations/SPLIT, or the official folders of one of "
        f"{', '.join(LAYOUTS[2:])}; with layout=NAME the message names the missing folder"
    )


def detect_label_layout(root: Path) -> str:
    """`detect_layout` for work without images: "labels" where there are annotations only, or PNGs without folders."""
    candidates = _candidates(root)
    annotations_only = candidates == ["folder"] and not (root / "images").is_dir()
    if annotations_only or (not candidates and root.is_dir() and list_files(root, (".png",))):
        return "labels"
    return detect_layout(root)


def layout_splits(layout: str) -> tuple[str, ...]:
    """The splits that a layout has.

    Example:
        >>> layout_splits("folder"), layout_splits("kitti-19")
        (('train', 'val'), ('val',))
    """
    if layout == "mseg":
        return ("train",)
    return ("val",) if layout in TEST_SETS else ("train", "val")


def layout_palette(root: Path, layout: str) -> Palette:
    """DIR/palette.json if there is one, else the palette of the layout. Raises ValueError if there is neither."""
    beside = root / "palette.json"
    if beside.is_file():
        return Palette.load(beside)
    if layout in TEST_SETS:
        return palette_of(layout)
    if layout in ("folder", "labels"):
        raise ValueError(f"{root}: no palette.json, and no palette was given")
    return Palette.named(layout)


def _candidates(root: Path) -> list[str]:
    """The layouts that the folder looks like, even if some of their folders are missing."""

    def has(*folders: str) -> bool:
        return all((root / folder).is_dir() for folder in folders)

    ade20k = has("images/training") or has("images/validation")
    looks = {
        "folder": (has("images") or has("annotations")) and not ade20k,
        "cityscapes": has("leftImg8bit", "gtFine"),
        "ade20k": ade20k,
        "mseg": sum(has(train_set.folder) for train_set in TRAIN_SETS.values()) > 1,
    }
    for name, test_set in TEST_SETS.items():
        images, labels = test_set.images.base, test_set.labels.base
        looks[name] = has(test_set.folder) or bool(images and has(images, labels))
    return [name for name, fits in looks.items() if fits]
