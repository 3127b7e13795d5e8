"""Checks a data set before training: every file is read, and every problem is reported with names and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gss.data.listing import Listing, Pair, Problem, list_files
from gss.io.images import UnreadableFile, read_image
from gss.io.labels import ColorMask, outside_palette, read_label, unknown_colors
from gss.io.progress import Progress
from gss.palette import Palette

# The kinds of problems with a short explanation, in the order of the summary.
KINDS = {
    "missing folder": "the layout has it",
    "no images": "the split has none",
    "missing annotation": "an image without its label file",
    "missing image": "a label file without its image",
    "duplicate name": "two images that share one annotation",
    "not in the folder": "the list names images that are not there",
    "list needed": "the folder holds more than the test images",
    "unreadable file": "damaged, truncated or not an image",
    "wrong mode": "a pixel format that is not 8 bits",
    "colour mask": "an RGB annotation where class ids are expected",
    "size mismatch": "image and annotation differ in size",
    "class id outside palette": "labels must be 0..K-1, or 255 for ignore",
}


@dataclass
class Report:
    """The result of a check.

    Attributes:
        counts: usable pairs of each split.
        sizes: readable images by (height, width).
        class_pixels: int64 (K,), the pixels of each class over all readable labels. A label counts as often as the
            data set repeats it.
        ignored_pixels: pixels with the label 255, counted the same way.
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
        """Plain text: usable pairs, sizes, the share of each class, then `per_kind` files of each kind of problem."""
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
            if found:
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
            "problems": [asdict(problem) for problem in self.problems],
        }


class DataError(Exception):
    """The data set has problems; `report` lists them all."""

    def __init__(self, report: Report) -> None:
        super().__init__(f"the data has {len(report.problems)} problem(s)\n{report.summary()}")
        self.report = report


def check_listings(listings: Mapping[str, Listing], palette: Palette, progress: Progress | None = None) -> Report:
    """Read every image and label of the splits. Nothing is changed, and bad data raises no error.

    `progress(done, total)` is called after every pair. Raises ValueError for no splits.

    Example:
        >>> import tempfile
        >>> from gss.data.sources.layouts import list_split
        >>> from gss.scenes import generate_scenes
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     generate_scenes(folder, train=1, val=2, size=(48, 64))
        ...     report = check_listings({"val": list_split(Path(folder), "val")}, Palette.named("scenes"))
        >>> report.ok, report.counts
        (True, {'val': 2})
    """
    if not listings:
        raise ValueError("listings: expected one for each split, got none")
    root = next(iter(listings.values())).root
    report = Report(str(root), palette.class_names, class_pixels=np.zeros(palette.num_classes, np.int64))
    total, done = sum(len(listing.pairs) for listing in listings.values()), 0
    for split, listing in listings.items():
        report.counts[split] = 0
        report.problems += listing.problems
        for pair in listing.pairs:
            problems = len(report.problems)
            _check_pair(root, pair, palette, report)
            report.counts[split] += problems == len(report.problems)
            done += 1
            if progress is not None:
                progress(done, total)
    return report


def largest_class_id(root: str | Path, splits: Iterable[str] = ("train", "val"), per_split: int = 200) -> int | None:
    """The largest class id below 255 in about `per_split` annotations of each split, or None if there is none.

    The annotations are spread over the whole split. Files that are no index PNGs are skipped; `check_listings`
    reports them.
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


def _check_pair(root: Path, pair: Pair, palette: Palette, report: Report) -> None:
    """Add the problems, the size and the class counts of a pair; sizes and counts even if the pair has problems."""

    def problem(kind: str, path: Path, detail: str) -> None:
        report.problems.append(Problem(kind, path.relative_to(root).as_posix(), detail.removeprefix(f"{path}: ")))

    image_size: tuple[int, ...] | None = None
    label_size: tuple[int, ...] | None = None
    try:
        _, height, width = read_image(pair.image).shape
        image_size = (height, width)
        report.sizes[height, width] += 1
    except UnreadableFile as error:
        problem("unreadable file", pair.image, str(error))
    except ValueError as error:
        problem("wrong mode", pair.image, str(error))
    try:
        labels = read_label(pair.label).numpy()
        label_size = labels.shape
        stored = np.bincount(labels.ravel(), minlength=256)
        counts = stored if pair.remap is None else np.bincount(pair.remap.numpy(), stored, 256).astype(np.int64)
        report.class_pixels += pair.repeat * counts[: palette.num_classes]
        report.ignored_pixels += pair.repeat * int(counts[palette.ignore_index])
        unknown = outside_palette(labels, palette, pair.remap)
        if unknown:
            described = _describe_ids(unknown, stored, palette, own_ids=pair.remap is not None)
            problem("class id outside palette", pair.label, described)
    except UnreadableFile as error:
        problem("unreadable file", pair.label, str(error))
    except ColorMask as error:
        label_size = error.rgb.shape[:2]
        problem("colour mask", pair.label, _describe_colors(error.rgb, palette))
    except ValueError as error:
        problem("wrong mode", pair.label, str(error))
    if image_size is not None and label_size is not None and image_size != label_size:
        label_text, image_text = ("x".join(map(str, size)) for size in (label_size, image_size))
        problem("size mismatch", pair.label, f"label {label_text}, image {image_text} (height x width)")


def _describe_ids(unknown: list[int], counts: np.ndarray, palette: Palette, own_ids: bool) -> str:
    shown = ", ".join(f"{value} ({counts[value]} pixels)" for value in unknown[:8])
    more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
    if own_ids:
        return f"{shown}{more}; the data set has other ids in its label files"
    counts_from_one = unknown == [palette.num_classes]
    hint = "; if ids count from 1, subtract 1 and make 0 the ignore value 255" if counts_from_one else ""
    return f"{shown}{more}; {palette.name!r} has 0..{palette.num_classes - 1}{hint}"


def _describe_colors(rgb: np.ndarray, palette: Palette) -> str:
    unknown = unknown_colors(rgb, palette)
    if not unknown:
        return f"all colours are in the palette {palette.name!r}; convert it with gss.io.labels.rgb_to_labels"
    if (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 0] == rgb[..., 2]).all():
        return "all pixels are grey: probably class ids saved as RGB; save one channel as an 8-bit PNG"
    shown = ", ".join(f"{color} ({count} pixels)" for color, count in unknown[:5])
    more = f" and {len(unknown) - 5} more colours" if len(unknown) > 5 else ""
    return f"colours that are not in the palette {palette.name!r}: {shown}{more}"
