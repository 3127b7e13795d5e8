"""Data sets by the layout of their folders: which one a folder has, its splits, its palette, the data set itself."""

from __future__ import annotations

import os
from pathlib import Path

from gss.data.dataset import PairDataset, Transform
from gss.data.listing import Listing
from gss.data.sources.ade20k import list_ade20k
from gss.data.sources.cityscapes import list_cityscapes
from gss.data.sources.folder import list_files, list_folder, list_labels
from gss.data.sources.mseg import TEST_SETS, TRAIN_SETS, list_mseg, list_test_set
from gss.data.sources.taxonomy import palette_of
from gss.palette import Palette

LAYOUTS = ("folder", "labels", "cityscapes", "ade20k", "mseg", *TEST_SETS)


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
    """A split ("train" or "val") of the data set in the folder `root`.

    `layout` is one of `LAYOUTS`, by default what `detect_layout` finds. `palette` names the classes, by default
    `layout_palette`. `lists` is a text file with the images to use, for MSeg a folder of such files. `transform` and
    `cache` as in `PairDataset`.

    Raises FileNotFoundError and ValueError for files that are missing, see `Listing.complete`; ValueError for an
    unknown layout, an ambiguous folder, a split that the layout does not have, and a data set without a palette.
    """
    root = Path(root)
    layout = layout or detect_layout(root)
    pairs = list_split(root, split, layout=layout, lists=lists).complete()
    return PairDataset(root, split, pairs, palette or layout_palette(root, layout), transform, cache)


def list_split(root: Path, split: str, *, layout: str | None = None, lists: Path | None = None) -> Listing:
    """The pairs and problems of a split, see `open_dataset`; problems of its files raise nothing."""
    layout = layout or detect_layout(root)
    if lists is not None and not lists.exists():
        raise FileNotFoundError(f"{lists}: no such list of images")
    if layout == "mseg":
        return list_mseg(root, split, lists)
    if layout in TEST_SETS:
        return list_test_set(root, split, layout, lists)
    if layout == "folder":
        return list_folder(root, split, lists)
    if layout == "labels":
        return list_labels(root, split, lists)
    if layout == "cityscapes":
        return list_cityscapes(root, split, lists)
    if layout == "ade20k":
        return list_ade20k(root, split, lists)
    raise ValueError(f"layout: expected one of {', '.join(LAYOUTS)}, got {layout!r}")


def detect_layout(root: Path) -> str:
    """The layout that the folder has. Raises ValueError where it looks like none or, naming them, like several."""
    found = _candidates(root)
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"{root}: has the folders of several data sets; say which with layout: {', '.join(found)}")
    raise ValueError(
        f"{root}: expected images/SPLIT and annotations/SPLIT, or the official folders of one of "
        f"{', '.join(LAYOUTS[2:])}; with layout=NAME the message says which folder is missing"
    )


def detect_label_layout(root: Path) -> str:
    """`detect_layout` for what needs no images: "labels" where there are annotations only, or PNGs and no folders."""
    if _candidates(root) == ["folder"] and not (root / "images").is_dir():
        return "labels"
    if not _candidates(root) and root.is_dir() and list_files(root, (".png",)):
        return "labels"
    return detect_layout(root)


def layout_splits(layout: str) -> tuple[str, ...]:
    """The splits that are there to be used."""
    if layout == "mseg":
        return ("train",)
    return ("val",) if layout in TEST_SETS else ("train", "val")


def layout_palette(root: Path, layout: str) -> Palette:
    """DIR/palette.json where there is one, else the palette of the layout. Raises ValueError where there is neither."""
    beside = root / "palette.json"
    if beside.is_file():
        return Palette.load(beside)
    if layout in TEST_SETS:
        return palette_of(layout)
    if layout in ("folder", "labels"):
        raise ValueError(f"{root}: no palette.json, and no palette was given")
    return Palette.named(layout)


def _candidates(root: Path) -> list[str]:
    """The layouts that the folder looks like, even where some of their folders are missing."""

    def has(*folders: str) -> bool:
        return all((root / folder).is_dir() for folder in folders)

    ade20k = has("images/training") or has("images/validation")
    found = ["folder"] if (has("images") or has("annotations")) and not ade20k else []
    found += ["cityscapes"] if has("leftImg8bit", "gtFine") else []
    found += ["ade20k"] if ade20k else []
    found += ["mseg"] if sum(has(train_set.folder) for train_set in TRAIN_SETS.values()) > 1 else []
    for name, test_set in TEST_SETS.items():
        images, labels = test_set.images.base, test_set.labels.base
        if has(test_set.folder) or (images and has(images, labels)):
            found.append(name)
    return found
