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
_BLOCK = 1 << 16  # bytes read at once


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
    """Verify every checksum of a PNG file, in constant memory. Image libraries skip some of them.

    Raises:
        UnreadableFile: a checksum is wrong or the file is cut off.
    """
    with Path(path).open("rb") as file:
        file.seek(8)
        kind = b""
        while kind != b"IEND":
            start = file.read(8)
            length, kind = struct.unpack(">I4s", start) if len(start) == 8 else (0, b"")
            found = zlib.crc32(kind)
            while length > 0 and (block := file.read(min(length, _BLOCK))):
                length -= len(block)
                found = zlib.crc32(block, found)
            if length > 0 or file.read(4) != struct.pack(">I", found):
                raise UnreadableFile(
                    f"{path}: cannot be read as an image (a PNG that is cut off or has a wrong checksum)"
                )


def _without_limit(path: PathLike) -> Image.Image | None:
    """A PNG or TIFF file of any size, None for other formats."""
    for image_class in (PngImagePlugin.PngImageFile, TiffImagePlugin.TiffImageFile):
        try:
            return image_class(path)
        except SyntaxError:  # another format
            continue
    return None
