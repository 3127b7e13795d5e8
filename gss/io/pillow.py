"""Image files through Pillow: the one place where they are opened, loaded and saved. Torch-free."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

from PIL import Image, PngImagePlugin, TiffImagePlugin

from gss.io.files import PathLike, replace_file

# Pillow raises one of these for a damaged file, depending on the place of the damage.
_DECODING_ERRORS = (OSError, SyntaxError, ValueError, EOFError, zlib.error, struct.error)
_BLOCK = 1 << 14  # bytes read at once; deflate makes at most 1,032 of one
_CHANNELS = {2: 3, 4: 2, 6: 4}  # of each colour type of a PNG: RGB, grey + alpha, RGBA; of the others 1


class UnreadableFile(OSError):
    """The file exists but is not a complete image."""


class TooLarge(UnreadableFile):
    """The image has more pixels than Pillow opens (`PIL.Image.MAX_IMAGE_PIXELS`, doubled)."""


def open_image(path: PathLike, *, any_size: bool = False) -> Image.Image:
    """Open an image file and read its header; the pixels follow with `load_image`.

    Args:
        path: the file.
        any_size: also open PNG and TIFF files of more pixels than Pillow's limit. The caller checks the size before
            loading, so Pillow's warning below its limit is dropped too.

    Raises:
        FileNotFoundError: no such file.
        UnreadableFile: a damaged file, or none of an image format that Pillow reads.
        TooLarge: more pixels than Pillow's limit.
    """
    try:
        if not any_size:
            return Image.open(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(path)
    except FileNotFoundError:
        raise
    except Image.DecompressionBombError as error:
        image = _without_limit(path) if any_size else None
        if image is None:
            raise TooLarge(f"{path}: cannot be read as an image ({error})") from error
        return image
    except _DECODING_ERRORS as error:
        raise UnreadableFile(f"{path}: cannot be read as an image ({error})") from error


def load_image(path: PathLike, image: Image.Image) -> None:
    """Decode the pixels of an opened image. Raises UnreadableFile, which names `path`, where the file is damaged."""
    try:
        image.load()
    except _DECODING_ERRORS as error:
        raise UnreadableFile(f"{path}: cannot be read as an image ({error})") from error


def save_image(path: PathLike, image: Image.Image) -> None:
    """Save a Pillow image under its final name only once it is complete; the suffix decides the format."""
    # Not synced to disk: a picture lost to a power cut can be made again, and the wait is 8 ms a file.
    with replace_file(path, durable=False) as temporary:
        image.save(temporary)


def raw_mode(image: Image.Image) -> str:
    """How the file stores a pixel, e.g. "L;4" for four bits; known until the image is loaded, then its mode."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0][3] if tiles else image.mode
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def check_png(path: PathLike) -> None:
    """Verify every checksum of a PNG file and the number of its pixels, in constant memory.

    Image libraries skip some checksums, and Pillow takes missing rows for black.

    Raises:
        UnreadableFile: a checksum is wrong, the file is cut off, or it has more or fewer pixels than its header says.
    """
    with Path(path).open("rb") as file:
        file.seek(16)
        width, height, depth, color_type, _, _, interlaced = struct.unpack(">2I5B", file.read(13))
        missing = height * (1 + -(-width * _CHANNELS.get(color_type, 1) * depth // 8))
        inflate = zlib.decompressobj()
        file.seek(8)
        kind = b""
        while kind != b"IEND":
            start = file.read(8)
            length, kind = struct.unpack(">I4s", start) if len(start) == 8 else (0, b"")
            checksum = zlib.crc32(kind)
            while length > 0 and (block := file.read(min(length, _BLOCK))):
                length -= len(block)
                checksum = zlib.crc32(block, checksum)
                if kind == b"IDAT":
                    missing -= _inflated(path, inflate, block)
            if length > 0 or file.read(4) != struct.pack(">I", checksum):
                raise UnreadableFile(f"{path}: cannot be read as an image (a PNG cut off or with a wrong checksum)")
    if not inflate.eof or (missing and not interlaced):
        raise UnreadableFile(f"{path}: cannot be read as an image (its pixels are not {width} x {height})")


def _inflated(path: PathLike, inflate: zlib._Decompress, block: bytes) -> int:
    """The number of bytes that a piece of a compressed stream adds."""
    try:
        return len(inflate.decompress(block))
    except zlib.error as error:
        raise UnreadableFile(f"{path}: cannot be read as an image (damaged pixels: {error})") from error


def _without_limit(path: PathLike) -> Image.Image | None:
    """A PNG or TIFF file of any size, None for other formats."""
    for image_class in (PngImagePlugin.PngImageFile, TiffImagePlugin.TiffImageFile):
        try:
            return image_class(path)
        except SyntaxError:  # another format
            continue
    return None
