"""Every PNG and TIFF is read as Pillow reads it, also through libvips; every damaged one is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gss
from gss.io import rows
from gss.io.images import UnreadableFile
from gss.palette import Palette
from tests.gss.prediction.painted.pngs import chunk, filtered, header, png

pytestmark = pytest.mark.usefixtures("reader")

# The nearest colour tells all 16 levels of a grey and most RGB colours apart.
CUBE = [(r, g, b) for r in (0, 85, 170, 255) for g in (0, 85, 170, 255) for b in range(0, 240, 17)]
PALETTE = Palette("cube", tuple(map(str, range(len(CUBE)))), tuple(CUBE))
FILTERS = [4, 3, 1, 2, 0, 4, 4, 3, 2, 1, 3, 4]  # Paeth and Average also in the first row, where nothing is above
HEIGHT, WIDTH = len(FILTERS), 13


def pixels(channels: int, values: int = 256) -> np.ndarray:
    shape = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    return np.random.default_rng(channels).integers(0, values, shape, dtype=np.uint8)


def require_colors(path: Path, expected: np.ndarray) -> None:
    """The file is decoded as the colours uint8 (H, W, 3) are."""
    found, wanted = gss.decode(path, PALETTE, grey="colors"), gss.decode(expected, PALETTE)
    assert torch.equal(found.labels, wanted.labels) and torch.equal(found.margin, wanted.margin)
    assert found.unknown == wanted.unknown


@pytest.mark.parametrize("idat", [7, 1 << 20])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_filter_of_a_png(tmp_path: Path, channels: int, idat: int) -> None:
    expected = pixels(channels)
    (tmp_path / "a.png").write_bytes(png(expected, FILTERS, idat=idat))
    grey = expected.reshape(HEIGHT, WIDTH, channels)[..., :1].repeat(3, -1)
    require_colors(tmp_path / "a.png", grey if channels < 3 else expected[..., :3])


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_pixels_smaller_than_a_byte_with_and_without_colour_table(tmp_path: Path, depth: int) -> None:
    """Grey ids are the stored values; as colours they are stretched to 0..255."""
    values = pixels(1, min(1 << depth, len(CUBE)))
    table = np.random.default_rng(9).integers(0, 256, (1 << depth, 3), dtype=np.uint8)
    (tmp_path / "grey.png").write_bytes(png(values, FILTERS, depth=depth))
    (tmp_path / "index.png").write_bytes(png(values, FILTERS, depth=depth, table=table))
    assert torch.equal(gss.decode(tmp_path / "grey.png", PALETTE).labels, torch.from_numpy(values))
    require_colors(tmp_path / "grey.png", (values * np.uint8(255 // ((1 << depth) - 1)))[..., None].repeat(3, -1))
    require_colors(tmp_path / "index.png", table[values])


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_files_that_pillow_writes(tmp_path: Path, mode: str, suffix: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 90, 4), dtype=np.uint8))
    image = noise.convert("RGB").convert(mode) if mode == "P" else noise.convert(mode)
    image.save(tmp_path / f"a.{suffix}")
    require_colors(tmp_path / f"a.{suffix}", np.array(image.convert("RGB")))


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for mode in ("RGB", "P"):
        image = Image.fromarray(pixels(3)).convert(mode)
        options = {"compression": "tiff_adobe_deflate"} if suffix == "tif" else {}
        image.save(tmp_path / f"a.{suffix}", exif=exif, **options)
        turned = np.array(image.convert("RGB"))
        turned = turned.swapaxes(0, 1) if orientation > 4 else turned
        turned = turned[::-1] if orientation in (3, 4, 7, 8) else turned
        turned = turned[:, ::-1] if orientation in (2, 3, 6, 7) else turned
        require_colors(tmp_path / f"a.{suffix}", np.ascontiguousarray(turned))


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
        with pytest.raises(UnreadableFile, match=r"a.png: cannot be read as an image"):
            gss.decode(path, PALETTE)
    path.write_bytes(whole + b"anything")
    assert gss.decode(path, PALETTE).labels.shape == (3, 5)


GREY = filtered(np.zeros((4, 4), np.uint8), [0] * 4, 1)
END = chunk(b"IEND", b"")


def body(data: bytes) -> bytes:
    return chunk(b"IDAT", zlib.compress(data)) + END


@pytest.mark.parametrize(
    "data",
    [
        header(4, 4) + body(GREY[:-1]),  # its pixels end in the last row
        header(4, 4) + body(GREY[:-5]),  # a row is missing
        header(4, 4) + body(GREY + b"\0"),  # more pixels than the header says
        header(4, 4) + chunk(b"IDAT", zlib.compress(GREY)[:-4]) + END,  # the checksum of its pixels is missing
        header(4, 4) + body(b"\5" + GREY[1:]),  # a filter that does not exist
        header(4, 4) + chunk(b"IDAT", zlib.compress(GREY)[:-6]) + END,  # its pixels break off
        header(4, 4) + chunk(b"IDAT", b"no zlib") + END,
        header(4, 4) + END,  # no pixels
        header(4, 4, color_type=3) + body(GREY),  # an index PNG without colour table
        header(4, 4, color_type=3) + chunk(b"PLTE", b"1234") + body(GREY),
        header(4, 4, color_type=5) + body(GREY),
        header(4, 4, depth=3) + body(GREY),
        header(0, 4) + body(GREY),
        header(40_000, 4) + body(GREY),
        header(4, 4) + struct.pack(">I4s", 2**31, b"tEXt"),
    ],
)
def test_malformed_pngs_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises((UnreadableFile, ValueError), match="a.png"):
        gss.decode(tmp_path / "a.png", PALETTE)


def test_a_damaged_tiff_is_refused(tmp_path: Path) -> None:
    Image.fromarray(pixels(3)).save(tmp_path / "a.tif", compression="tiff_adobe_deflate")
    whole = (tmp_path / "a.tif").read_bytes()
    with Image.open(tmp_path / "a.tif") as image:
        start = image.tag_v2[273][0]
    for data in (whole[: start + 30], whole[: start + 30] + bytes(8) + whole[start + 38 :]):
        (tmp_path / "a.tif").write_bytes(data)
        with pytest.raises(UnreadableFile, match=r"a.tif: cannot be read as an image"):
            gss.decode(tmp_path / "a.tif", PALETTE)


@pytest.mark.parametrize("reader", ["libvips"], indirect=True)  # Pillow has a limit for the whole picture
def test_a_row_that_memory_would_not_hold_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(header(1, (1 << 24) + 1) + body(b"\0" * ((1 << 24) + 2)))
    with pytest.raises(ValueError, match="at most 16777216 pixels a row, got 16777217"):
        gss.decode(tmp_path / "a.png", PALETTE)


def test_names_that_libvips_would_take_for_options(tmp_path: Path) -> None:
    Image.fromarray(pixels(3)).save(tmp_path / "a[page=1].png")
    require_colors(tmp_path / "a[page=1].png", pixels(3))


def test_a_picture_too_large_for_pillow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gss.prediction.painted import decode_file

    Image.fromarray(pixels(3)).save(tmp_path / "a.png")
    Image.fromarray(pixels(3)).save(tmp_path / "a.bmp")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9)
    monkeypatch.setattr(rows, "has_vips", lambda: False)
    with pytest.raises(ValueError, match=r"a.png: expected at most 18 pixels, got 13 x 12; `pip install gss\[large\]`"):
        decode_file(tmp_path / "a.png", PALETTE, tmp_path / "out.png")
    with pytest.raises(UnreadableFile, match=r"a.bmp: cannot be read as an image \(Image size .* exceeds limit"):
        decode_file(tmp_path / "a.bmp", PALETTE, tmp_path / "out.png")
