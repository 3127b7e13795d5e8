"""Pictures in bands of rows: large ones are read and written without ever being in memory whole.

Pictures of more than `STREAMED` pixels go through libvips where the extra `gss[large]` is installed, others through
Pillow, which holds them whole.

libvips shows values outside a colour table as black. An index PNG is therefore passed to it as the grey PNG of its
values: the pixels of both are stored alike, only the header and the table before the pixels differ.
"""

from __future__ import annotations

import io
import struct
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageOps

from gss.io.pillow import UnreadableFile, load_image

STREAMED = 1 << 24  # pixels; Pillow takes up to 8 bytes for each on its way
TILE = 256  # pixels, height and width of the tiles of a large TIFF
CLASSIC_TIFF = 1 << 31  # pixels; larger ones become Big TIFF, since a classic TIFF ends at 4 GB
SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, INDEX = 0, 3  # colour types of a PNG
UP = 2  # filter of a PNG: each byte is stored as its difference from the byte above
_FORMATS = ("PNG", "TIFF")
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX")

Write = Callable[[np.ndarray], None]


def has_vips() -> bool:
    """Whether pyvips, the extra `gss[large]`, is installed."""
    return find_spec("pyvips") is not None


def is_streamed(image: Image.Image) -> bool:
    """Whether an opened image is read in bands: large, of a format that allows it, and libvips is there."""
    stored_in_rows = image.format in _FORMATS and image.mode in _MODES and not image.info.get("interlace")
    return stored_in_rows and image.width * image.height > STREAMED and has_vips()


def open_rows(path: Path, *, index_png: bool = False) -> tuple[int, int, Callable[[int], Iterator[np.ndarray]]]:
    """(height, width, bands) of a PNG or TIFF file through libvips, upright.

    `bands(rows)` gives the picture once from top to bottom, uint8 (r, width, channels) with 1 (grey), 2 (grey and
    alpha), 3 or 4 channels; values of few bits are stretched to 0..255. A picture that an EXIF orientation turns is
    first unpacked to a temporary file of libvips.

    Args:
        path: the file.
        index_png: it is a PNG with a colour table, which is not applied: the values come as grey. The colour table of a
            TIFF is applied.

    Raises:
        UnreadableFile: a damaged file, also while bands are read.
    """
    import pyvips

    def opened(access: str) -> pyvips.Image:
        source = _grey_source(path) if index_png else pyvips.Source.new_from_file(str(path))
        return pyvips.Image.new_from_source(source, "", access=access, fail_on="error")

    def bands(rows: int) -> Iterator[np.ndarray]:
        region = pyvips.Region.new(image)
        for top in range(0, image.height, rows):
            count = min(rows, image.height - top)
            try:
                pixels = region.fetch(0, top, image.width, count)
            except pyvips.Error as error:
                raise _unreadable(path, error) from error
            yield np.frombuffer(pixels, np.uint8).reshape(count, image.width, image.bands)

    try:
        image = opened("sequential")
        if image.get_typeof("orientation") and image.get("orientation") > 1:
            image = opened("random").autorot()
    except pyvips.Error as error:
        raise _unreadable(path, error) from error
    return image.height, image.width, bands


def _grey_source(path: Path) -> Any:
    """The bytes of an index PNG as those of a grey PNG with the same values, as a source for libvips."""
    import pyvips

    file = path.open("rb")
    start = io.BytesIO()
    header = file.read(33)
    start.write(header[:12] + _with_checksum(header[12:25] + bytes([GREY]) + header[26:29]))
    while (head := file.read(8))[4:] != b"IDAT":
        chunk = head + file.read(struct.unpack(">I", head[:4])[0] + 4)
        if head[4:] not in (b"PLTE", b"tRNS"):
            start.write(chunk)
    start.write(head)
    start.seek(0)
    source = pyvips.SourceCustom()

    def read(size: int) -> bytes:
        return start.read(size) or file.read(size)

    weakref.finalize(read, file.close)  # once libvips has dropped the source
    source.on_read(read)
    return source


def load_rows(path: str, image: Image.Image) -> tuple[int, int, Callable[[int], Iterator[Image.Image]]]:
    """(height, width, bands) of a Pillow image, upright: `bands(rows)` gives images of its mode, `rows` rows each.

    Raises:
        UnreadableFile: its file, `path` in the message, is damaged.
    """
    load_image(path, image)
    turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
    upright = ImageOps.exif_transpose(image) if turned else image  # which copies the image otherwise

    def bands(rows: int) -> Iterator[Image.Image]:
        for top in range(0, upright.height, rows):
            yield upright.crop((0, top, upright.width, min(top + rows, upright.height)))

    return upright.height, upright.width, bands


@contextmanager
def row_writer(path: Path, height: int, width: int, table: np.ndarray | None = None) -> Iterator[Write]:
    """Write an 8-bit PNG or TIFF from top to bottom: the block gets a function that appends uint8 (r, width).

    The file is complete once the block ends, so use it inside `gss.io.files.replace_file`. A large TIFF is tiled.

    Args:
        path: NAME.png, NAME.tif or NAME.tiff.
        height, width: in pixels.
        table: uint8 (256, 3), the colours of the values, or None for grey. A large TIFF is grey always.

    Raises:
        ValueError: missing rows, or more than `height`.
    """
    if height * width <= STREAMED or not has_vips():
        writer = _pillow_writer
    else:
        writer = _png_writer if path.suffix.lower() == ".png" else _tiff_writer
    done = 0
    with writer(path, height, width, table) as append:

        def write(rows: np.ndarray) -> None:
            nonlocal done
            done += len(rows)
            if done <= height:
                append(rows)

        yield write
        if done != height:
            raise ValueError(f"rows: expected {height} of {width} pixels, got {done}")


@contextmanager
def _pillow_writer(path: Path, height: int, width: int, table: np.ndarray | None) -> Iterator[Write]:
    """Collects the rows of a picture that fits into memory."""
    bands: list[np.ndarray] = []
    yield bands.append
    image = Image.fromarray(np.concatenate(bands))
    if table is not None:
        image.putpalette(table.tobytes())
    image.save(path, **({} if path.suffix.lower() == ".png" else {"compression": "tiff_adobe_deflate"}))


@contextmanager
def _tiff_writer(path: Path, height: int, width: int, table: np.ndarray | None) -> Iterator[Write]:
    """A tiled TIFF, grey whatever the table: a PNG first, which libvips then copies tile by tile."""
    png = path.with_suffix(".png")
    try:
        with _png_writer(png, height, width, None) as write:
            yield write
        _save_tiled(png, path)
    finally:
        png.unlink(missing_ok=True)


@contextmanager
def _png_writer(path: Path, height: int, width: int, table: np.ndarray | None) -> Iterator[Write]:
    """A PNG in constant memory. libvips would map the whole picture and choose a table of its own."""
    above = np.zeros((1, width), np.uint8)
    # Differences from the row above, compressed by runs: the best and fastest on label maps (docs/decode.md).
    deflate = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    with path.open("wb") as file:

        def chunk(kind: bytes, data: bytes) -> None:
            file.write(struct.pack(">I", len(data)) + _with_checksum(kind + data))

        def write(rows: np.ndarray) -> None:
            nonlocal above
            filtered = np.full((len(rows), width + 1), UP, np.uint8)
            filtered[:, 1:] = np.diff(rows, axis=0, prepend=above)
            above = rows[-1:].copy()
            chunk(b"IDAT", deflate.compress(filtered.data))

        file.write(SIGNATURE)
        chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, GREY if table is None else INDEX, 0, 0, 0))
        if table is not None:
            chunk(b"PLTE", table.tobytes())
        yield write
        chunk(b"IDAT", deflate.flush())
        chunk(b"IEND", b"")


def _save_tiled(png: Path, tiff: Path) -> None:
    import pyvips

    try:
        image = pyvips.Image.pngload(str(png), access="sequential", fail_on="error")
        big = image.width * image.height > CLASSIC_TIFF
        tiles = {"tile": True, "tile_width": TILE, "tile_height": TILE}
        image.tiffsave(str(tiff), compression="deflate", predictor="none", bigtiff=big, **tiles)
    except pyvips.Error as error:
        raise OSError(f"{tiff}: cannot be written ({_first_line(error)})") from error


def _with_checksum(kind_and_data: bytes) -> bytes:
    return kind_and_data + struct.pack(">I", zlib.crc32(kind_and_data))


def _unreadable(path: Path, error: Exception) -> UnreadableFile:
    return UnreadableFile(f"{path}: cannot be read as an image ({_first_line(error)})")


def _first_line(error: Exception) -> str:
    """The first line that libvips itself reported; pyvips puts its own words before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[min(1, len(lines) - 1)]
