"""A data set as a folder of images and index PNGs.

DIR/images/{train,val}/NAME.jpg (or .jpeg, .png)
DIR/annotations/{train,val}/NAME.png
DIR/palette.json (optional)
"""

from __future__ import annotations

import os
from pathlib import Path

from gss.data.dataset import PairDataset, Transform
from gss.data.listing import IMAGE_SUFFIXES, Files, LabelFiles, Listing, list_pairs
from gss.palette import Palette


class FolderDataset(PairDataset):
    """A `PairDataset` of one split of such a folder.

    Names are sorted, so an index means the same on every machine. Raises FileNotFoundError for a missing folder or
    annotation, ValueError for a split without images or for two images of one name.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        split: str,
        palette: Palette,
        transform: Transform | None = None,
        cache: bool = True,
    ) -> None:
        super().__init__(root, split, list_folder(Path(root), split).complete(), palette, transform, cache)


def list_folder(root: Path, split: str, names: Path | None = None) -> Listing:
    """The pairs of DIR/images/SPLIT and DIR/annotations/SPLIT; `names` lists those to use."""
    images = Files(f"images/{split}/{{}}", IMAGE_SUFFIXES)
    return list_pairs(root, images, [LabelFiles(Files(f"annotations/{split}/{{}}", (".png",)))], names=names)


def list_labels(root: Path, split: str, names: Path | None = None) -> Listing:
    """The label maps of DIR/annotations/SPLIT, or where DIR has no annotations/ the PNGs of DIR itself.

    A label map stands for its image too, shown in the colours of its table: stage 1 and what measures it need no photo.
    """
    files = Files(f"annotations/{split}/{{}}" if (root / "annotations").is_dir() else "{}", (".png",))
    return list_pairs(root, files, [LabelFiles(files)], names=names)


def list_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The files of a folder with one of these suffixes in any case, sorted by name; hidden files are left out."""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    return [folder / name for name in names if name.lower().endswith(suffixes)]
