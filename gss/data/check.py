"""Checks a data folder before training: every file, every problem, with names and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gss.data.folder import IMAGE_SUFFIXES, list_files
from gss.data.labels import ColorMask, UnreadableFile, outside_palette, read_image, read_label, unknown_colors
from gss.palette import Palette

# What each kind means, in the order in which the summary lists them.
KINDS = {
    "missing folder": "expected DIR/images/SPLIT and DIR/annotations/SPLIT",
    "no images": "the split has no .jpg, .jpeg or .png",
    "missing annotation": "an image without its NAME.png",
    "missing image": "an annotation without its image",
    "duplicate name": "two images that share one annotation",
    "unreadable file": "damaged, truncated or not an image",
    "wrong mode": "a pixel format that is not 8 bits",
    "colour mask": "an RGB annotation where class ids are expected",
    "size mismatch": "image and annotation differ in size",
    "class id outside palette": "labels must be 0..K-1, or 255 for ignore",
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: a kind (see KINDS), the file or folder, and what was found in it."""

    kind: str
    file: str
    detail: str


@dataclass
class Report:
    """What `check_folder` found.

    `counts` is the number of usable pairs a split; `sizes` counts the (height, width) of readable images;
    `class_pixels` has one int64 count a class over all readable labels, `ignored_pixels` those of 255.
    """

    root: str
    class_names: tuple[str, ...]
    problems: list[Problem] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    class_pixels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    ignored_pixels: int = 0

    @property
    def ok(self) -> bool:
        return not self.problems

    def summary(self, per_kind: int = 5) -> str:
        """Plain text: usable pairs, sizes, share of each class, then the problems, `per_kind` files each."""
        counts = ", ".join(f"{split}: {count} images" for split, count in self.counts.items())
        lines = [f"{self.root}: {counts}"]
        if self.sizes:
            shown = [f"{height}x{width} ({count})" for (height, width), count in self.sizes.most_common(3)]
            more = f" and {len(self.sizes) - 3} more" if len(self.sizes) > 3 else ""
            lines.append(f"sizes (height x width): {', '.join(shown)}{more}")
        labelled = int(self.class_pixels.sum())
        if labelled:
            width = max(map(len, self.class_names))
            lines.append("share of labelled pixels:")
            for name, pixels in zip(self.class_names, self.class_pixels.tolist(), strict=True):
                never = "" if pixels else "  (never)"
                lines.append(f"  {name:<{width}} {100 * pixels / labelled:6.2f} %{never}")
            ignored = 100 * self.ignored_pixels / (labelled + self.ignored_pixels)
            lines.append(f"  {'ignored, of all':<{width}} {ignored:6.2f} %")
        if self.ok:
            lines.append("no problems found")
        for kind, meaning in KINDS.items():
            found = [problem for problem in self.problems if problem.kind == kind]
            if not found:
                continue
            lines.append(f"{kind}: {len(found)} ({meaning})")
            lines += [f"  {problem.file}: {problem.detail}" for problem in found[:per_kind]]
            if len(found) > per_kind:
                lines.append(f"  ... and {len(found) - per_kind} more")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "root": self.root,
            "ok": self.ok,
            "counts": dict(self.counts),
            "sizes": [{"height": h, "width": w, "images": n} for (h, w), n in self.sizes.most_common()],
            "class_pixels": dict(zip(self.class_names, self.class_pixels.tolist(), strict=True)),
            "ignored_pixels": self.ignored_pixels,
            "problems": [{"kind": p.kind, "file": p.file, "detail": p.detail} for p in self.problems],
        }


class DataError(Exception):
    """The data folder has problems; `report` lists them all."""

    def __init__(self, report: Report) -> None:
        super().__init__(f"the data has {len(report.problems)} problem(s)\n{report.summary()}")
        self.report = report


def check_folder(
    root: str | Path,
    palette: Palette,
    splits: Iterable[str] = ("train", "val"),
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Reads every image and annotation of the splits; nothing is changed and nothing is raised for bad data.

    `progress(done, total)` is called after every file pair.
    """
    root = Path(root)
    report = Report(str(root), palette.class_names, class_pixels=np.zeros(palette.num_classes, np.int64))
    pairs: list[tuple[str, Path, Path]] = []
    for split in splits:
        report.counts[split] = 0
        pairs += [(split, image, annotation) for image, annotation in _pairs(root, split, report)]
    for done, (split, image, annotation) in enumerate(pairs, start=1):
        if _check_pair(root, image, annotation, palette, report):
            report.counts[split] += 1
        if progress is not None:
            progress(done, len(pairs))
    return report


def largest_class_id(root: str | Path, splits: Iterable[str] = ("train", "val"), per_split: int = 200) -> int | None:
    """The largest class id (255 is none) in about `per_split` annotations of each split, spread over the whole of it.

    Files that are no index PNGs are left out, `check_folder` is there to name them. None where no class id is found.
    """
    largest = -1
    for split in splits:
        folder = Path(root) / "annotations" / split
        files = list_files(folder, (".png",)) if folder.is_dir() else []
        for file in files[:: max(1, len(files) // per_split)]:
            try:
                labels = read_label(file)
            except (OSError, ValueError):
                continue
            largest = max([largest, *labels[labels != 255].unique().tolist()])
    return None if largest < 0 else largest


def _pairs(root: Path, split: str, report: Report) -> list[tuple[Path, Path]]:
    """The complete pairs of a split; what is missing goes to the report."""

    def problem(kind: str, path: Path, detail: str) -> None:
        report.problems.append(Problem(kind, str(path.relative_to(root)), detail))

    folders = (root / "images" / split, root / "annotations" / split)
    for folder in folders:
        if not folder.is_dir():
            problem("missing folder", folder, "no such folder")
    images: dict[str, Path] = {}
    if folders[0].is_dir():
        for file in list_files(folders[0], IMAGE_SUFFIXES):
            if file.stem in images:
                problem("duplicate name", file, f"same name as {images[file.stem].name}")
            else:
                images[file.stem] = file
        if not images:
            problem("no images", folders[0], "no .jpg, .jpeg or .png in this folder")
    if not folders[1].is_dir():
        return []
    annotations = {file.stem: file for file in list_files(folders[1], (".png",))}
    for name, file in images.items():
        if name not in annotations:
            problem("missing annotation", file, f"no annotations/{split}/{name}.png")
    for name, file in annotations.items():
        if name not in images:
            problem("missing image", file, f"no images/{split}/{name}.jpg, .jpeg or .png")
    return [(images[name], annotations[name]) for name in sorted(set(images) & set(annotations))]


def _check_pair(root: Path, image: Path, annotation: Path, palette: Palette, report: Report) -> bool:
    """Whether the pair can be used; sizes and class counts are added even where something else is wrong."""
    before = len(report.problems)

    def problem(kind: str, path: Path, detail: str) -> None:
        report.problems.append(Problem(kind, str(path.relative_to(root)), detail))

    image_size: tuple[int, int] | None = None
    label_size: tuple[int, ...] | None = None
    try:
        _, height, width = read_image(image).shape
        image_size = (height, width)
        report.sizes[image_size] += 1
    except UnreadableFile as error:
        problem("unreadable file", image, _without_path(error, image))
    except ValueError as error:
        problem("wrong mode", image, _without_path(error, image))
    try:
        labels = read_label(annotation).numpy()
        label_size = labels.shape
        counts = np.bincount(labels.ravel(), minlength=256)
        report.class_pixels += counts[: palette.num_classes]
        report.ignored_pixels += int(counts[palette.ignore_index])
        unknown = outside_palette(labels, palette)
        if unknown:
            problem("class id outside palette", annotation, _describe_ids(unknown, counts, palette))
    except UnreadableFile as error:
        problem("unreadable file", annotation, _without_path(error, annotation))
    except ColorMask as error:
        label_size = error.rgb.shape[:2]
        problem("colour mask", annotation, _describe_colors(error.rgb, palette))
    except ValueError as error:
        problem("wrong mode", annotation, _without_path(error, annotation))
    if image_size is not None and label_size is not None and image_size != label_size:
        problem("size mismatch", annotation, f"label {_size(label_size)}, image {_size(image_size)} (height x width)")
    return len(report.problems) == before


def _describe_ids(unknown: list[int], counts: np.ndarray, palette: Palette) -> str:
    shown = ", ".join(f"{value} ({counts[value]} pixels)" for value in unknown[:8])
    more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
    hint = ""
    if unknown == [palette.num_classes]:
        hint = "; if ids count from 1, subtract 1 and make 0 the ignore value 255"
    return f"{shown}{more}; {palette.name!r} has 0..{palette.num_classes - 1}{hint}"


def _describe_colors(rgb: np.ndarray, palette: Palette) -> str:
    unknown = unknown_colors(rgb, palette)
    if not unknown:
        return f"all colours are in the palette {palette.name!r}; convert it with gss.data.labels.rgb_to_labels"
    if (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 0] == rgb[..., 2]).all():
        return "all pixels are grey: probably class ids saved as RGB; save one channel as an 8-bit PNG"
    shown = ", ".join(f"{color} ({count} pixels)" for color, count in unknown[:5])
    more = f" and {len(unknown) - 5} more colours" if len(unknown) > 5 else ""
    return f"colours that are not in the palette {palette.name!r}: {shown}{more}"


def _size(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))


def _without_path(error: Exception, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")
