"""PNGs made by hand, so that every filter, colour type and mistake can be had."""

from __future__ import annotations

import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # of a number of channels, without a colour table


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(height: int, width: int, depth: int = 8, color_type: int = 0, interlace: int = 0) -> bytes:
    return SIGNATURE + chunk(b"IHDR", struct.pack(">2I5B", width, height, depth, color_type, 0, 0, interlace))


def filtered(rows: np.ndarray, filters: list[int], bytes_per_pixel: int) -> bytes:
    """The definition of the five filters, byte by byte (PNG specification, section 9.2)."""
    out = bytearray()
    above = [0] * rows.shape[1]
    for row, kind in zip(rows.tolist(), filters, strict=True):
        out.append(kind)
        for i, value in enumerate(row):
            a = row[i - bytes_per_pixel] if i >= bytes_per_pixel else 0
            b, c = above[i], above[i - bytes_per_pixel] if i >= bytes_per_pixel else 0
            nearest = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            out.append((value - (0, a, b, (a + b) // 2, nearest)[kind]) % 256)
        above = row
    return bytes(out)


def png(
    pixels: np.ndarray, filters: list[int], *, depth: int = 8, table: np.ndarray | None = None, idat: int = 1 << 20
) -> bytes:
    """A PNG of uint8 pixels (H, W) or (H, W, C), in IDAT chunks of `idat` bytes."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if depth < 8:
        bits = pixels[..., None] >> np.arange(depth - 1, -1, -1) & 1
        rows = np.packbits(bits.reshape(height, -1).astype(np.uint8), axis=1)
    else:
        rows = pixels.reshape(height, -1)
    data = zlib.compress(filtered(rows, filters, max(channels * depth // 8, 1)))
    plte = b"" if table is None else chunk(b"PLTE", table.tobytes())
    parts = b"".join(chunk(b"IDAT", data[i : i + idat]) for i in range(0, len(data), idat))
    color_type = 3 if table is not None else COLOR_TYPES[channels]
    return header(height, width, depth, color_type) + plte + parts + chunk(b"IEND", b"")
