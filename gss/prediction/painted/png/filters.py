"""Row filters of PNG (specification, section 9): what is compressed is each byte's difference from a guess."""

from __future__ import annotations

import zlib

import numpy as np
from PIL import Image

UP = 2  # the guess is the byte above
LAST = 4  # Paeth, the highest filter there is

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # the Pillow mode of that many bytes a pixel


def unfilter(filtered: np.ndarray, previous: np.ndarray, bytes_per_pixel: int) -> np.ndarray:
    """The bytes of rows that are stored filtered.

    Args:
        filtered: uint8 (rows, 1 + stride), each row the number of its filter, 0 to 4, and its filtered bytes.
        previous: uint8 (stride,), the row above as bytes; zeros above the first row of a picture.
        bytes_per_pixel: 1 to 4, how far left a filter looks; 1 where a pixel is smaller than a byte.

    Returns:
        uint8 (rows, stride).
    """
    if not filtered[:, 0].any():  # filter 0 everywhere, what most writers do for index images
        return filtered[:, 1:]
    # Average and Paeth depend on the pixel to the left and the row above, so there is no fast numpy form. Pillow's C
    # code for them can be had for a band alone: as a picture whose first row, unfiltered, is the row above the band.
    rows, stride = filtered.shape[0], filtered.shape[1] - 1
    band = np.empty((rows + 1, stride + 1), np.uint8)
    band[0, 0] = 0
    band[0, 1:] = previous
    band[1:] = filtered
    mode = _MODES[bytes_per_pixel]
    size = (stride // bytes_per_pixel, rows + 1)
    picture = Image.frombytes(mode, size, zlib.compress(band.data, 0), "zip", mode, 0)
    return np.array(picture).reshape(rows + 1, stride)[1:]


def filter_up(rows: np.ndarray, previous: np.ndarray) -> np.ndarray:
    """uint8 (rows, stride) below the row `previous` (stride,) as `UP` stores them: uint8 (rows, 1 + stride)."""
    filtered = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = UP
    np.subtract(rows[:1], previous, out=filtered[:1, 1:])
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    return filtered
