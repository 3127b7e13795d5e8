"""The files of a split: image and label pairs by name, and the problems of the other files.

A data set is described by two `Files`, one for its images and one for its labels. A pair is what both have under one
name. Listing reads folders, never pixels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from gss.io.pillow import open_image

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Pair:
    """An image and its label file.

    `remap`, uint8 (256,), turns the ids stored in the file into class ids, see `gss.io.labels.read_label`. The data
    set contains the pair `repeat` times.
    """

    name: str
    image: Path
    label: Path
    remap: torch.Tensor | None = field(default=None, compare=False)
    repeat: int = 1


@dataclass(frozen=True)
class Problem:
    """One problem: its kind (`gss.data.check.KINDS`), the file or folder relative to the root, and the details."""

    kind: str
    file: str
    detail: str


@dataclass(frozen=True)
class Files:
    """Files at FOLDER/TEMPLATE + one of `suffixes`; "*" in the template is any folder, "{}" the rest of a file name.

    The name of a file is what "*" and "{}" stand for. Suffixes match in any case; hidden files and folders are left
    out.

    Example:
        >>> files = Files("leftImg8bit/train/*/{}", ("_leftImg8bit.png",))
        >>> files.name("leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png")
        'ulm/ulm_000000_000019'
        >>> files.path("ulm/ulm_000000_000019")
        'leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png'
    """

    template: str
    suffixes: tuple[str, ...]

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        path = re.escape(self.template).replace(r"\*", "([^/]+)").replace(r"\{\}", "([^/]+)")
        return re.compile(f"{path}(?i:{'|'.join(map(re.escape, self.suffixes))})")

    def name(self, path: str) -> str | None:
        """The name of a file by its path relative to the folder, or None if it is not one of these files."""
        match = self._pattern.fullmatch(path)
        return None if match is None or "/." in f"/{path}" else "/".join(match.groups())

    def path(self, name: str) -> str:
        """The path of the file of that name relative to the folder, with the first suffix."""
        texts = re.split(r"\*|\{\}", self.template)
        return "".join(text + part for text, part in zip(texts, [*name.split("/"), ""], strict=True)) + self.suffixes[0]

    @property
    def base(self) -> str:
        """The folder that must exist: the template up to its first "*" or "{}"."""
        return re.split(r"\*|[^/]*\{\}", self.template)[0].rstrip("/")

    @property
    def example(self) -> str:
        """The form of the paths, for messages."""
        return self.template.replace("{}", "NAME").replace("*", "FOLDER") + self.suffixes[0]

    def scan(self, folder: Path) -> Iterator[tuple[str, Path]]:
        """(name, path) of every file, sorted by path."""
        for path in sorted(folder.glob(self.template.replace("{}", "*"))):
            name = self.name(path.relative_to(folder).as_posix())
            if name is not None:
                yield name, path


@dataclass(frozen=True)
class LabelFiles:
    """Label files, and the table from their stored ids to class ids; None if they store class ids."""

    files: Files
    remap: torch.Tensor | None = None


@dataclass
class Listing:
    """The complete pairs of a split, and the problems of its other files, with paths relative to `root`."""

    root: Path
    pairs: list[Pair] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def add(self, kind: str, path: Path, detail: str) -> None:
        """Note a problem of a file or folder below the root."""
        self.problems.append(Problem(kind, path.relative_to(self.root).as_posix(), detail))

    def complete(self) -> list[Pair]:
        """The pairs, if every image of the split has exactly one label; labels without an image do not matter.

        Raises FileNotFoundError for a missing folder, image or label, ValueError for a split without images, for two
        images of one name, and for a data set that needs a list of its images.
        """
        for problem in self.problems:
            path = self.root / problem.file
            if problem.kind in ("missing folder", "not in the folder"):
                raise FileNotFoundError(f"{path}: {problem.detail}")
            if problem.kind in ("no images", "list needed"):
                raise ValueError(f"{path}: {problem.detail}")
            if problem.kind == "duplicate name":
                raise ValueError(f"{path.parent}: {problem.detail}")
        missing = [problem for problem in self.problems if problem.kind == "missing annotation"]
        if missing:
            names = _shortened([Path(problem.file).name for problem in missing])
            raise FileNotFoundError(
                f"{self.root}: {len(missing)} of {len(missing) + len(self.pairs)} images have no annotation PNG: "
                f"{names} ({missing[0].detail}); `gss data check` lists every problem"
            )
        return self.pairs


def list_pairs(
    root: Path,
    images: Files,
    labels: Sequence[LabelFiles],
    *,
    folder: str = "",
    names: Path | None = None,
    unlabelled: bool = False,
    prefix: str = "",
    repeat: int = 1,
) -> Listing:
    """The pairs of `images` and `labels` below ROOT/folder, sorted by name.

    Args:
        labels: kinds of label files. Where an image has several kinds, the first one is used.
        names: a text file with the images to use, see `read_names`.
        unlabelled: whether images without a label are left out instead of being a problem.
        prefix: text before the names of the pairs.
        repeat: how often the data set contains each pair.
    """
    base, listing = root / folder, Listing(root)
    expected = f"expected {base / images.example} and {base / labels[0].files.example}"
    for directory in dict.fromkeys((images.base, *(kind.files.base for kind in labels))):
        if not (base / directory).is_dir():
            listing.add("missing folder", base / directory, f"no such folder; {expected}")
    if listing.problems:
        return listing
    found = _find_images(listing, base, images, expected)
    labelled = {name: (path, kind.remap) for kind in reversed(labels) for name, path in kind.files.scan(base)}
    wanted = found.keys() | labelled.keys()
    if names is not None:
        listed = read_names(names, images)
        wanted = found.keys() & set(listed)
        absent = sorted(set(listed) - wanted)
        if absent:
            count = f"{len(absent)} of {len(listed)} images that {names} names are not there"
            listing.add("not in the folder", base / images.base, f"{count}: {_shortened(absent)}; {expected}")
    for name in sorted(wanted):
        if name not in labelled:
            if names is not None or not unlabelled:
                path = Path(folder, labels[0].files.path(name)).as_posix()
                listing.add("missing annotation", found[name], f"no {path}")
        elif name not in found:
            listing.add("missing image", labelled[name][0], f"no {Path(folder, images.path(name)).as_posix()}")
        else:
            label, remap = labelled[name]
            listing.pairs.append(Pair(prefix + name, found[name], label, remap, repeat))
    return listing


def _find_images(listing: Listing, base: Path, images: Files, expected: str) -> dict[str, Path]:
    """Image paths by name. No images at all, and two images of one name, become problems of the listing."""
    found: dict[str, Path] = {}
    for name, path in images.scan(base):
        if name in found:
            listing.add("duplicate name", path, f"two images of one name: {found[name].name} and {path.name}")
        else:
            found[name] = path
    if not found:
        kinds = " or ".join(filter(None, (", ".join(images.suffixes[:-1]), images.suffixes[-1])))
        listing.add("no images", base / images.base, f"no images ({kinds}); {expected}")
    return found


def read_names(file: Path, images: Files) -> list[str]:
    """The image names in a list file, one a line: a name, or an image path relative to the data set.

    The suffix of a path may be left out. Only the first word of a line is read; a label path may follow it. Raises
    FileNotFoundError, and ValueError for a list without names.
    """
    words = [line.split()[0] for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not words:
        raise ValueError(f"{file}: expected a name or an image path a line, got an empty file")
    return [images.name(word) or images.name(word + images.suffixes[0]) or word for word in words]


def list_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The files of a folder with one of these suffixes in any case, sorted by name; hidden files are left out."""
    return sorted(
        path for path in folder.iterdir() if path.name.lower().endswith(suffixes) and not path.name.startswith(".")
    )


def decoded_bytes(pairs: Iterable[Pair], limit: float = float("inf")) -> int:
    """Memory in bytes of the decoded images and labels, from the sizes in the image headers.

    Counting stops once the sum is above `limit`: reading a header takes a millisecond, and some data sets have 200,000
    images.
    """
    total = 0
    for pair in pairs:
        with open_image(pair.image) as image:
            total += 4 * image.width * image.height
        if total > limit:
            break
    return total


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
