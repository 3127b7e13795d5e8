"""Reads PNGs from top to bottom in bands of rows, in memory that depends on their width alone."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
from PIL import Image

from gss.io.images import UnreadableFile
from gss.prediction.painted.png.filters import LAST, unfilter
from gss.prediction.painted.png.writer import MAX_SIDE, SIGNATURE

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of each colour type: grey, RGB, index, grey + alpha, RGBA
DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
INDEX = 3
BLOCK = 1 << 16  # bytes read from the file at once
MAX_WIDTH = 1 << 24  # pixels; a row and what it is decoded through are in memory whole
MAX_CHUNK = 1 << 20  # bytes of a chunk that is read whole: colour table, EXIF
MAX_RATIO = 1032  # deflate cannot make more bytes of one: 258 of two bits at best
_ORIENTATION = 0x0112  # EXIF tag


class PngReader:
    """An open PNG whose header has been read; `bands` gives the pixels.

        with PngReader(path) as png:
            for rows in png.bands(rows_at_once):

    Attributes:
        height, width: in pixels.
        depth: bits a channel.
        channels: 1 to 4: grey or index, grey and alpha, RGB, RGB and alpha.
        table: uint8 (n, 3), the colours of an index PNG, or None.
        interlaced: rows come in seven passes, which `bands` cannot read.
        orientation: EXIF orientation, 1 for upright; only looked for before the pixels, where writers put it.

    Raises:
        FileNotFoundError: no such file.
        UnreadableFile: damaged, truncated, or no PNG.
        ValueError: a row too wide to decode, more than `MAX_WIDTH` pixels.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file = self.path.open("rb")
        try:
            self._read_header()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> PngReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def stride(self) -> int:
        """Bytes of a row."""
        return -(-self.width * self.channels * self.depth // 8)

    def bands(self, rows: int) -> Iterator[np.ndarray]:
        """The picture from top to bottom, once: uint8 (r, width) or (r, width, channels), `rows` rows at a time.

        Pixels smaller than a byte come as their values, 0 to 2^depth - 1. Every checksum of the file is verified, the
        last ones after the last band. Raises UnreadableFile for damage and ValueError for interlaced and 16-bit files.
        """
        if self.interlaced or self.depth > 8:
            kind = "interlaced" if self.interlaced else "16-bit"
            raise ValueError(f"{self.path}: a PNG in bands of rows must be 8-bit and not interlaced, this is {kind}")
        previous = np.zeros(self.stride, np.uint8)
        for top in range(0, self.height, rows):
            count = min(rows, self.height - top)
            filtered = np.frombuffer(self._inflate(count * (self.stride + 1), top), np.uint8).reshape(count, -1)
            if filtered[:, 0].max() > LAST:
                self._damaged(f"rows {top} to {top + count - 1} name a filter that does not exist")
            band = unfilter(filtered, previous, max(self.channels * self.depth // 8, 1))
            previous = band[-1]
            yield self._pixels(band)
        self._read_end()

    def _read_header(self) -> None:
        if self._file.read(8) != SIGNATURE:
            raise UnreadableFile(f"{self.path}: not a PNG file")
        if self._next_chunk() != b"IHDR" or self._left != 13:
            self._damaged("it does not begin with a header")
        values = struct.unpack(">2I5B", self._whole_chunk())
        self.width, self.height, self.depth, color_type, compression, filtering, interlace = values
        if not (1 <= self.width <= MAX_SIDE and 1 <= self.height <= MAX_SIDE):
            self._damaged(f"a picture of {self.width} x {self.height} pixels")
        if self.depth not in DEPTHS.get(color_type, ()) or compression or filtering or interlace > 1:
            self._damaged("a header that PNG does not define")
        if self.width > MAX_WIDTH:
            raise ValueError(f"{self.path}: expected at most {MAX_WIDTH} pixels a row, got {self.width}")
        self.channels = CHANNELS[color_type]
        self.interlaced = bool(interlace)
        # A small file must not make us set aside memory for a large picture that it cannot hold.
        size = os.fstat(self._file.fileno()).st_size
        if self.height * self.stride > size * MAX_RATIO:
            self._damaged(f"{size} bytes cannot hold {self.width} x {self.height} pixels")
        self.table: np.ndarray | None = None
        self.orientation = 1
        while (kind := self._next_chunk()) != b"IDAT":
            self._before_pixels(kind)
        if color_type != INDEX:
            self.table = None  # in other pictures it is only a suggestion for displays of few colours
        elif self.table is None:
            self._damaged("an index PNG without colour table")
        self._inflator = zlib.decompressobj()
        self._pending = b""

    def _before_pixels(self, kind: bytes) -> None:
        if kind == b"PLTE":
            if self._left % 3 or not 3 <= self._left <= 768:
                self._damaged(f"a colour table of {self._left} bytes")
            self.table = np.frombuffer(self._whole_chunk(), np.uint8).reshape(-1, 3)
        elif kind == b"eXIf" and self._left <= MAX_CHUNK:
            exif = Image.Exif()
            try:
                exif.load(self._whole_chunk())
            except (SyntaxError, struct.error) as error:
                self._damaged(f"its EXIF data: {error}")
            self.orientation = int(exif.get(_ORIENTATION, 1))
        elif kind == b"IEND":
            self._damaged("it has no pixels")
        elif kind[0] & 0x20:  # small first letter: a reader may ignore it
            self._skip_chunk()
        else:
            self._damaged(f"a chunk {kind.decode()}, which does not belong there")

    def _read_end(self) -> None:
        """Everything after the last row: the checksum of the pixels and the end of the file."""
        while not self._inflator.eof:
            if self._decompress(1):
                self._damaged(f"more pixels than {self.width} x {self.height}")
            if not self._inflator.eof and not self._pending:
                self._pending = self._block()
                if not self._pending:
                    self._damaged("its pixels break off")
        kind = b"IDAT"
        while kind != b"IEND":
            self._skip_chunk()
            kind = self._next_chunk()
        self._skip_chunk()

    def _pixels(self, band: np.ndarray) -> np.ndarray:
        if self.channels > 1:
            return band.reshape(len(band), self.width, self.channels)
        if self.depth == 8:
            return band
        shifts = np.arange(8 - self.depth, -1, -self.depth, dtype=np.uint8)  # the leftmost pixel is the highest bits
        values = band[..., None] >> shifts & np.uint8((1 << self.depth) - 1)
        return values.reshape(len(band), -1)[:, : self.width]

    def _inflate(self, size: int, row: int) -> bytearray:
        """The next `size` bytes of the decompressed stream."""
        data = bytearray()
        while len(data) < size:
            piece = self._decompress(size - len(data))
            if piece:
                data += piece
            elif self._inflator.eof:
                self._damaged(f"its pixels end after row {row + len(data) // (self.stride + 1)} of {self.height}")
            elif not self._pending:
                self._pending = self._block()
                if not self._pending:
                    self._damaged(f"its pixels break off in row {row + len(data) // (self.stride + 1)}")
        return data

    def _decompress(self, limit: int) -> bytes:
        """At most `limit` bytes; what could not be used of the input stays in `_pending`."""
        try:
            piece = self._inflator.decompress(self._pending, limit)
        except zlib.error as error:
            raise UnreadableFile(f"{self.path}: cannot be read as a PNG: damaged pixels ({error})") from error
        self._pending = self._inflator.unconsumed_tail
        return piece

    def _block(self) -> bytes:
        """The next bytes of the IDAT chunks, which are one stream; empty after the last."""
        while self._left == 0:
            self._check_sum()
            if self._next_chunk() != b"IDAT":
                return b""
        return self._read(min(self._left, BLOCK))

    def _next_chunk(self) -> bytes:
        """The kind of the next chunk, whose data `_read` then gives."""
        length, kind = struct.unpack(">I4s", self._exactly(8))
        if length > MAX_SIDE or not kind.isalpha():
            self._damaged(f"a chunk {kind!r} of {length} bytes")
        self._left, self._sum = length, zlib.crc32(kind)
        self._kind = kind
        return kind

    def _whole_chunk(self) -> bytes:
        data = self._read(self._left)
        self._check_sum()
        return data

    def _skip_chunk(self) -> None:
        while self._left:
            self._read(min(self._left, BLOCK))
        self._check_sum()

    def _read(self, size: int) -> bytes:
        data = self._exactly(size)
        self._left -= size
        self._sum = zlib.crc32(data, self._sum)
        return data

    def _check_sum(self) -> None:
        if struct.unpack(">I", self._exactly(4))[0] != self._sum:
            self._damaged(f"the checksum of a chunk {self._kind.decode()} is wrong")

    def _exactly(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            self._damaged("it breaks off")
        return data

    def _damaged(self, reason: str) -> NoReturn:
        raise UnreadableFile(f"{self.path}: cannot be read as a PNG: {reason}")
