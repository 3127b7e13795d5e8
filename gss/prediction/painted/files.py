"""From file to file, in bands of rows: a PNG of any height in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from gss.io.files import PathLike, replace_file
from gss.palette import Palette, get_palette
from gss.prediction.painted.bands import decode_bands
from gss.prediction.painted.memory import require_known
from gss.prediction.painted.nearest import Nearest
from gss.prediction.painted.picture import Grey, open_picture
from gss.prediction.painted.png.writer import png_writer
from gss.prediction.painted.unknown import UnknownColors
from gsskernels import confusion_matrix

MARGIN_SUFFIXES = (".png", ".npy")


@dataclass(frozen=True)
class FileSummary:
    """What was decoded: its size, the pixels of each class (K,) and of the label 255, and the unknown colours."""

    height: int
    width: int
    pixels: tuple[int, ...]
    ignored: int
    unknown: UnknownColors


def decode_file(
    source: PathLike,
    palette: Palette | str | PathLike,
    labels: PathLike,
    *,
    margin: PathLike | None = None,
    grey: Grey = "ids",
    ignore_color: bool = True,
    unknown_tolerance: float | None = None,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> FileSummary:
    """`decode` from an image file to an index PNG in the palette's colours, whose values are the class ids.

    PNGs are read in bands of rows, so memory does not depend on their height; interlaced ones, those that an EXIF entry
    turns and other formats go through Pillow, which holds them whole, 3 bytes a pixel. Files are complete or not there.

    Args:
        source, palette, grey, ignore_color, unknown_tolerance, strict: as in `decode`; `source` is a path.
        labels: the PNG to write.
        margin: where to write the margins: NAME.png, 8-bit grey, in whole levels, 255 for more; or NAME.npy, float32
            (H, W), exact.
        progress: is called with (rows done, rows of the picture).

    Raises what `decode` raises, but for the limit of pixels, and ValueError for an output of another suffix or two
    files of one name.
    """
    source, labels = Path(source), Path(labels)
    margin = None if margin is None else Path(margin)
    _check_targets(source, labels, margin)
    nearest = Nearest(get_palette(palette), ignore_color=ignore_color, tolerance=unknown_tolerance)
    classes = nearest.palette.num_classes
    pixels = np.zeros(classes, np.int64)
    with ExitStack() as stack:
        picture = stack.enter_context(open_picture(source, grey))
        height, width = picture.height, picture.width
        temporary = stack.enter_context(replace_file(labels))
        write_labels = stack.enter_context(png_writer(temporary, height, width, nearest.palette.color_table())).write
        write_margin = None
        if margin is not None:
            temporary = stack.enter_context(replace_file(margin))
            write_margin = stack.enter_context(_margin_writer(temporary, height, width))
        for band in decode_bands(picture, nearest, margin=margin is not None):
            write_labels(band.labels.numpy())
            if write_margin is not None and band.margin is not None:
                write_margin(band.margin)
            pixels += confusion_matrix(band.labels, band.labels, classes).diagonal().numpy()
            if progress is not None:
                progress(band.rows.stop, height)
        unknown = nearest.unknown()
        if strict:
            require_known(unknown, nearest.palette, picture.name)
    return FileSummary(height, width, tuple(pixels.tolist()), height * width - int(pixels.sum()), unknown)


def _check_targets(source: Path, labels: Path, margin: Path | None) -> None:
    if labels.suffix.lower() != ".png":
        raise ValueError(f"labels: expected a file NAME.png, got {labels}")
    if margin is not None and margin.suffix.lower() not in MARGIN_SUFFIXES:
        raise ValueError(f"margin: expected a file NAME.png or NAME.npy, got {margin}")
    files = [file.resolve() for file in (source, labels, margin) if file is not None]
    if len(set(files)) < len(files):
        raise ValueError(f"labels, margin: expected files of different names, got {labels} and {margin} for {source}")


@contextmanager
def _margin_writer(path: Path, height: int, width: int) -> Iterator[Callable[[Tensor], None]]:
    """Writes margins float32 (r, width) from top to bottom."""
    if path.suffix.lower() == ".npy":
        with path.open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (height, width)}
            np.lib.format.write_array_header_1_0(file, header)
            yield lambda margin: margin.numpy().astype("<f4", copy=False).tofile(file)
    else:
        with png_writer(path, height, width) as writer:
            yield lambda margin: writer.write(margin.clamp(max=255).round().byte().numpy())
