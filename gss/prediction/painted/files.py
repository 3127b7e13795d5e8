"""Decoding from file to file, in bands of rows: large pictures need little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from gss.io.files import PathLike, replace_file
from gss.io.rows import row_writer
from gss.palette import Palette, get_palette
from gss.prediction.painted.memory import decode_bands, require_known
from gss.prediction.painted.nearest import Nearest
from gss.prediction.painted.picture import Grey, open_picture
from gss.prediction.painted.unknown import UnknownColors
from gsskernels import confusion_matrix

LABEL_SUFFIXES = (".png", ".tif", ".tiff")
MARGIN_SUFFIXES = (*LABEL_SUFFIXES, ".npy")


@dataclass(frozen=True)
class FileSummary:
    """Contents of a decoded file.

    height, width: in pixels.
    pixels: the number of pixels of each class (K,).
    ignored: the number of pixels with the label 255.
    unknown: the unknown colours.
    """

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
    """`gss.decode` from an image file to an index image in the palette's colours, whose values are the class ids.

    With the extra `gss[large]`, PNG and TIFF files of any size are read and written in bands of rows (docs/decode.md);
    a large TIFF is tiled, and grey instead of in the palette's colours. Other pictures are in memory whole, within
    Pillow's limit. Output files are complete or not there.

    Args:
        source, palette, grey, ignore_color, unknown_tolerance, strict: as in `gss.decode`; `source` is a path.
        labels: the file to write, NAME.png, NAME.tif or NAME.tiff.
        margin: where to write the margins: NAME.png, NAME.tif or NAME.tiff, 8-bit grey, in whole levels, 255 for more;
            or NAME.npy, float32 (H, W), exact.
        progress: is called with (rows done, rows of the picture).

    Raises:
        FileNotFoundError, UnreadableFile, TypeError, ValueError: as `gss.decode`; ValueError also for an output of
            another suffix, two files of one name, and a picture that only `gss[large]` could read.

    >>> import tempfile, torch
    >>> from gss.io.labels import read_label, write_label
    >>> palette = Palette("two", ("sky", "car"), ((0, 0, 200), (200, 0, 0)))
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_label(folder / "painted.png", torch.tensor([[0, 1, 255]], dtype=torch.uint8), palette)
    >>> decode_file(folder / "painted.png", palette, folder / "labels.png").pixels
    (1, 1)
    >>> read_label(folder / "labels.png")
    tensor([[  0,   1, 255]], dtype=torch.uint8)
    """
    source, labels = Path(source), Path(labels)
    margin = None if margin is None else Path(margin)
    _check_targets(source, labels, margin)
    nearest = Nearest(get_palette(palette), ignore_color=ignore_color, tolerance=unknown_tolerance)
    classes = nearest.palette.num_classes
    pixels = np.zeros(classes, np.int64)
    picture = open_picture(source, grey)
    height, width = picture.height, picture.width
    with ExitStack() as stack:
        temporary = stack.enter_context(replace_file(labels))
        write_labels = stack.enter_context(row_writer(temporary, height, width, nearest.palette.color_table()))
        write_margin = None
        if margin is not None:
            temporary = stack.enter_context(replace_file(margin))
            write_margin = stack.enter_context(_margin_writer(temporary, height, width))
        for rows, band, distance in decode_bands(picture, nearest, margin=margin is not None):
            write_labels(band.numpy())
            if write_margin is not None and distance is not None:
                write_margin(distance)
            pixels += confusion_matrix(band, band, classes).diagonal().numpy()
            if progress is not None:
                progress(rows.stop, height)
        unknown = nearest.unknown()
        if strict:
            require_known(unknown, nearest.palette, picture.name)
    return FileSummary(height, width, tuple(pixels.tolist()), height * width - int(pixels.sum()), unknown)


def _check_targets(source: Path, labels: Path, margin: Path | None) -> None:
    for argument, file, suffixes in (("labels", labels, LABEL_SUFFIXES), ("margin", margin, MARGIN_SUFFIXES)):
        if file is not None and file.suffix.lower() not in suffixes:
            raise ValueError(f"{argument}: expected a file of suffix {', '.join(suffixes)}, got {file}")
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
        with row_writer(path, height, width) as write:
            yield lambda margin: write(margin.clamp(max=255).round().byte().numpy())
