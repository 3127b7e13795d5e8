"""Every PNG reads as Pillow reads it, in bands of any height; every damaged one is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gss.io.images import UnreadableFile
from gss.prediction.painted.png.reader import PngReader
from tests.gss.prediction.painted.png.pngs import chunk, filtered, header, png

FILTERS = [4, 3, 1, 2, 0, 4, 4, 3, 2, 1, 3, 4]  # Paeth and Average also in the first row, where nothing is above
HEIGHT, WIDTH = len(FILTERS), 13


def pixels(channels: int, values: int = 256) -> np.ndarray:
    shape = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    return np.random.default_rng(channels).integers(0, values, shape, dtype=np.uint8)


def read(path: Path, rows: int) -> np.ndarray:
    with PngReader(path) as reader:
        bands = list(reader.bands(rows))
    assert [len(band) for band in bands[:-1]] == [rows] * (len(bands) - 1)
    return np.concatenate(bands)


@pytest.mark.parametrize("rows", [1, 5, HEIGHT, 100])
@pytest.mark.parametrize("idat", [7, 1 << 20])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_filter_in_bands_of_any_height(tmp_path: Path, channels: int, rows: int, idat: int) -> None:
    expected = pixels(channels)
    path = tmp_path / "a.png"
    path.write_bytes(png(expected, FILTERS, idat=idat))
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.array(image), expected)
    np.testing.assert_array_equal(read(path, rows), expected)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_pixels_smaller_than_a_byte_with_and_without_colour_table(tmp_path: Path, depth: int) -> None:
    values = pixels(1, 1 << depth)
    table = np.random.default_rng(9).integers(0, 256, (1 << depth, 3), dtype=np.uint8)
    (tmp_path / "grey.png").write_bytes(png(values, FILTERS, depth=depth))
    (tmp_path / "index.png").write_bytes(png(values, FILTERS, depth=depth, table=table))
    for name in ("grey.png", "index.png"):
        np.testing.assert_array_equal(read(tmp_path / name, 5), values)
    with PngReader(tmp_path / "index.png") as reader:
        assert reader.table is not None
        np.testing.assert_array_equal(reader.table, table)
    with Image.open(tmp_path / "index.png") as image:
        np.testing.assert_array_equal(np.array(image.convert("RGB")), table[values])


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_what_pillow_writes(tmp_path: Path, mode: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 90, 4), dtype=np.uint8))
    image = noise.convert("RGB").convert(mode) if mode == "P" else noise.convert(mode)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png", 16), np.array(image))


def test_the_orientation_is_found_before_the_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (3, 2)).save(tmp_path / "a.png", exif=exif)
    with PngReader(tmp_path / "a.png") as reader:
        assert (reader.orientation, reader.height, reader.width, reader.channels) == (6, 2, 3, 3)


def test_a_file_cut_anywhere_or_with_any_byte_changed_is_refused(tmp_path: Path) -> None:
    table = np.arange(12, dtype=np.uint8).reshape(4, 3)
    whole = png(pixels(1, 4)[:3, :5], [4, 2, 0], table=table, idat=9)
    path = tmp_path / "a.png"
    damaged = [whole[:size] for size in range(len(whole))]
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 0x24
        damaged.append(bytes(changed))
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(UnreadableFile, match=r"a.png: (not a PNG|cannot be read as a PNG: )"):
            read(path, 2)
    path.write_bytes(whole + b"anything")
    assert read(path, 2).shape == (3, 5)


GREY = filtered(np.zeros((4, 4), np.uint8), [0] * 4, 1)
END = chunk(b"IEND", b"")


def body(data: bytes) -> bytes:
    return chunk(b"IDAT", zlib.compress(data)) + END


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (header(4, 4) + body(GREY[:-1]), "its pixels end after row 3 of 4"),
        (header(4, 4) + body(GREY + b"\0"), "more pixels than 4 x 4"),
        (header(4, 4) + body(b"\5" + GREY[1:]), "rows 0 to 1 name a filter that does not exist"),
        (header(4, 4) + chunk(b"IDAT", zlib.compress(GREY)[:-4]) + END, "its pixels break off"),
        (header(4, 4) + chunk(b"IDAT", b"no zlib") + END, "damaged pixels"),
        (header(4, 4) + END, "it has no pixels"),
        (header(4, 4) + chunk(b"ABCD", b"") + body(GREY), "a chunk ABCD, which does not belong there"),
        (header(4, 4, color_type=3) + body(GREY), "an index PNG without colour table"),
        (header(4, 4, color_type=3) + chunk(b"PLTE", b"1234") + body(GREY), "a colour table of 4 bytes"),
        (header(4, 4, color_type=5) + body(GREY), "a header that PNG does not define"),
        (header(4, 4, depth=3) + body(GREY), "a header that PNG does not define"),
        (header(0, 4) + body(GREY), "a picture of 4 x 0 pixels"),
        (header(40_000, 40_000) + body(GREY), "bytes cannot hold 40000 x 40000 pixels"),
        (header(4, 4) + chunk(b"eXIf", b"nothing") + body(GREY), "its EXIF data"),
        (header(4, 4) + struct.pack(">I4s", 2**31, b"tEXt"), "a chunk b'tEXt' of 2147483648 bytes"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, data: bytes, reason: str) -> None:
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(UnreadableFile) as error:
        read(tmp_path / "a.png", 2)
    assert reason in str(error.value)


def test_what_bands_cannot_read_is_refused(tmp_path: Path) -> None:
    for name, data in (("interlaced", header(4, 4, interlace=1)), ("16-bit", header(4, 4, depth=16))):
        (tmp_path / "a.png").write_bytes(data + body(GREY))
        with pytest.raises(ValueError, match=f"8-bit and not interlaced, this is {name}"):
            read(tmp_path / "a.png", 2)
    (tmp_path / "a.png").write_bytes(header(1, (1 << 24) + 1) + body(b"\0" * ((1 << 24) + 2)))
    with pytest.raises(ValueError, match="at most 16777216 pixels a row, got 16777217"):
        read(tmp_path / "a.png", 2)


def test_a_flood_of_pixels_is_not_decompressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """8 MB of zeros behind the picture, in 8 KB: at most one byte of them is asked for."""
    path = tmp_path / "a.png"
    path.write_bytes(header(4, 4) + body(GREY + bytes(8 << 20)))
    limits = []
    decompress = PngReader._decompress
    monkeypatch.setattr(PngReader, "_decompress", lambda self, n: limits.append(n) or decompress(self, n))
    with pytest.raises(UnreadableFile, match="more pixels"):
        read(path, 4)
    assert max(limits) == len(GREY) and limits[-1] == 1
