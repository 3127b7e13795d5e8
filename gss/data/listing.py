"""Which files make up a split: image and label pairs by name, and what is wrong with the rest.

Every data set is two `Files`, one for the images and one for the labels, and a pair is what both have under one name.
Listing reads folders, never pixels.
"""

from __future__ import annotations

import os
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

    `remap`, uint8 (256,), turns the ids stored in the file into class ids, see `gss.io.labels.read_label`. A data set
    made of several shows the pair `repeat` times in an epoch.
    """

    name: str
    image: Path
    label: Path
    remap: torch.Tensor | None = field(default=None, compare=False)
    repeat: int = 1


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: a kind (`gss.data.check.KINDS`), the file or folder, and what was found in it."""

    kind: str
    file: str
    detail: str


@dataclass(frozen=True)
class Files:
    """Files at FOLDER/TEMPLATE + one of `suffixes`; "*" in the template is any folder, "{}" the rest of a file name.

    A file's name is what "*" and "{}" stand for: with "leftImg8bit/train/*/{}" and "_leftImg8bit.png" the file
    leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png is "ulm/ulm_000000_000019". Suffixes match in any case;
    hidden files and folders are left out.
    """

    template: str
    suffixes: tuple[str, ...]

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        parts = re.split(r"(\*|\{\})", self.template)
        path = "".join("([^/]+)" if part in ("*", "{}") else re.escape(part) for part in parts)
        return re.compile(f"{path}(?i:{'|'.join(map(re.escape, self.suffixes))})")

    def name(self, path: str) -> str | None:
        """The name of a file by its path relative to the folder, or None where it is not one of these files."""
        match = self._pattern.fullmatch(path)
        return None if match is None else "/".join(match.groups())

    @property
    def base(self) -> str:
        """The folder that must exist: the template up to its first "*" or "{}"."""
        return re.split(r"\*|[^/]*\{\}", self.template)[0].rstrip("/")

    @property
    def example(self) -> str:
        """How a file looks, for messages."""
        return self.template.replace("{}", "NAME").replace("*", "FOLDER") + self.suffixes[0]

    def scan(self, folder: Path) -> Iterator[tuple[str, Path]]:
        """(name, path) of every file, folders and files each sorted. Raises FileNotFoundError without `base`."""
        directories = [""]
        for part in self.template.split("/")[:-1]:
            if part == "*":
                directories = [f"{d}{name}/" for d in directories for name in _entries(folder / d) if name[0] != "."]
                directories = [d for d in directories if (folder / d).is_dir()]
            else:
                directories = [f"{d}{part}/" for d in directories]
        if "*" in self.template:  # not every folder that "*" matches must have the rest of the path
            directories = [d for d in directories if (folder / d).is_dir()]
        for directory in directories:
            for entry in _entries(folder / directory):
                name = None if entry.startswith(".") else self.name(directory + entry)
                if name is not None:
                    yield name, folder / directory / entry


@dataclass(frozen=True)
class LabelFiles:
    """Label files, and how their ids become class ids (None: they are class ids)."""

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
        """The pairs, where no file of the split is missing or ambiguous; labels without an image do not matter.

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
            total = len(missing) + len(self.pairs)
            names = ", ".join(Path(problem.file).name for problem in missing[:5]) + (
                ", ..." if len(missing) > 5 else ""
            )
            raise FileNotFoundError(
                f"{self.root}: {len(missing)} of {total} images have no annotation PNG: {names} "
                f"({missing[0].detail}); `gss data check` lists every problem"
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

    Where an image has several kinds of label files, the first kind counts. `names` is a text file that names the images
    to use, see `read_names`. With `unlabelled`, images without a label are left out and are no problem. `prefix` goes
    before the names of the pairs.
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
            shown = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
            detail = f"{len(absent)} of {len(listed)} images that {names} names are not there: {shown}; {expected}"
            listing.add("not in the folder", base / images.base, detail)
    for name in sorted(wanted):
        if name not in labelled:
            if names is not None or not unlabelled:
                listing.add("missing annotation", found[name], f"no {_example(labels[0].files, folder, name)}")
        elif name not in found:
            listing.add("missing image", labelled[name][0], f"no {_example(images, folder, name)}")
        else:
            path, remap = labelled[name]
            listing.pairs.append(Pair(prefix + name, found[name], path, remap, repeat))
    return listing


def _find_images(listing: Listing, base: Path, images: Files, expected: str) -> dict[str, Path]:
    """Image paths by name; no images and two of one name become problems of the listing."""
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
    """The image names of a list: a line is a name, or an image's path relative to the data set, with or without suffix.

    What follows the first word of a line, such as the path of the label, is left out. Raises FileNotFoundError, and
    ValueError for a list without names.
    """
    words = [line.split()[0] for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not words:
        raise ValueError(f"{file}: expected a name or an image path a line, got an empty file")
    return [images.name(word) or images.name(word + images.suffixes[0]) or word for word in words]


def decoded_bytes(pairs: Iterable[Pair], limit: float = float("inf")) -> int:
    """Memory in bytes that the decoded images and labels take, from the sizes in the image headers.

    Counting stops once it is above `limit`: a header takes a millisecond and some data sets have 200 000.
    """
    total = 0
    for pair in pairs:
        with open_image(pair.image) as image:
            total += 4 * image.width * image.height
        if total > limit:
            break
    return total


def _entries(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries)


def _example(files: Files, folder: str, name: str) -> str:
    """Where the file of that name would be, relative to the root."""
    texts = re.split(r"\*|\{\}", files.template)
    path = "".join(text + part for text, part in zip(texts, [*name.split("/"), ""], strict=True))
    return "/".join(filter(None, (folder, path))) + files.suffixes[0]
